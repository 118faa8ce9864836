/** What has to be taken back where a write is refused: the last first. */
export class Undo {
  readonly #works: (() => Promise<void>)[] = [];

  later(work: () => Promise<void>): void {
    this.#works.push(work);
  }

  /** Does all of it; fails, once all was tried, where one failed: its intent is kept. */
  async run(): Promise<void> {
    const failures: unknown[] = [];
    for (let work = this.#works.pop(); work !== undefined; work = this.#works.pop()) {
      await work().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw new AggregateError(failures, 'not all could be taken back');
  }
}
