import type { ErrorCode } from '../../../api/error-codes.ts';
import type { Clock } from '../../base/clock.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import type { VersionOfCa } from './crl-store.ts';

const firstRetrySeconds = 5;
const longestRetrySeconds = 300;

/** A version whose CRL could not be published. */
export interface PublishProblem extends VersionOfCa {
  readonly code: ErrorCode;
  readonly reason: string;
  /** Since when, milliseconds since 1970. */
  readonly since: number;
}

interface Failure extends PublishProblem {
  readonly count: number;
  /** By the clock that does not go back. */
  readonly retryAt: number;
}

interface RetryLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Which versions failed, and when each may be tried again: later each time. Logged once. */
export class Retries {
  readonly #clock: Clock;
  readonly #log: RetryLog;
  readonly #failures = new Map<string, Failure>();

  constructor(clock: Clock, log: RetryLog) {
    this.#clock = clock;
    this.#log = log;
  }

  mayTry(slot: string): boolean {
    const failure = this.#failures.get(slot);
    return failure === undefined || failure.retryAt <= this.#clock.monotonic();
  }

  isFailing(slot: string): boolean {
    return this.#failures.has(slot);
  }

  failed(slot: string, { caId, version }: VersionOfCa, error: unknown): void {
    const before = this.#failures.get(slot);
    const code = isKeyreeveError(error) ? error.code : 'internal';
    const reason = isKeyreeveError(error) ? error.message : 'An unexpected error.';
    const count = (before?.count ?? 0) + 1;
    const delaySeconds = Math.min(longestRetrySeconds, firstRetrySeconds * 2 ** (count - 1));
    this.#failures.set(slot, {
      ...{ caId, version, code, reason, count },
      since: before?.since ?? this.#clock.now(),
      retryAt: this.#clock.monotonic() + delaySeconds * 1000,
    });
    if (before?.code === code) return;
    const facts = { ca: caId, version, code, reason };
    this.#log.warn(
      code === 'internal' ? { ...facts, err: error } : facts,
      'a CRL is not published',
    );
  }

  succeeded(slot: string): void {
    const before = this.#failures.get(slot);
    if (before === undefined) return;
    this.#failures.delete(slot);
    this.#log.info({ ca: before.caId, version: before.version }, 'the CRL is published again');
  }

  /** What its state kept from signing is tried at once. */
  stateMayHaveChanged(): void {
    for (const [slot, failure] of this.#failures) {
      if (failure.code !== 'state-not-allowed' && failure.code !== 'key-pending-destruction') {
        continue;
      }
      this.#failures.set(slot, { ...failure, retryAt: 0 });
    }
  }

  problems(): readonly PublishProblem[] {
    return [...this.#failures.values()].map(({ caId, version, code, reason, since }) => ({
      ...{ caId, version, code, reason, since },
    }));
  }
}
