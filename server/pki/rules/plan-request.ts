import {
  type ExtendedKeyUsageName,
  extendedKeyUsages,
  type KeyUsageName,
  type Profile,
} from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { RawExtension } from '../../x509/x509.ts';
import { shown } from './name-syntax.ts';
import type { Wanted } from './plan-types.ts';

/**
 * Extensions by which a request may ask for something. What it says of its issuer (addresses, key
 * identifiers) is the issuer's to say, so it is left aside.
 */
const understood: readonly string[] = [
  '2.5.29.14', // subjectKeyIdentifier
  '2.5.29.15', // keyUsage
  '2.5.29.17', // subjectAltName
  '2.5.29.19', // basicConstraints
  '2.5.29.30', // nameConstraints
  '2.5.29.31', // cRLDistributionPoints
  '2.5.29.32', // certificatePolicies
  '2.5.29.35', // authorityKeyIdentifier
  '2.5.29.37', // extKeyUsage
  '1.3.6.1.5.5.7.1.1', // authorityInfoAccess
  '1.3.6.1.5.5.7.48.1.5', // id-pkix-ocsp-nocheck
];

/** The usages that make a key more than the holder's own. */
const authorityUsages: readonly KeyUsageName[] = ['keyCertSign', 'cRLSign'];

/** The object identifiers of a profile's extended key usages, each once. */
export function extendedUsagesOf(profile: Profile): readonly string[] {
  const usages = profile.extendedKeyUsage.map((usage) =>
    Object.hasOwn(extendedKeyUsages, usage)
      ? extendedKeyUsages[usage as ExtendedKeyUsageName]
      : usage,
  );
  return [...new Set(usages)];
}

/**
 * Refuses a request that asks for more than the profile gives, since a certificate without it would
 * not do what its owner expects: to be a CA, to sign certificates or CRLs, another extended usage,
 * a policy, no OCSP, a critical extension that is not understood. Other key usages are passed over:
 * tools put the same list into every request (`openssl req` asks for nonRepudiation and
 * keyEncipherment, also for EC keys), and nobody relies on them. Error: `profile-not-allowed`.
 */
export function checkRequest(profile: Profile, wanted: Wanted): void {
  const { basicConstraints, nameConstraints } = wanted.extensions ?? {};
  const asksForLimits = wanted.pathLength !== undefined || wanted.nameConstraints !== undefined;
  if (!profile.isAuthority) {
    if (basicConstraints?.isAuthority === true) {
      throw refused(profile, 'to be a CA (basicConstraints with CA:TRUE)');
    }
    if (nameConstraints !== undefined || asksForLimits) {
      throw refused(profile, 'a path length or name constraints, which are for CAs');
    }
  } else if (basicConstraints?.isAuthority === false) {
    throw refused(profile, 'not to be a CA (basicConstraints with CA:FALSE)');
  }
  checkUsages(profile, wanted);
  const policies = wanted.extensions?.certificatePolicies ?? [];
  const policy = policies.find((oid) => !profile.policies.includes(oid));
  if (policy !== undefined) throw refused(profile, `the certificate policy ${shown(policy)}`);
  if (wanted.extensions?.ocspNoCheck === true && !profile.ocspNoCheck) {
    throw refused(profile, 'that nobody asks for its status (ocspNoCheck)');
  }
  const unknown = wanted.rawExtensions?.find(isUnknownAndCritical);
  if (unknown !== undefined) throw refused(profile, `the critical extension ${shown(unknown.oid)}`);
}

function checkUsages(profile: Profile, { extensions }: Wanted): void {
  const usage = extensions?.keyUsage?.find(
    (name) => authorityUsages.includes(name) && !profile.keyUsage.includes(name),
  );
  if (usage !== undefined) throw refused(profile, `the key usage ${usage}`);
  const given = extendedUsagesOf(profile);
  const extended = extensions?.extendedKeyUsage?.usages.find((oid) => !given.includes(oid));
  if (extended !== undefined) {
    throw refused(profile, `the extended key usage ${extendedName(extended)}`);
  }
}

function isUnknownAndCritical({ oid, critical }: RawExtension): boolean {
  return critical && !understood.includes(oid);
}

function extendedName(oid: string): string {
  const entry = Object.entries(extendedKeyUsages).find(([, known]) => known === oid);
  return entry === undefined ? shown(oid) : entry[0];
}

function refused(profile: Profile, what: string): KeyreeveError {
  return new KeyreeveError(
    'profile-not-allowed',
    `The request asks for ${what}. The profile ${profile.name} does not give that.`,
    { hint: 'Make the request without it, or use a profile that gives it (`profile list`).' },
  );
}
