import type { Profile } from '../../../api/profiles.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  type Certificate,
  type CertificateFields,
  type Extensions,
  encodeName,
  keyIdentifier,
  type NameConstraints,
} from '../../x509/x509.ts';
import { planKeyUsage } from './key-usage.ts';
import { type Certified, checkConstraints, checkNames } from './name-constraints.ts';
import { planNames } from './plan-names.ts';
import { checkForeignName, checkIssuer, checkPath, planPathLength } from './plan-path.ts';
import { checkRequest, extendedUsagesOf } from './plan-request.ts';
import type { IssuerFacts, PlanContext, SelfIssuer, Wanted } from './plan-types.ts';
import { planValidity } from './plan-validity.ts';
import { checkPublicKey, publicKeyFacts } from './public-key.ts';

/**
 * What a certificate will say: the profile's rules applied to what is wanted, within what the
 * issuer and the CAs above it may. Nothing that was asked for is left out in silence where somebody
 * would miss it. Errors: `subject-not-allowed`, `path-length-exceeded`, `validity-not-allowed`,
 * `profile-not-allowed`, `public-key-refused`.
 */
export function planCertificate(
  profile: Profile,
  issuer: IssuerFacts | SelfIssuer,
  wanted: Wanted,
  { now, serial }: PlanContext,
): CertificateFields {
  const above = 'self' in issuer ? undefined : issuer;
  if (above === undefined && profile.name !== 'root') {
    throw new KeyreeveError(
      'profile-not-allowed',
      `Only a root is signed by its own key, not a certificate of the profile ${profile.name}.`,
    );
  }
  if (above !== undefined) checkIssuer(profile, above);
  const chain = above?.chain ?? [];
  const certified = planNames(profile, wanted);
  checkForeignName(certified.subject, chain);
  checkNames(certified, chain);
  const subject = encodeName(certified.subject);
  checkRequest(profile, wanted);
  checkPublicKey(wanted.spki, profile);
  const validity = planValidity(wanted, {
    profile,
    issuer: above?.certificate,
    validitySecondsMax: above?.settings.validitySecondsMax,
    now,
  });
  if (!profile.isAuthority) checkPath(chain);
  return {
    serial,
    scheme: issuer.scheme,
    issuer: above?.certificate.subject ?? subject,
    subject,
    ...validity,
    spki: wanted.spki,
    extensions: {
      ...(profile.isAuthority ? planLimits(profile, chain, wanted) : {}),
      ...planUsages(profile, wanted.spki),
      ...planIdentity(certified, wanted.spki, above),
      ...planAddresses(profile, above),
    },
  };
}

function planLimits(profile: Profile, chain: readonly Certificate[], wanted: Wanted): Extensions {
  const pathLength = planPathLength(profile, chain, wanted);
  const constraints = wanted.nameConstraints ?? wanted.extensions?.nameConstraints;
  if (constraints !== undefined) checkConstraints(constraints);
  return {
    basicConstraints: { isAuthority: true, ...(pathLength === undefined ? {} : { pathLength }) },
    // RFC 5280, section 4.2.1.10: never empty.
    ...(constraints === undefined || isEmpty(constraints) ? {} : { nameConstraints: constraints }),
  };
}

function isEmpty({ permitted, excluded }: NameConstraints): boolean {
  return permitted.length === 0 && excluded.length === 0;
}

function planUsages(profile: Profile, spki: Buffer): Extensions {
  const usages = extendedUsagesOf(profile);
  // RFC 5280, section 4.2.1.4: none of them twice.
  const policies = [...new Set(profile.policies)];
  return {
    keyUsage: planKeyUsage(profile, publicKeyFacts(spki).kind),
    ...(usages.length === 0
      ? {}
      : { extendedKeyUsage: { usages, critical: profile.extendedKeyUsageCritical } }),
    ...(policies.length === 0 ? {} : { certificatePolicies: policies }),
    ...(profile.ocspNoCheck ? { ocspNoCheck: true as const } : {}),
  };
}

/** RFC 5280, sections 4.2.1.1, 4.2.1.2 and 4.2.1.6. */
function planIdentity(
  { names }: Certified,
  spki: Buffer,
  issuer: IssuerFacts | undefined,
): Extensions {
  const subjectKeyId = keyIdentifier(spki);
  const above = issuer?.certificate;
  return {
    subjectKeyId,
    authorityKeyId:
      above === undefined
        ? subjectKeyId
        : (above.extensions.subjectKeyId ?? keyIdentifier(above.spki)),
    ...(names.length === 0 ? {} : { subjectAltNames: names }),
  };
}

/** A root has nobody above who would list it; a responder is not asked about at itself. */
function planAddresses(profile: Profile, issuer: IssuerFacts | undefined): Extensions {
  if (issuer === undefined) return {};
  const { crl, caIssuers } = issuer.addresses;
  const ocsp = profile.ocspNoCheck ? undefined : issuer.addresses.ocsp;
  return {
    ...(crl === undefined ? {} : { crlDistributionPoints: [crl] }),
    ...(ocsp === undefined && caIssuers === undefined
      ? {}
      : { authorityInfoAccess: { ocsp: listOf(ocsp), caIssuers: listOf(caIssuers) } }),
  };
}

function listOf(address: string | undefined): readonly string[] {
  return address === undefined ? [] : [address];
}
