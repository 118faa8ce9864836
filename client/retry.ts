/** When a failed call may be repeated: rules, without mechanism. */
import type { ErrorCode } from '../api/error-codes.ts';
import type { RouteDefinition } from '../api/route.ts';
import type { KeyreeveError } from '../server/base/errors.ts';

/** A call is tried this often at most, the first time included. */
export const attemptsMax = 5;
export const firstDelayMilliseconds = 200;
/** A service that asks for a longer wait is not waited for. */
export const delayMillisecondsMax = 10_000;

export interface Failure {
  readonly error: KeyreeveError;
  /**
   * `none`: the service answered. `never-made`: nothing was sent. `lost`: it may have been done.
   * `given-up`: by the caller.
   */
  readonly connection: 'none' | 'never-made' | 'lost' | 'given-up';
}

export interface Repeating {
  readonly kind: RouteDefinition['kind'];
  /** False for a command without an idempotency key: doing it twice is not doing it once. */
  readonly repeatable: boolean;
}

/** Answers that say: not done, come again. */
const refusedForNow = new Set<ErrorCode>([
  'overloaded',
  'shutting-down',
  'storage-unavailable',
  'rate-limited',
]);

/** Answers that only a command, which has an idempotency key, may be repeated after. */
const settledByKey = new Set<ErrorCode>(['outcome-unknown', 'idempotency-in-progress']);

/**
 * How long to wait before the next attempt, in milliseconds, or undefined where there is none. A
 * use of a key whose connection broke is not repeated: it may be on the record already, and the
 * caller decides.
 */
export function retryDelayMilliseconds(
  call: Repeating,
  failures: readonly Failure[],
): number | undefined {
  const last = failures.at(-1);
  if (last === undefined || !call.repeatable || !worthRepeating(call, last, failures)) {
    return undefined;
  }
  const backoff = firstDelayMilliseconds * 2 ** (failures.length - 1);
  const asked = (last.error.retryAfterSeconds ?? 0) * 1000;
  return asked > delayMillisecondsMax
    ? undefined
    : Math.min(Math.max(backoff, asked), delayMillisecondsMax);
}

function worthRepeating(call: Repeating, last: Failure, failures: readonly Failure[]): boolean {
  switch (last.connection) {
    case 'given-up':
      return false;
    case 'lost':
      return call.kind !== 'use';
    case 'never-made':
      // At first it means that no service runs. After a lost connection, that it starts again.
      return last.error.code === 'unreachable' && failures.some((one) => one.connection === 'lost');
    case 'none':
      return isTemporary(call, last.error);
  }
}

function isTemporary(call: Repeating, error: KeyreeveError): boolean {
  if (settledByKey.has(error.code)) return call.kind === 'command';
  // Without a time to wait the service does not promise that a repetition helps.
  return refusedForNow.has(error.code) && error.retryAfterSeconds !== undefined;
}
