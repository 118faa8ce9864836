import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { ErrorCode } from '../../../api/error-codes.ts';
import {
  builtInProfiles,
  type Profile,
  type ProfileInput,
  profile,
} from '../../../api/profiles.ts';
import { caSettings } from '../../../api/routes/authorities.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  assembleSigned,
  type Certificate,
  type CertificateFields,
  encodeTbsCertificate,
  parseCertificate,
  parseConstraint,
  parseGeneralName,
  parseName,
} from '../../x509/x509.ts';
import { planCertificate } from './plan.ts';
import type { IssuerFacts, Wanted } from './plan-types.ts';
import { newSerial } from './serial.ts';

export const now = Date.UTC(2026, 5, 1, 12, 0, 0, 250);
export const day = 86_400;

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly spki: Buffer;
}

/** A CA with its key: its certificate first, then those above it. */
export interface TestAuthority {
  readonly key: KeyPair;
  readonly chain: readonly Certificate[];
}

export function keyPair(curve = 'prime256v1'): KeyPair {
  return exported(generateKeyPairSync('ec', { namedCurve: curve }));
}

export function exported(pair: { publicKey: KeyObject; privateKey: KeyObject }): KeyPair {
  return {
    privateKey: pair.privateKey,
    spki: pair.publicKey.export({ format: 'der', type: 'spki' }),
  };
}

export function builtIn(name: string): Profile {
  const found = builtInProfiles.find((candidate) => candidate.name === name);
  assert.ok(found, name);
  return found;
}

export function customProfile(input: Partial<ProfileInput>): Profile {
  return profile.parse({
    name: 'custom',
    title: 'Custom',
    what: 'For tests.',
    subject: { allowed: ['CN', 'O', 'OU', 'C', 'DC', 'emailAddress', 'serialNumber'] },
    names: { allowed: ['dns', 'ip', 'email', 'uri'], wildcards: true },
    keyUsage: ['digitalSignature'],
    validitySeconds: 30 * day,
    validitySecondsMax: 60 * day,
    ...input,
  });
}

/** What is wanted, from texts. */
export function wanted(
  subject: string,
  names: readonly string[] = [],
  more: Partial<Wanted> = {},
): Wanted {
  return {
    subject: subject === '' ? [] : parseName(subject),
    names: names.map((name) => parseGeneralName(name)),
    spki: sharedKey.spki,
    ...more,
  };
}

export function constraints(
  permitted: readonly string[],
  excluded: readonly string[] = [],
): NonNullable<Wanted['nameConstraints']> {
  return {
    permitted: permitted.map((text) => parseConstraint(text)),
    excluded: excluded.map((text) => parseConstraint(text)),
  };
}

/** Signs by ECDSA with SHA-256, with the key of whoever issues. */
export function signed(fields: CertificateFields, by: KeyPair): Certificate {
  const tbs = encodeTbsCertificate(fields);
  return parseCertificate(assembleSigned(tbs, 'ecdsa-sha256', sign('sha256', tbs, by.privateKey)));
}

export function rootAuthority(more: Partial<Wanted> = {}, key = keyPair()): TestAuthority {
  const fields = planCertificate(
    builtIn('root'),
    { self: true, scheme: 'ecdsa-sha256' },
    { ...wanted('CN=Example Root,O=Example,C=DE'), spki: key.spki, ...more },
    { now: now - 86_400_000, serial: newSerial() },
  );
  return { key, chain: [signed(fields, key)] };
}

export function authorityBelow(
  parent: TestAuthority,
  subject = 'CN=Example Intermediate,O=Example,C=DE',
  more: Partial<Wanted> = {},
): TestAuthority {
  const key = keyPair();
  const fields = planCertificate(
    builtIn('intermediate'),
    issuerFacts(parent),
    { ...wanted(subject), spki: key.spki, ...more },
    { now: now - 3_600_000, serial: newSerial() },
  );
  return { key, chain: [signed(fields, parent.key), ...parent.chain] };
}

export function issuerFacts(
  { chain }: TestAuthority,
  more: Partial<IssuerFacts> = {},
): IssuerFacts {
  return {
    certificate: chain[0]!,
    chain,
    scheme: 'ecdsa-sha256',
    settings: caSettings.parse({}),
    addresses: { crl: 'http://pki.example/crl/1.crl', caIssuers: 'http://pki.example/ca/1.crt' },
    ...more,
  };
}

export function planned(
  by: Profile,
  issuer: IssuerFacts,
  asked: Wanted,
  at = now,
): CertificateFields {
  return planCertificate(by, issuer, asked, { now: at, serial: newSerial() });
}

/** Numbers of a fixed sequence (xorshift32), so that a failure can be seen again. */
export function numbers(start: number): (limit: number) => number {
  let state = start;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** The act is refused with this code, and its message (or `check` in the data) fits. */
export function refused(code: ErrorCode, fits: RegExp, act: () => unknown): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof KeyreeveError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(`${error.message} ${Object.values(error.data).join(' ')}`, fits);
    return true;
  });
}

const sharedKey = keyPair();
