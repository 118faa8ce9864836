import type { Timer } from './timer.ts';

/** Takes a turn, waits as long as it says, takes the next: never two at a time. */
export class Loop {
  readonly #timer: Timer;
  readonly #turn: () => Promise<number>;
  #cancel: () => void = () => undefined;
  #running: Promise<void> | undefined;
  #isStopped = false;

  /** The turn never rejects, and returns the milliseconds until the next. */
  constructor(timer: Timer, firstMilliseconds: number, turn: () => Promise<number>) {
    this.#timer = timer;
    this.#turn = turn;
    this.#wait(firstMilliseconds);
  }

  #wait(milliseconds: number): void {
    this.#cancel = this.#timer.after(milliseconds, () => {
      this.#running = this.#turn().then((next) => {
        this.#running = undefined;
        if (!this.#isStopped) this.#wait(next);
      });
    });
  }

  /** What is under way; undefined where nothing is. */
  get running(): Promise<void> | undefined {
    return this.#running;
  }

  /** No more turns; waits for the one under way. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancel();
    await this.#running;
  }
}
