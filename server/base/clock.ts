/** Where time comes from. Every feature takes one; none calls `Date.now()` itself. */
export interface Clock {
  /** Milliseconds since 1970, UTC. */
  now(): number;
  /** Milliseconds from an arbitrary start, never going back. */
  monotonic(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** RFC 3339 with milliseconds in UTC, as everywhere in API and record. */
export function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
