import { anyExtendedKeyUsage, extendedKeyUsages } from '../../../api/profiles.ts';
import { impossibleUsages } from './key-usage.ts';
import type { CertificateView, LintRule } from './lint-view.ts';
import { isSelfIssued } from './plan-path.ts';
import { extendedUsagesOf } from './plan-request.ts';
import { publicKeyFacts } from './public-key.ts';

const oids = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
  ocspNoCheck: '1.3.6.1.5.5.7.48.1.5',
} as const;

/** Whether an extension has to be critical (RFC 5280, section 4.2.1); undefined: it depends. */
const criticality: ReadonlyMap<string, boolean | undefined> = new Map<string, boolean | undefined>([
  [oids.subjectKeyId, false],
  [oids.keyUsage, true],
  [oids.subjectAltNames, undefined],
  [oids.basicConstraints, true],
  [oids.nameConstraints, true],
  [oids.crlDistributionPoints, false],
  [oids.certificatePolicies, false],
  [oids.authorityKeyId, false],
  [oids.extendedKeyUsage, undefined],
  [oids.authorityInfoAccess, false],
  [oids.ocspNoCheck, false],
]);

/** Rules of extensions: each for itself, with each other, and with the profile. */
export const extensionRules: readonly LintRule<CertificateView>[] = [
  {
    name: 'no-unknown-extensions',
    source: 'RFC 5280, 4.2',
    broken: ({ certificate }) =>
      certificate.rawExtensions.every(({ oid }) => criticality.has(oid))
        ? undefined
        : 'There is an extension that the product does not write.',
  },
  {
    name: 'critical-is-what-has-to-be',
    source: 'RFC 5280, 4.2.1; RFC 6960, 4.2.2.2.1',
    broken: ({ certificate }) =>
      certificate.rawExtensions.every(({ oid, critical }) => {
        const expected = criticality.get(oid);
        return expected === undefined || expected === critical;
      })
        ? undefined
        : 'An extension is critical and may not be, or the other way round.',
  },
  {
    name: 'authority-is-as-the-profile-has-it',
    source: 'RFC 5280, 4.2.1.9',
    broken: ({ certificate: { extensions }, profile }) =>
      (extensions.basicConstraints?.isAuthority === true) === profile.isAuthority
        ? undefined
        : 'It is a CA where the profile makes none, or the other way round.',
  },
  {
    name: 'path-length-is-an-authoritys',
    source: 'RFC 5280, 4.2.1.9',
    broken: ({ certificate: { extensions } }) => {
      const { basicConstraints, keyUsage = [] } = extensions;
      if (basicConstraints?.pathLength === undefined) return undefined;
      return basicConstraints.isAuthority && keyUsage.includes('keyCertSign')
        ? undefined
        : 'There is a path length, but nothing that signs certificates.';
    },
  },
  {
    name: 'path-length-is-inside-the-issuers',
    source: 'RFC 5280, 4.2.1.9 and 6.1.4',
    broken: ({ certificate, issuer, profile }) => {
      const limit = issuer?.extensions.basicConstraints?.pathLength;
      if (limit === undefined || !profile.isAuthority) return undefined;
      const room = isSelfIssued(certificate) ? limit : limit - 1;
      const length = certificate.extensions.basicConstraints?.pathLength;
      return room < 0 || length === undefined || length > room
        ? 'The path length is more than the issuer\u2019s leaves.'
        : undefined;
    },
  },
  {
    name: 'path-length-is-as-the-profile-has-it',
    source: 'the profile',
    broken: ({ certificate: { extensions }, profile }) => {
      const { pathLengthMax } = profile;
      if (pathLengthMax === undefined) return undefined;
      return (extensions.basicConstraints?.pathLength ?? Infinity) > pathLengthMax
        ? 'The path length is more than the profile allows.'
        : undefined;
    },
  },
  {
    name: 'key-usage-is-as-the-profile-has-it',
    source: 'RFC 5280, 4.2.1.3; the profile',
    broken: ({ certificate: { extensions }, profile }) => {
      const usages = extensions.keyUsage ?? [];
      return usages.length > 0 && usages.every((usage) => profile.keyUsage.includes(usage))
        ? undefined
        : 'There is no key usage, or one that is not the profile\u2019s.';
    },
  },
  {
    name: 'certificates-are-signed-by-authorities',
    source: 'RFC 5280, 4.2.1.3 and 4.2.1.9',
    broken: ({ certificate: { extensions } }) => {
      const isAuthority = extensions.basicConstraints?.isAuthority === true;
      return isAuthority === (extensions.keyUsage?.includes('keyCertSign') === true)
        ? undefined
        : 'The key usage keyCertSign and the CA flag do not go together.';
    },
  },
  {
    name: 'key-usage-fits-the-key',
    source: 'RFC 3279, 2.3; RFC 8410, 5; RFC 9881; RFC 9909',
    broken: ({ certificate }) => {
      const { kind } = publicKeyFacts(certificate.spki);
      return impossibleUsages(certificate.extensions.keyUsage ?? [], kind).length > 0
        ? 'There is a key usage that such a key cannot have.'
        : undefined;
    },
  },
  {
    name: 'key-agreement-has-its-key-usage',
    source: 'RFC 5280, 4.2.1.3',
    broken: ({ certificate: { extensions } }) => {
      const { keyUsage = [] } = extensions;
      const qualifies = keyUsage.includes('encipherOnly') || keyUsage.includes('decipherOnly');
      return qualifies && !keyUsage.includes('keyAgreement')
        ? 'encipherOnly and decipherOnly mean nothing without keyAgreement.'
        : undefined;
    },
  },
  {
    name: 'extended-key-usage-is-as-the-profile-has-it',
    source: 'RFC 5280, 4.2.1.12; the profile',
    broken: ({ certificate: { extensions }, profile }) => {
      const given = [...(extensions.extendedKeyUsage?.usages ?? [])].sort();
      const expected = [...extendedUsagesOf(profile)].sort();
      const isSame = given.join() === expected.join();
      const critical = extensions.extendedKeyUsage?.critical ?? profile.extendedKeyUsageCritical;
      return isSame && (expected.length === 0 || critical === profile.extendedKeyUsageCritical)
        ? undefined
        : 'The extended key usages are not those of the profile.';
    },
  },
  {
    name: 'no-any-extended-key-usage',
    source: 'BR 7.1.2.7.10',
    broken: ({ certificate: { extensions } }) =>
      extensions.extendedKeyUsage?.usages.includes(anyExtendedKeyUsage) === true
        ? 'There is anyExtendedKeyUsage: then the other usages limit nothing.'
        : undefined,
  },
  {
    name: 'timestamping-is-critical-and-alone',
    source: 'RFC 3161, 2.3',
    broken: ({ certificate: { extensions }, profile }) => {
      const { usages = [], critical = false } = extensions.extendedKeyUsage ?? {};
      if (!usages.includes(extendedKeyUsages.timeStamping) || profile.isAuthority) return undefined;
      return usages.length === 1 && critical
        ? undefined
        : 'The extended key usage timeStamping has to be critical and alone.';
    },
  },
  {
    name: 'no-check-is-for-responders',
    source: 'RFC 6960, 4.2.2.2.1',
    broken: ({ certificate: { extensions }, profile }) => {
      const noCheck = extensions.ocspNoCheck === true;
      const usages = extensions.extendedKeyUsage?.usages ?? [];
      if (noCheck && !usages.includes(extendedKeyUsages.OCSPSigning)) {
        return 'ocspNoCheck is for certificates with the extended key usage OCSPSigning.';
      }
      return noCheck === profile.ocspNoCheck ? undefined : 'ocspNoCheck is not as in the profile.';
    },
  },
  {
    name: 'names-are-critical-without-subject',
    source: 'RFC 5280, 4.1.2.6 and 4.2.1.6',
    broken: ({ certificate }) => {
      const raw = certificate.rawExtensions.find(({ oid }) => oid === oids.subjectAltNames);
      const hasNoSubject = certificate.subjectName.length === 0;
      if (raw === undefined) return hasNoSubject ? 'There is neither subject nor name.' : undefined;
      return raw.critical === hasNoSubject
        ? undefined
        : 'Names are critical where the subject is empty, and only there.';
    },
  },
  {
    name: 'subject-key-is-identified',
    source: 'RFC 5280, 4.2.1.2',
    broken: ({ certificate: { extensions } }) =>
      extensions.subjectKeyId === undefined || extensions.subjectKeyId.length === 0
        ? 'The identifier of the subject\u2019s key is missing.'
        : undefined,
  },
  {
    name: 'authority-key-is-the-issuers',
    source: 'RFC 5280, 4.2.1.1',
    broken: ({ certificate: { extensions }, issuer }) => {
      const { authorityKeyId } = extensions;
      if (authorityKeyId === undefined)
        return 'The identifier of the issuer\u2019s key is missing.';
      const expected = (issuer?.extensions ?? extensions).subjectKeyId;
      return expected === undefined || expected.equals(authorityKeyId)
        ? undefined
        : 'The identifier of the issuer\u2019s key is not the one in its certificate.';
    },
  },
  {
    name: 'name-constraints-are-an-authoritys',
    source: 'RFC 5280, 4.2.1.10',
    broken: ({ certificate: { extensions } }) =>
      extensions.nameConstraints !== undefined && extensions.basicConstraints?.isAuthority !== true
        ? 'There are name constraints in a certificate that is no CA\u2019s.'
        : undefined,
  },
  {
    name: 'addresses-are-plain-http',
    source: 'RFC 5280, 4.2.1.13 and 8; BR 7.1.2.11.2',
    broken: ({ certificate: { extensions } }) => {
      const { crlDistributionPoints = [], authorityInfoAccess } = extensions;
      const addresses = [
        ...crlDistributionPoints,
        ...(authorityInfoAccess?.ocsp ?? []),
        ...(authorityInfoAccess?.caIssuers ?? []),
      ];
      // Over TLS, whoever checks a certificate would have to check another one first.
      return addresses.every((address) => /^http:\/\/[^/?#@]+/.test(address))
        ? undefined
        : 'An address for CRLs, OCSP or the issuer\u2019s certificate is not plain HTTP.';
    },
  },
  {
    name: 'policies-are-as-the-profile-has-them',
    source: 'RFC 5280, 4.2.1.4; the profile',
    broken: ({ certificate: { extensions }, profile }) => {
      const given = [...(extensions.certificatePolicies ?? [])].sort().join();
      return given === [...new Set(profile.policies)].sort().join()
        ? undefined
        : 'The policies are not those of the profile.';
    },
  },
];
