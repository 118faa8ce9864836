/** Latencies counted in classes that grow by a tenth: small, and close enough for percentiles. */
const growth = 1.1;
const smallestMilliseconds = 0.01;
const classes = 200;

export class LatencyCounts {
  readonly #counts = new Array<number>(classes).fill(0);

  add(milliseconds: number): void {
    const index = Math.ceil(Math.log(milliseconds / smallestMilliseconds) / Math.log(growth));
    this.#counts[Math.min(Math.max(index, 0), classes - 1)]! += 1;
  }

  toJSON(): readonly number[] {
    return this.#counts;
  }
}

/** The time that this part of all calls did not exceed, in milliseconds. */
export function percentile(counts: readonly number[], part: number): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (let index = 0; index < counts.length; index++) {
    seen += counts[index]!;
    if (seen >= total * part) return smallestMilliseconds * growth ** index;
  }
  return smallestMilliseconds * growth ** counts.length;
}

export function addCounts(lists: readonly (readonly number[])[]): number[] {
  const sums = new Array<number>(classes).fill(0);
  for (const list of lists) {
    for (let index = 0; index < list.length; index++) sums[index]! += list[index]!;
  }
  return sums;
}
