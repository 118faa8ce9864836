/**
 * Runs tasks, at most `limit` at a time, in the order they came. Unbounded in length: callers limit
 * what they bring.
 */
export class Limiter {
  readonly #limit: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async run<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#limit) {
      // The one that ends hands its place over, so that nobody slips in between.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running++;
    }
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}

/**
 * Jobs of one batch under way at a time: enough to fill the thread pool, few enough that single
 * calls of others are not made to wait for the whole batch.
 */
export const batchJobsMaximum = 16;

/** Maps a list, a few items at a time; results keep the order of the list. */
export async function mapBatch<Item, Result>(
  items: readonly Item[],
  task: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await task(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(batchJobsMaximum, items.length) }, worker));
  return results;
}
