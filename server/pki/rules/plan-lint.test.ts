import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import type { ErrorCode } from '../../../api/error-codes.ts';
import type { Profile } from '../../../api/profiles.ts';
import { caSettings } from '../../../api/routes/authorities.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import { encodeTbsCertificate, parseTbsCertificate } from '../../x509/x509.ts';
import { lintCertificate } from './lint.ts';
import type { IssuerFacts, Wanted } from './plan-types.ts';
import {
  authorityBelow,
  builtIn,
  constraints,
  customProfile,
  day,
  exported,
  issuerFacts,
  keyPair,
  now,
  numbers,
  planned,
  rootAuthority,
  wanted,
} from './rules.fixture.ts';

const rounds = 600;
const seed = 0x11_7e57;
const refusals: readonly ErrorCode[] = [
  'subject-not-allowed',
  'path-length-exceeded',
  'validity-not-allowed',
  'profile-not-allowed',
  'public-key-refused',
];

const root = rootAuthority();
const short = rootAuthority({ pathLength: 1, notAfter: now + 20 * day * 1000 });
const authorities = [
  root,
  short,
  authorityBelow(short),
  authorityBelow(root, 'CN=Limited,O=Example', {
    pathLength: 1,
    nameConstraints: constraints(['dns:example.org', 'dn:O=Example'], ['dns:no.example.org']),
  }),
];
const keys = [
  keyPair().spki,
  keyPair('secp384r1').spki,
  exported(generateKeyPairSync('ed25519')).spki,
  exported(generateKeyPairSync('rsa', { modulusLength: 2048 })).spki,
  exported(generateKeyPairSync('ml-dsa-44')).spki,
  exported(generateKeyPairSync('x25519')).spki,
];
const authorityProfile = customProfile({
  isAuthority: true,
  pathLengthMax: 3,
  keyUsage: ['keyCertSign', 'cRLSign', 'digitalSignature'],
});
const profiles: readonly Profile[] = [
  ...['tls-server', 'tls-client', 'tls-peer', 'email', 'timestamping', 'ocsp-signing'].map(builtIn),
  builtIn('intermediate'),
  authorityProfile,
  customProfile({ keyUsage: ['digitalSignature', 'keyEncipherment', 'keyAgreement'] }),
  customProfile({ extendedKeyUsage: ['codeSigning', '1.2.3'], policies: ['1.2.3.4'] }),
];
const subjects = [
  '',
  'CN=www.example.org,O=Example',
  'CN=WWW.Example.Org',
  'CN=other.example.com,O=Other',
  'CN=Ada,O=Example',
  'emailAddress=ada@example.org,CN=Ada,O=Example',
  'OU=a,OU=b,O=Example',
  'CN=192.0.2.1',
];
const names = [
  'dns:www.example.org',
  'dns:*.example.org',
  'dns:no.example.org',
  'dns:other.example.com',
  'ip:192.0.2.1',
  'ip:2001:DB8::1',
  'email:ada@example.org',
  'uri:https://example.org/x',
];

test('whatever is asked for is refused by a rule, or planned and passes the linter', () => {
  const draw = numbers(seed);
  const pick = <Item>(items: readonly Item[]): Item => items[draw(items.length)]!;
  const seen = new Map<string, number>();
  for (let round = 0; round < rounds; round++) {
    const profile = pick(profiles);
    const limit = draw(3) === 0 ? { validitySecondsMax: 600 + draw(40) * day } : {};
    const issuer: IssuerFacts = issuerFacts(pick(authorities), {
      settings: caSettings.parse(limit),
    });
    const asked: Partial<Wanted> = {
      spki: pick(keys),
      ...(draw(3) === 0 ? { validitySeconds: 1 + draw(60 * day) } : {}),
      ...(profile.isAuthority && draw(3) === 0 ? { pathLength: draw(4) } : {}),
    };
    const picked = Array.from({ length: draw(4) }, () => pick(names));
    const outcome = outcomeOf(profile, issuer, wanted(pick(subjects), picked, asked));
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
  }
  // Each of them has happened, or the draw proves nothing.
  assert.ok((seen.get('planned') ?? 0) > rounds / 10);
  for (const code of refusals) {
    if (code !== 'profile-not-allowed') assert.ok((seen.get(code) ?? 0) > 0, code);
  }
});

function outcomeOf(profile: Profile, issuer: IssuerFacts, asked: Wanted): string {
  try {
    const fields = planned(profile, issuer, asked);
    const tbs = encodeTbsCertificate(fields);
    lintCertificate(tbs, issuer.certificate, profile);
    // What was planned is what others read.
    const read = parseTbsCertificate(tbs);
    assert.deepEqual(read.extensions, fields.extensions);
    assert.equal(read.notAfter, fields.notAfter);
    return 'planned';
  } catch (error) {
    if (!isKeyreeveError(error) || !refusals.includes(error.code)) throw error;
    return error.code;
  }
}
