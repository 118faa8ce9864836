import type { Clock } from '../base/clock.ts';
import type { StorageLog } from './contract.ts';
import { messageOf } from './group.ts';

/** The clock of the day going ahead of the monotonic one by more: the host slept, or was set. */
const sleepMilliseconds = 100;

/** The newest epoch that this process has seen, and when it was known to be the newest. */
export class EpochKeeper {
  readonly #clock: Clock;
  readonly #log: StorageLog;
  readonly #listeners: ((epoch: number) => void)[] = [];
  #epoch: number;
  #knownAt: number;
  #ahead: number;
  #slept = 0;

  /** `epoch` was read after this call of `clock`. */
  constructor(epoch: number, clock: Clock, log: StorageLog) {
    this.#clock = clock;
    this.#log = log;
    this.#epoch = epoch;
    this.#ahead = clock.now() - clock.monotonic();
    this.#knownAt = this.now();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /**
   * Milliseconds from an arbitrary start. The monotonic clock stands still while a host sleeps, which
   * is when somebody may be locked out elsewhere: what the clock of the day says is added.
   */
  now(): number {
    const monotonic = this.#clock.monotonic();
    const ahead = this.#clock.now() - monotonic;
    if (ahead - this.#ahead > sleepMilliseconds) this.#slept += ahead - this.#ahead;
    this.#ahead = ahead;
    return monotonic + this.#slept;
  }

  /** Milliseconds since the newest epoch was known to be the newest. */
  age(): number {
    return this.now() - this.#knownAt;
  }

  onEpoch(listener: (epoch: number) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * The database had this epoch at some time after `asOf` (by `now`): whoever asks must take that
   * time BEFORE it sends its question, since nobody knows how long an answer was on its way.
   * Listeners hear of a new epoch before this returns.
   */
  confirm(epoch: number, asOf: number): void {
    // An answer that was long on its way, or that of a primary which was replaced: it says nothing of
    // what is the newest.
    if (epoch < this.#epoch) return;
    this.#knownAt = Math.max(this.#knownAt, asOf);
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    for (const listener of this.#listeners) {
      try {
        listener(epoch);
      } catch (error) {
        this.#log.error({ detail: messageOf(error) }, 'a listener to the epoch failed');
      }
    }
  }
}
