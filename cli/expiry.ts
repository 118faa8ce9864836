/** How long something is valid yet, as lists show it. */
import { formatDuration } from './durations.ts';

/** What ends within this time is marked in lists. */
export const soonSeconds = 30 * 86_400;
/** RFC 5280, section 4.1.2.5: no end that anybody knows. */
const endless = '9999-12-31T23:59:59';

/** `in 90d`, `in 12d (soon)`, `3d ago`, `never`: full days, below two of them hours and minutes. */
export function formatExpiry(notAfter: string, now: number): string {
  if (notAfter.startsWith(endless)) return 'never';
  const seconds = Math.floor((Date.parse(notAfter) - now) / 1000);
  if (Number.isNaN(seconds)) return '-';
  if (seconds < 0) return `${roughly(-seconds)} ago`;
  return `in ${roughly(seconds)}${seconds < soonSeconds ? ' (soon)' : ''}`;
}

function roughly(seconds: number): string {
  const unit = seconds >= 2 * 86_400 ? 86_400 : seconds >= 7200 ? 3600 : seconds >= 60 ? 60 : 1;
  const whole = Math.floor(seconds / unit) * unit;
  return unit === 3600 ? `${whole / 3600}h` : formatDuration(whole);
}
