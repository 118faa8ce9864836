import type { Clock } from './clock.ts';
import { KeyreeveError } from './errors.ts';

/** From here on an operator is told. */
export const clockWarnSeconds = 2;
/** From here on nothing is changed any more. */
export const clockRefuseSeconds = 30;

/**
 * Notices a clock that cannot be trusted: one that jumps against the time that passed, and one that
 * differs from the database's. Time windows, tokens and destructions depend on it, so commands are
 * refused until it is right again.
 */
export class ClockGuard {
  readonly #clock: Clock;
  readonly #offset: number;
  #databaseSkewMilliseconds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  /** Tells what the database's clock read at a moment of ours. */
  compare(databaseNow: number, ourNow: number): void {
    this.#databaseSkewMilliseconds = databaseNow - ourNow;
  }

  /** How far the clock is off, in seconds: the larger of jump and difference, with its sign. */
  get skewSeconds(): number {
    const jump = this.#clock.now() - this.#clock.monotonic() - this.#offset;
    const skew =
      Math.abs(jump) > Math.abs(this.#databaseSkewMilliseconds)
        ? jump
        : this.#databaseSkewMilliseconds;
    return skew / 1000;
  }

  get isUnsafe(): boolean {
    return Math.abs(this.skewSeconds) >= clockRefuseSeconds;
  }

  /** Throws `clock-unsafe` while the clock is off by more than may be. */
  require(): void {
    if (!this.isUnsafe) return;
    throw new KeyreeveError(
      'clock-unsafe',
      `The clock is off by ${Math.round(this.skewSeconds)} seconds: nothing is changed meanwhile.`,
      {
        hint: 'Set the clock right (chronyc makestep), or restart the service if it is right now.',
        retryAfterSeconds: 10,
      },
    );
  }
}

/**
 * Refuses to start under a clock that is behind what was recorded last: keys would come back to
 * life and tokens with them.
 */
export function requireClockAfter(clock: Clock, lastRecorded: number | undefined): void {
  if (lastRecorded === undefined) return;
  const behind = (lastRecorded - clock.now()) / 1000;
  if (behind < clockRefuseSeconds) return;
  throw new KeyreeveError(
    'clock-unsafe',
    `The clock is ${Math.round(behind)} seconds behind the newest entry of the record.`,
    { hint: 'Set the clock right, then start again.' },
  );
}
