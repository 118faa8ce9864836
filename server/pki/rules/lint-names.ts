import { schemesFor } from '../../../api/algorithms.ts';
import type { GeneralNameKind } from '../../../api/profiles.ts';
import { subjectAttributes } from '../../../api/profiles.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import { attributeFault, attributeName, mayRepeat } from './attribute-bounds.ts';
import type { CertificateView, LintRule } from './lint-view.ts';
import { checkNames } from './name-constraints.ts';
import { domainIn, isWildcard, normalAddress, normalName } from './name-syntax.ts';
import { checkPublicKey, publicKeyFacts } from './public-key.ts';

/** Rules of who signs what, for whom, and for how long. */
export const nameRules: readonly LintRule<CertificateView>[] = [
  {
    name: 'signature-fits-issuer',
    source: 'RFC 5280, 4.1.1.2; FIPS 186-5',
    broken: ({ certificate: { scheme, spki }, issuer }) => {
      // No scheme of ours has a hash below SHA-256, so what has one is none of ours.
      if (scheme === undefined) return 'The signature is by no scheme known here.';
      const { algorithm } = publicKeyFacts(issuer?.spki ?? spki);
      return schemesFor(algorithm, 'ca').includes(scheme)
        ? undefined
        : 'The scheme of the signature is not for the key of the issuer.';
    },
  },
  {
    name: 'issuer-is-named-byte-for-byte',
    source: 'RFC 5280, 4.1.2.4 and 7.1',
    broken: ({ certificate, issuer }) =>
      certificate.issuer.equals(issuer?.subject ?? certificate.subject)
        ? undefined
        : 'The name of the issuer is not encoded as in its own certificate.',
  },
  {
    name: 'issuer-is-not-empty',
    source: 'RFC 5280, 4.1.2.4',
    broken: ({ certificate }) =>
      certificate.issuerName.length === 0 ? 'The name of the issuer is empty.' : undefined,
  },
  {
    name: 'validity-is-in-order',
    source: 'RFC 5280, 4.1.2.5',
    broken: ({ certificate: { notBefore, notAfter } }) =>
      notBefore > notAfter ? 'The validity ends before it begins.' : undefined,
  },
  {
    name: 'validity-is-inside-the-issuers',
    source: 'BR 4.9.5; NIST SP 800-57-1, 5.3.6',
    broken: ({ certificate, issuer }) =>
      issuer !== undefined &&
      (certificate.notBefore < issuer.notBefore || certificate.notAfter > issuer.notAfter)
        ? 'The validity is not inside that of the issuer.'
        : undefined,
  },
  {
    name: 'validity-is-as-the-profile-has-it',
    source: 'the profile',
    broken: ({ certificate: { notBefore, notAfter }, profile }) =>
      // Both ends belong to it: RFC 5280, section 4.1.2.5.
      (notAfter - notBefore) / 1000 + 1 > profile.validitySecondsMax
        ? 'The validity is longer than the profile allows.'
        : undefined,
  },
  {
    name: 'public-key-is-sound',
    source: 'BR 6.1.1.3 and 6.1.6',
    broken: ({ certificate, profile }) =>
      refusal('public-key-refused', () => checkPublicKey(certificate.spki, profile)),
  },
  {
    name: 'subject-is-well-formed',
    source: 'RFC 5280, A.1 (upper bounds)',
    broken: ({ certificate }) => {
      for (const { type, value } of certificate.subjectName.flat()) {
        const name = attributeName(type);
        const fault = name === undefined ? undefined : attributeFault(name, value);
        if (fault !== undefined) return `${name} of the subject ${fault}.`;
      }
      return undefined;
    },
  },
  {
    name: 'subject-is-as-the-profile-has-it',
    source: 'the profile',
    broken: ({ certificate, profile }) => {
      const names = certificate.subjectName.flat().map(({ type }) => attributeName(type));
      if (names.some((name) => name === undefined || !profile.subject.allowed.includes(name))) {
        return 'The subject has an attribute that the profile does not take.';
      }
      return profile.subject.required.every((name) => names.includes(name))
        ? undefined
        : 'The subject lacks an attribute that the profile requires.';
    },
  },
  {
    name: 'subject-says-things-once',
    source: 'BR 7.1.4.2',
    broken: ({ certificate }) => {
      const seen = new Set<string>();
      for (const { type } of certificate.subjectName.flat()) {
        const name = attributeName(type);
        if (seen.has(type) && (name === undefined || !mayRepeat(name))) {
          return 'An attribute of the subject is there twice.';
        }
        seen.add(type);
      }
      return undefined;
    },
  },
  {
    name: 'authority-has-a-subject',
    source: 'RFC 5280, 4.1.2.6',
    broken: ({ certificate, profile }) =>
      profile.isAuthority && certificate.subjectName.length === 0
        ? 'A CA has to have a subject.'
        : undefined,
  },
  {
    name: 'names-are-well-formed',
    source: 'RFC 5280, 4.2.1.6; BR 7.1.4.2',
    broken: ({ certificate }) => {
      for (const name of certificate.extensions.subjectAltNames ?? []) {
        const fault = refusal('subject-not-allowed', () => {
          // Upper case is well-formed, but then nothing here would find the name again.
          if (normalName(name).value !== name.value) throw new RangeError('another spelling');
        });
        if (fault !== undefined) return fault;
      }
      return undefined;
    },
  },
  {
    name: 'names-stand-once',
    source: 'BR 7.1.2.7.12',
    broken: ({ certificate: { extensions } }) => {
      const names = (extensions.subjectAltNames ?? []).map(({ kind, value }) => `${kind}:${value}`);
      return new Set(names).size < names.length ? 'A name is there twice.' : undefined;
    },
  },
  {
    name: 'names-are-as-the-profile-has-them',
    source: 'the profile',
    broken: ({ certificate, profile: { names: rules } }) => {
      const names = certificate.extensions.subjectAltNames ?? [];
      if (rules.required && names.length === 0) return 'The profile requires a name.';
      if (names.some(({ kind }) => !rules.allowed.includes(kind as GeneralNameKind))) {
        return 'A name is of a kind that the profile does not take.';
      }
      return !rules.wildcards &&
        names.some(({ kind, value }) => kind === 'dns' && isWildcard(value))
        ? 'The profile takes no wildcards.'
        : undefined;
    },
  },
  {
    name: 'common-name-is-a-name',
    source: 'BR 7.1.4.3',
    broken: ({ certificate, profile }) => {
      if (!profile.names.commonNameIsName) return undefined;
      const names = certificate.extensions.subjectAltNames ?? [];
      const stray = certificate.subjectName
        .flat()
        .filter(({ type }) => type === subjectAttributes.CN)
        .find(({ value }) => !names.some((name) => name.value === value) && readsAsName(value));
      return stray === undefined ? undefined : 'The common name is not among the names.';
    },
  },
  {
    name: 'names-keep-the-issuers-constraints',
    source: 'RFC 5280, 4.2.1.10',
    broken: ({ certificate, issuer, profile }) => {
      const isOwnKey = profile.isAuthority && certificate.subject.equals(certificate.issuer);
      if (issuer === undefined || isOwnKey) return undefined;
      const names = certificate.extensions.subjectAltNames ?? [];
      return refusal('subject-not-allowed', () =>
        checkNames({ subject: certificate.subjectName, names }, [issuer]),
      );
    },
  },
];

/** The message of this error where `check` throws it. */
function refusal(
  code: 'public-key-refused' | 'subject-not-allowed',
  check: () => void,
): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (error instanceof RangeError) return 'A name is not in its one spelling.';
    if (!isKeyreeveError(error, code)) throw error;
    return error.message;
  }
}

function readsAsName(text: string): boolean {
  return normalAddress(text) !== undefined || domainIn(text) !== undefined;
}
