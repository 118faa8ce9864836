import { jitteredSeconds } from '../base/backoff.ts';

/** The ceiling of the wait after the first failure; it doubles with each one more. */
export const firstRetrySeconds = 2;
/** No wait is shorter, however the dice fall. */
export const shortestRetrySeconds = 0.5;
/** The ceiling never grows beyond that: work of long intervals is tried again before its time. */
export const longestRetrySeconds = 900;
/** Work of short intervals is not kept waiting that long: the ceiling is so many intervals ... */
const ceilingIntervals = 10;
/** ... and never less than this. */
const leastCeilingSeconds = 15;

/** The longest wait of work that is done so often. */
export function retryCeilingSeconds(everySeconds: number): number {
  const intervals = everySeconds * ceilingIntervals;
  return Math.min(longestRetrySeconds, Math.max(leastCeilingSeconds, intervals));
}

/** Seconds to wait after so many failures in a row, by a number in [0, 1). */
export function retryAfterSeconds(failures: number, everySeconds: number, random: number): number {
  const limits = {
    firstSeconds: firstRetrySeconds,
    longestSeconds: retryCeilingSeconds(everySeconds),
  };
  return Math.max(shortestRetrySeconds, jitteredSeconds(failures, limits, random));
}
