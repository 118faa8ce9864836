import { test } from 'node:test';
import { type Profile, type ProfileInput, profile } from '../../../api/profiles.ts';
import { derTags, encodeDer } from '../../der/der.ts';
import { type Certificate, keyIdentifier } from '../../x509/x509.ts';
import {
  bits,
  dnsNames,
  ecdsaSha256,
  type HandExtension,
  type HandParts,
  handMade,
  integerOf,
  nameOf,
  octets,
  oidOf,
  sequenceOf,
  timeOf,
} from './lint.fixture.ts';
import { lintCertificate } from './lint.ts';
import { builtIn, constraints, keyPair, refused, rootAuthority } from './rules.fixture.ts';

/** A root with a path length of one and an excluded name, for both kinds of certificates below. */
export const root = rootAuthority({
  pathLength: 1,
  nameConstraints: constraints([], ['dns:example.com']),
});
export const issuer = root.chain[0]!;
/** The same CA without any limit. */
export const unlimited = rootAuthority({}, root.key).chain[0]!;
export const { spki } = keyPair();
export const server = builtIn('tls-server');
export const below = builtIn('intermediate');
export const usageOids = {
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
  timestamp: '1.3.6.1.5.5.7.3.8',
  responder: '1.3.6.1.5.5.7.3.9',
} as const;
export const ids = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  names: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  crl: '2.5.29.31',
  policies: '2.5.29.32',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  access: '1.3.6.1.5.5.7.1.1',
  noCheck: '1.3.6.1.5.5.7.48.1.5',
} as const;
export const isTrue = encodeDer(derTags.boolean, Buffer.from([0xff]));
export const utc = (text: string): Buffer => timeOf('utcTime', text);
export const general = (text: string): Buffer => timeOf('generalizedTime', text);

export const leafExtensions: readonly HandExtension[] = [
  [ids.authorityKeyId, false, authorityKeyId(issuer.extensions.subjectKeyId!)],
  [ids.subjectKeyId, false, octets(keyIdentifier(spki))],
  [ids.keyUsage, true, bits(0)],
  [ids.extendedKeyUsage, false, sequenceOf(oidOf(usageOids.server))],
  [ids.names, false, dnsNames('www.example.org')],
];

/** A server's certificate that breaks no rule. */
export const leaf: HandParts = {
  serial: integerOf('4102030405060708090a0b0c0d0e0f1011'),
  algorithm: ecdsaSha256,
  issuer: issuer.subject,
  validity: sequenceOf(utc('260601120000Z'), utc('260701120000Z')),
  subject: nameOf('CN=www.example.org,O=Example'),
  spki,
  extensions: leafExtensions,
};

/** A CA's certificate that breaks no rule. */
export const authority: HandParts = {
  ...leaf,
  subject: nameOf('CN=Below,O=Example'),
  extensions: [
    ...leafExtensions.slice(0, 2),
    [ids.keyUsage, true, bits(5, 6)],
    [ids.basicConstraints, true, sequenceOf(isTrue, integerOf('00'))],
  ],
};

export interface BreakingCase {
  readonly parts: HandParts;
  readonly by?: Profile;
  readonly issuer?: Certificate | undefined;
}

/** A test that this certificate is refused for exactly this rule. */
export function breaks(rule: string, what: string, breaking: BreakingCase): void {
  tested.add(rule);
  test(`${rule}: ${what}`, () => {
    const above = 'issuer' in breaking ? breaking.issuer : issuer;
    refused('lint-failed', new RegExp(`^The certificate breaks the rule ${rule}\\. `), () =>
      lintCertificate(handMade(breaking.parts), above, breaking.by ?? server),
    );
  });
}

/** The rules that `breaks` was called for, in this test file. */
export const tested = new Set<string>();

/** The profile with something else in it. */
export function varied(from: Profile, change: Partial<ProfileInput>): Profile {
  return profile.parse({ ...from, ...change });
}

/** The extensions with some replaced, or added. */
export function withExtension(parts: HandParts, ...changed: readonly HandExtension[]): HandParts {
  const others = (parts.extensions ?? []).filter(([oid]) => !changed.some(([id]) => id === oid));
  return { ...parts, extensions: [...others, ...changed] };
}

export function without(parts: HandParts, oid: string): HandParts {
  return { ...parts, extensions: (parts.extensions ?? []).filter(([id]) => id !== oid) };
}

export function authorityKeyId(id: Buffer): Buffer {
  return sequenceOf(encodeDer(derTags.context(0), id));
}
