import { type SchemeName, schemesFor } from '../../../api/algorithms.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  currentVersion,
  effectiveState,
  type KeyRecord,
  requireUsable,
  type VersionRecord,
} from '../../keys/keys.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';

/** May-this-CA-do-that, as pure functions over a CA and a moment. */

/**
 * The version whose key may sign certificates: the newest active one, whatever its certificate
 * says. Errors: `ca-importing`, `key-destroyed`, `key-pending-destruction`, `state-not-allowed`.
 */
export function signingVersion(authority: Authority, now: number): AuthorityVersion {
  const { key } = authority;
  if (authority.state === 'importing') {
    throw new KeyreeveError('ca-importing', `${key.name} is still being taken over.`, {
      hint: 'End the take-over first: until then it signs nothing.',
    });
  }
  requireUsable(key, 'sign-certificate');
  const current = currentVersion(key, now);
  const version = current === undefined ? undefined : authorityVersion(authority, current.version);
  if (version !== undefined) return version;
  const newest = key.versions.at(-1)!;
  throw new KeyreeveError(
    'state-not-allowed',
    `No version of ${key.name} may sign certificates: the newest is ${effectiveState(newest, now)}.`,
    { hint: `Look at: keyreeve ca show ${key.name}` },
  );
}

/**
 * Refuses a certificate that is not in force: what is signed below it would be worth nothing.
 * Error: `state-not-allowed`.
 */
export function requireInForce(authority: Authority, version: AuthorityVersion, now: number): void {
  const { name } = authority.key;
  const { notBefore, notAfter } = version.certificate;
  if (version.revokedAt !== null) {
    throw new KeyreeveError(
      'state-not-allowed',
      `The certificate of ${name}@${version.version} is revoked or on hold.`,
      { hint: `Give it a new key: keyreeve ca rekey ${name}` },
    );
  }
  if (notAfter <= now) {
    throw new KeyreeveError(
      'state-not-allowed',
      `The certificate of ${name}@${version.version} ended on ${formatTime(notAfter)}.`,
      { hint: `Renew it: keyreeve ca renew ${name}` },
    );
  }
  if (notBefore > now) {
    throw new KeyreeveError(
      'state-not-allowed',
      `The certificate of ${name}@${version.version} begins on ${formatTime(notBefore)}.`,
    );
  }
}

/**
 * The newest version, where its key may sign: only that one is renewed or followed by another.
 * Errors as of `signingVersion`.
 */
export function newestSigning(authority: Authority, now: number): AuthorityVersion {
  const version = signingVersion(authority, now);
  const newest = authority.key.versions.at(-1)!;
  if (version.version === newest.version) return version;
  throw new KeyreeveError(
    'state-not-allowed',
    `The newest version of ${authority.key.name} is ${effectiveState(newest, now)}.`,
    { hint: `Look at: keyreeve ca show ${authority.key.name}` },
  );
}

/** Whether the CA signs its own certificates. */
export function isRoot(authority: Authority): boolean {
  const { certificate } = authority.versions.at(-1)!;
  return certificate.issuer.equals(certificate.subject);
}

/** How a version of a CA's key signs: the first of the key's schemes that its algorithm has. */
export function versionScheme(key: KeyRecord, version: VersionRecord): SchemeName {
  const offered: readonly SchemeName[] = schemesFor(version.algorithm, key.purpose);
  const scheme = key.schemes.find((name) => offered.includes(name));
  if (scheme !== undefined) return scheme;
  throw new KeyreeveError(
    'integrity-failed',
    `${key.name}@${version.version} has none of the schemes of its key.`,
  );
}
