import { anyExtendedKeyUsage, type Profile } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Certificate, DistinguishedName } from '../../x509/x509.ts';
import { isSameName } from './name-comparison.ts';
import { extendedUsagesOf } from './plan-request.ts';
import type { IssuerFacts, Wanted } from './plan-types.ts';

const ocspSigning = '1.3.6.1.5.5.7.3.9';

/** Whether subject and issuer are the same name: a new key of the same CA (RFC 5280, section 3.2). */
export function isSelfIssued(certificate: Pick<Certificate, 'subject' | 'issuer'>): boolean {
  return certificate.subject.equals(certificate.issuer);
}

/**
 * Refuses the name of a CA above for anybody else: whoever has it could sign CRLs in that name. It
 * may be written otherwise and still be the same (RFC 5280, section 7.1). Error:
 * `subject-not-allowed`.
 */
export function checkForeignName(subject: DistinguishedName, chain: readonly Certificate[]): void {
  if (!chain.some(({ subjectName }) => isSameName(subject, subjectName))) return;
  throw new KeyreeveError(
    'subject-not-allowed',
    'The subject is the name of the CA itself or of one above.',
    { hint: 'Give it another subject; a new key for a CA is made by `ca rekey`.' },
  );
}

/**
 * Refuses an issuer that may not certify this: no CA, not for certificates, a profile that its
 * settings leave out, a usage that the CAs above leave out. Error: `profile-not-allowed`.
 */
export function checkIssuer(profile: Profile, issuer: IssuerFacts): void {
  const { basicConstraints, keyUsage } = issuer.certificate.extensions;
  if (basicConstraints?.isAuthority !== true) {
    throw refused('The certificate of the issuer is not that of a CA.');
  }
  if (keyUsage !== undefined && !keyUsage.includes('keyCertSign')) {
    throw refused('The certificate of the issuer is not for signing certificates.');
  }
  if (profile.name === 'root') {
    throw refused('A root is signed by its own key, never by a CA.', 'Use `intermediate`.');
  }
  const { profiles } = issuer.settings;
  if (profiles !== undefined && !profiles.includes(profile.name)) {
    throw refused(
      `This CA does not issue by the profile ${profile.name}.`,
      `It issues by ${profiles.join(', ') || 'none'} (\`ca update\`).`,
    );
  }
  if (profile.isAuthority) return;
  for (const { extensions } of issuer.chain) {
    const above = extensions.extendedKeyUsage?.usages ?? [anyExtendedKeyUsage];
    if (above.includes(anyExtendedKeyUsage)) continue;
    // A responder speaks for its issuer, whatever that certifies (RFC 6960, section 4.2.2.2).
    const missing = extendedUsagesOf(profile).filter(
      (usage) => usage !== ocspSigning && !above.includes(usage),
    );
    if (missing.length > 0) {
      throw refused(`A CA above is not for the extended key usage ${missing.join(', ')}.`);
    }
  }
}

/**
 * The path length of a new CA: what was asked for, else as much as the CAs above leave and the
 * profile lets it have; undefined where nothing limits it. Certificates of a CA's new key for
 * itself do not count (RFC 5280, section 6.1.4, k to m). Error: `path-length-exceeded`.
 */
export function planPathLength(
  profile: Profile,
  chain: readonly Certificate[],
  wanted: Wanted,
): number | undefined {
  let most = profile.pathLengthMax ?? Number.POSITIVE_INFINITY;
  // CAs in the path below the one that is looked at, the new one among them.
  let below = 1;
  for (const certificate of chain) {
    const limit = certificate.extensions.basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY;
    if (limit < below) {
      throw exceeded('The path length of a CA above leaves no room for a CA here.');
    }
    most = Math.min(most, limit - below);
    if (!isSelfIssued(certificate)) below++;
  }
  const asked = wanted.pathLength ?? wanted.extensions?.basicConstraints?.pathLength;
  if (asked !== undefined && (!Number.isInteger(asked) || asked < 0)) {
    throw exceeded('A path length is a whole number from 0.');
  }
  if (asked !== undefined && asked > most) {
    throw exceeded(`The path length can be ${most} at most here, not ${asked}.`);
  }
  return asked ?? (Number.isFinite(most) ? most : undefined);
}

/**
 * Refuses a certificate that is no CA's where the chain above is too long already, as one that was
 * taken over from elsewhere may be. Error: `path-length-exceeded`.
 */
export function checkPath(chain: readonly Certificate[]): void {
  let below = 0;
  for (const certificate of chain) {
    const limit = certificate.extensions.basicConstraints?.pathLength ?? Number.POSITIVE_INFINITY;
    if (limit < below)
      throw exceeded('There are more CAs above than the path length of one allows.');
    if (!isSelfIssued(certificate)) below++;
  }
}

function refused(message: string, hint?: string): KeyreeveError {
  return new KeyreeveError('profile-not-allowed', message, hint === undefined ? {} : { hint });
}

function exceeded(message: string): KeyreeveError {
  return new KeyreeveError('path-length-exceeded', message, {
    hint: 'The path lengths of the CA and of those above it decide (`ca show`).',
  });
}
