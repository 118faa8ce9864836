import { algorithmOf, isAlgorithm, schemesFor } from '../../../api/algorithms.ts';
import { anyExtendedKeyUsage, extendedKeyUsages, type Profile } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { crossProfileName } from './chains.ts';
import { isBuiltIn } from './profile-store.ts';

type Rule = (profile: Profile) => string | undefined;

/**
 * Refuses a profile that could not be issued by, or would make certificates that break their
 * standards. Errors: `profile-not-allowed` for a name that is taken by the product,
 * `unknown-algorithm`, `invalid-request`.
 */
export function checkProfile(profile: Profile): void {
  refuseReserved(profile.name, 'replaced');
  for (const name of profile.algorithms ?? []) requireSigning(name);
  for (const rule of rules) {
    const problem = rule(profile);
    if (problem !== undefined) {
      throw new KeyreeveError('invalid-request', `The profile ${profile.name}: ${problem}`);
    }
  }
}

/** Names that are not the operators' to give or take. Error: `profile-not-allowed`. */
export function refuseReserved(name: string, verb: 'replaced' | 'removed'): void {
  if (!isBuiltIn(name) && name !== crossProfileName) return;
  throw new KeyreeveError(
    'profile-not-allowed',
    `The profile ${name} is built in: it cannot be ${verb}.`,
    { hint: 'Make one of another name from it: keyreeve profile show shows what it says.' },
  );
}

function requireSigning(name: string): void {
  const row = algorithmOf(name);
  if (!isAlgorithm(name) || row?.kind !== 'asymmetric') {
    throw new KeyreeveError('unknown-algorithm', `There are no certified keys of "${name}".`);
  }
  if (schemesFor(name, 'sign').length > 0 || schemesFor(name, 'ca').length > 0) return;
  throw new KeyreeveError('unknown-algorithm', `Keys of ${name} sign nothing.`);
}

/** What each asks; the answer is what is wrong. */
const rules: readonly Rule[] = [
  ({ validitySeconds, validitySecondsMax }) =>
    validitySeconds > validitySecondsMax
      ? 'its validity is longer than the longest that it allows.'
      : undefined,
  // RFC 5280, section 4.2.1.9: only a CA signs certificates, and a CA's key has to.
  ({ isAuthority, keyUsage }) =>
    isAuthority !== keyUsage.includes('keyCertSign')
      ? 'a CA has the key usage keyCertSign, and nobody else has it.'
      : undefined,
  ({ isAuthority, keyUsage }) =>
    !isAuthority && keyUsage.includes('cRLSign')
      ? 'the key usage cRLSign is for CAs alone.'
      : undefined,
  ({ isAuthority, pathLengthMax }) =>
    !isAuthority && pathLengthMax !== undefined ? 'a path length is for CAs alone.' : undefined,
  // RFC 5280, section 4.1.2.6: the subject of a CA is never empty.
  ({ isAuthority, subject }) =>
    isAuthority && subject.required.length === 0
      ? 'the subject of a CA has to have a required attribute, such as CN.'
      : undefined,
  // RFC 5280, section 4.2.1.3: these say something of keyAgreement.
  ({ keyUsage }) =>
    !keyUsage.includes('keyAgreement') &&
    (keyUsage.includes('encipherOnly') || keyUsage.includes('decipherOnly'))
      ? 'encipherOnly and decipherOnly need the key usage keyAgreement.'
      : undefined,
  ({ subject }) => {
    const missing = subject.required.filter((name) => !subject.allowed.includes(name));
    return missing.length > 0
      ? `it requires ${missing.join(', ')} and does not allow it.`
      : undefined;
  },
  ({ names }) =>
    names.required && names.allowed.length === 0
      ? 'it requires a name and allows none.'
      : undefined,
  ({ names }) =>
    names.wildcards && !names.allowed.includes('dns')
      ? 'wildcards need DNS names to be allowed.'
      : undefined,
  ({ names }) =>
    names.commonNameIsName && names.allowed.length === 0
      ? 'the common name cannot be one of the names where none are allowed.'
      : undefined,
  ({ subject, names }) =>
    subject.allowed.length === 0 && names.allowed.length === 0
      ? 'it allows neither a subject nor names: its certificates would be nobody’s.'
      : undefined,
  ({ extendedKeyUsage, extendedKeyUsageCritical }) =>
    extendedKeyUsageCritical && extendedKeyUsage.length === 0
      ? 'there is no extended key usage that could be critical.'
      : undefined,
  // Beside it the others would limit nothing, and the linter refuses what has it.
  ({ extendedKeyUsage }) =>
    extendedKeyUsage.includes(anyExtendedKeyUsage)
      ? 'anyExtendedKeyUsage limits nothing: leave the extended key usages out, or name them.'
      : undefined,
  // RFC 3161, section 2.3.
  (profile) =>
    has(profile, 'timeStamping') &&
    (profile.extendedKeyUsage.length > 1 || !profile.extendedKeyUsageCritical)
      ? 'the extended key usage timeStamping stands alone and is critical.'
      : undefined,
  (profile) =>
    profile.ocspNoCheck && !has(profile, 'OCSPSigning')
      ? 'ocspNoCheck is for OCSP responders alone.'
      : undefined,
];

function has({ extendedKeyUsage }: Profile, usage: keyof typeof extendedKeyUsages): boolean {
  return extendedKeyUsage.includes(usage) || extendedKeyUsage.includes(extendedKeyUsages[usage]);
}
