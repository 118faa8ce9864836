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

// Entries of one millisecond are many under load, and writing the time costs more than finding it.
let formatted = { milliseconds: 0, text: new Date(0).toISOString() };

/** RFC 3339 with milliseconds in UTC, as everywhere in API and record. */
export function formatTime(milliseconds: number): string {
  if (milliseconds !== formatted.milliseconds) {
    formatted = { milliseconds, text: new Date(milliseconds).toISOString() };
  }
  return formatted.text;
}
