import type { Profile } from '../../../api/profiles.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Certificate } from '../../x509/x509.ts';
import type { Wanted } from './plan-types.ts';

export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface ValidityRules {
  readonly profile: Profile;
  /** Undefined for a certificate that is signed by its own key. */
  readonly issuer: Certificate | undefined;
  /** Of the CA's settings. */
  readonly validitySecondsMax: number | undefined;
  readonly now: number;
}

/** Of a short validity the time before issuance takes at most this part. */
const backdateShareMax = 10;

/**
 * From when to when a certificate is valid: both ends belong to it (RFC 5280, section 4.1.2.5), so
 * one of 60 seconds from now ends in 59. It begins a little before now, for clocks that are behind,
 * never before the issuer's. The whole of it is never longer than profile and settings let it be:
 * a validity that nobody asked for ends the sooner, also with its issuer; one that was asked for is
 * kept in full and begins the later, or is refused. Error: `validity-not-allowed`.
 */
export function planValidity(wanted: Wanted, rules: ValidityRules): Validity {
  const { profile, issuer } = rules;
  const now = wholeSeconds(rules.now);
  const maximum = Math.min(profile.validitySecondsMax, rules.validitySecondsMax ?? Infinity) * 1000;
  if (issuer !== undefined && (issuer.notAfter <= now || issuer.notBefore > now)) {
    throw refused('The certificate of the CA is not valid now.', 'Renew the CA (`ca renew`).');
  }
  const earliest = issuer?.notBefore ?? Number.NEGATIVE_INFINITY;
  const latest = issuer?.notAfter ?? Number.POSITIVE_INFINITY;
  const backdate = Math.min(profile.backdateSeconds * 1000, maximum / backdateShareMax);
  const start = wholeSeconds(now - backdate);
  const asked = askedEnd(wanted, now);
  if (asked === undefined) {
    const end = Math.min(now + profile.validitySeconds * 1000, start + maximum) - 1000;
    return { notBefore: Math.max(start, earliest), notAfter: Math.min(end, latest) };
  }
  if (asked < now) throw refused('The validity would end before it begins.');
  if (asked + 1000 - now > maximum) {
    throw refused(
      `The validity would be longer than the ${maximum / 1000} seconds that profile and CA allow.`,
      'Ask for less, or for none: then it is as long as it may be.',
    );
  }
  if (asked > latest) {
    throw refused(
      `The validity would go beyond that of the CA, which ends ${formatTime(latest)}.`,
      'Ask for less, or renew the CA first (`ca renew`).',
    );
  }
  return { notBefore: Math.max(start, earliest, asked + 1000 - maximum), notAfter: asked };
}

function askedEnd({ validitySeconds, notAfter }: Wanted, now: number): number | undefined {
  if (validitySeconds !== undefined && notAfter !== undefined) {
    throw refused('A length and an end of the validity are asked for.', 'Ask for one of them.');
  }
  if (validitySeconds !== undefined) {
    if (!Number.isFinite(validitySeconds) || validitySeconds < 1) {
      throw refused('The validity has to be a second at least.');
    }
    return now + Math.floor(validitySeconds) * 1000 - 1000;
  }
  if (notAfter === undefined) return undefined;
  // Beyond this GeneralizedTime has no year (RFC 5280, section 4.1.2.5.2).
  if (!(notAfter < Date.UTC(10_000, 0))) throw refused('The end of the validity is no time.');
  return wholeSeconds(notAfter);
}

function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}

function refused(message: string, hint?: string): KeyreeveError {
  return new KeyreeveError('validity-not-allowed', message, hint === undefined ? {} : { hint });
}
