import { KeyreeveError } from '../base/errors.ts';

/** How long a caller waits for the disk of key files. */
export const diskAnswerSeconds = 5;

/**
 * Asks a disk for one thing after the other and gives up on it in time. A disk that hangs then holds
 * one thread of the pool at most, and while it does, further callers are refused at once.
 */
export class DiskLine {
  readonly #folder: string;
  readonly #milliseconds: number;
  #tail: Promise<unknown> = Promise.resolve();
  #overdue = 0;

  constructor(folder: string, answerSeconds = diskAnswerSeconds) {
    this.#folder = folder;
    this.#milliseconds = answerSeconds * 1000;
  }

  /**
   * Does the work when all before it is done. Where that takes too long, the caller gets
   * `keystore-unavailable`: work that has not begun is left, and what is done late is taken back by
   * `undo`.
   */
  run<Result>(work: () => Promise<Result>, undo?: () => Promise<void>): Promise<Result> {
    if (this.#overdue > 0) return Promise.reject(this.#noAnswer());
    let isGivenUp = false;
    const mine = this.#tail.then(async () => {
      if (isGivenUp) throw this.#noAnswer();
      const result = await work();
      if (isGivenUp) await undo?.();
      return result;
    });
    this.#tail = mine.catch(() => undefined);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        isGivenUp = true;
        this.#overdue++;
        reject(this.#noAnswer());
      }, this.#milliseconds);
      const settle = (answer: () => void) => {
        clearTimeout(timer);
        if (isGivenUp) this.#overdue--;
        else answer();
      };
      mine.then(
        (result) => settle(() => resolve(result)),
        (error: unknown) => settle(() => reject(error)),
      );
    });
  }

  #noAnswer(): KeyreeveError {
    return new KeyreeveError(
      'keystore-unavailable',
      `The disk of the key folder ${this.#folder} does not answer.`,
      { hint: 'Look at the disk and its mount; the service goes on by itself.' },
    );
  }
}
