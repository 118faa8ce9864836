/** Lengths and points of time as people write them. */
import { KeyreeveError } from '../server/base/errors.ts';

// A year has 365 days: lengths of time are counted, not looked up in a calendar.
const unitSeconds = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800, y: 31_536_000 } as const;
type Unit = keyof typeof unitSeconds;

/** `90d`, `10y`, `1d12h`: years of 365 days, weeks, days, hours, minutes, seconds. Returns seconds. */
export function parseDuration(text: string): number {
  if (!/^([0-9]{1,9}[ywdhms])+$/.test(text)) {
    throw new KeyreeveError('invalid-request', `"${text}" is not a length of time`, {
      hint: 'Write it as 90d, 12h, 30m or 1d12h (y, w, d, h, m, s; a year has 365 days).',
    });
  }
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)([ywdhms])/g)) {
    seconds += Number(count) * unitSeconds[unit as Unit];
  }
  return seconds;
}

/** Seconds as `90d` or `1d12h`. */
export function formatDuration(seconds: number): string {
  let left = Math.round(seconds);
  let text = '';
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    const count = Math.floor(left / unitSeconds[unit]);
    left -= count * unitSeconds[unit];
    if (count > 0) text += `${count}${unit}`;
  }
  return text === '' ? '0s' : text;
}

/** A time (`2026-05-01`, RFC 3339) or a length of time before or after now. Returns RFC 3339. */
export function parseTime(text: string, now: number, direction: 'before' | 'after'): string {
  if (/^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(text)) {
    const milliseconds = Date.parse(text);
    if (!Number.isNaN(milliseconds)) return new Date(milliseconds).toISOString();
  } else if (/^[0-9]+[ywdhms]/.test(text)) {
    const milliseconds = parseDuration(text) * 1000;
    const time = new Date(direction === 'after' ? now + milliseconds : now - milliseconds);
    if (!Number.isNaN(time.getTime())) return time.toISOString();
  }
  throw new KeyreeveError('invalid-request', `"${text}" is not a time`, {
    hint: 'Write it as 2026-05-01T12:00:00Z, or as a length of time from now such as 7d.',
  });
}
