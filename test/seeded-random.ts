/** The same numbers in each run: whole ones from zero up to, not including, the limit. */
export type Random = (limit: number) => number;

/** A xorshift generator (Marsaglia, 2003): good enough to choose test inputs. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

export function pick<Item>(random: Random, items: readonly Item[]): Item {
  return items[random(items.length)]!;
}
