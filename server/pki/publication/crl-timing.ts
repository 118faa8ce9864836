import type { CaSettings } from '../../../api/routes/authorities.ts';
import { type CrlTimes, crlGapSeconds } from '../crl-due.ts';

/**
 * nextUpdate of the last CRL of a version: there will be no other (RFC 5280, section 4.1.2.5, for
 * the time; ETSI EN 319 411-1, clause 6.3.9, for its meaning). 9999-12-31T23:59:59Z.
 */
export const neverMilliseconds = 253_402_300_799_000;
/** The next CRL is out before this part of the validity is over, whatever is set. */
const dueShareMax = 2 / 3;

type CrlSettings = Pick<CaSettings, 'crlEverySeconds' | 'crlValiditySeconds'>;

/** Now, in whole seconds, and never before the CRL before. */
export function thisUpdateAt(now: number, before: number | undefined): number {
  return Math.max(Math.floor(now / 1000) * 1000, before ?? 0);
}

export function nextUpdateAt(thisUpdate: number, settings: CrlSettings): number {
  return thisUpdate + settings.crlValiditySeconds * 1000;
}

/** When the next one is due where nothing is revoked: well before nextUpdate. */
export function nextDueAt(thisUpdate: number, settings: CrlSettings): number {
  const latest = Math.floor(settings.crlValiditySeconds * dueShareMax);
  return thisUpdate + Math.min(settings.crlEverySeconds, latest) * 1000;
}

/** Whether something waits to be published: a revocation, or the regular time. */
export function isPending({ dueAt, publishedAt }: CrlTimes, now: number): boolean {
  if (dueAt === null) return false;
  return dueAt <= Math.max(now, (publishedAt ?? 0) + crlGapSeconds * 1000);
}
