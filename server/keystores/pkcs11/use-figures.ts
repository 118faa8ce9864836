const recentMaximum = 512;

export interface UseFiguresSnapshot {
  /** Calls that were answered, and the signatures, decryptions ... in them. */
  readonly calls: number;
  readonly items: number;
  readonly secondsTotal: number;
  /** Of the last calls; undefined before the first. */
  readonly medianMilliseconds: number | undefined;
  readonly slowMilliseconds: number | undefined;
}

/** How long uses of a keystore take, the way to the token and the waiting included. */
export class UseFigures {
  #calls = 0;
  #items = 0;
  #milliseconds = 0;
  readonly #recent = new Float64Array(recentMaximum);

  record(milliseconds: number, items: number): void {
    this.#recent[this.#calls % recentMaximum] = milliseconds;
    this.#calls++;
    this.#items += items;
    this.#milliseconds += milliseconds;
  }

  snapshot(): UseFiguresSnapshot {
    const recent = this.#recent.slice(0, Math.min(this.#calls, recentMaximum)).sort();
    return {
      calls: this.#calls,
      items: this.#items,
      secondsTotal: this.#milliseconds / 1000,
      medianMilliseconds: recent[Math.floor(recent.length * 0.5)],
      slowMilliseconds: recent[Math.floor(recent.length * 0.99)],
    };
  }
}
