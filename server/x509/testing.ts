import { constants, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type SchemeName, schemes } from '../../api/algorithms.ts';
import type { CertificateFields, Extensions } from './model.ts';
import {
  assembleSigned,
  encodeName,
  encodeRequest,
  encodeTbsCertificate,
  encodeTbsCrl,
  keyIdentifier,
  parseConstraint,
  parseGeneralName,
  parseName,
} from './x509.ts';

/** Structures for the tests of this folder. */

export interface TestKey {
  readonly privateKey: KeyObject;
  readonly spki: Buffer;
}

export function testKey(): TestKey {
  return testKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
}

export function testKeyOf(pair: { publicKey: KeyObject; privateKey: KeyObject }): TestKey {
  const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
  return { privateKey: pair.privateKey, spki };
}

export const testName = encodeName(parseName('CN=Test \\, one,OU=a+L=Zürich,O=Example,C=DE'));

/** Every extension that is written. */
export function everyExtension(spki: Buffer): Extensions {
  const id = keyIdentifier(spki);
  return {
    basicConstraints: { isAuthority: true, pathLength: 3 },
    keyUsage: ['keyCertSign', 'cRLSign'],
    extendedKeyUsage: { usages: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'], critical: true },
    subjectAltNames: [
      ...['dns:www.example.org', 'dns:*.example.org', 'ip:192.0.2.1', 'ip:2001:db8::1'],
      ...['email:ada@example.org', 'uri:https://example.org/a', 'dn:CN=b,O=c'],
    ].map(parseGeneralName),
    subjectKeyId: id,
    authorityKeyId: id,
    nameConstraints: {
      permitted: ['dns:example.org', 'ip:10.0.0.0/8', 'ip:2001:db8::/32', 'dn:O=c'].map(
        parseConstraint,
      ),
      excluded: ['email:.example.net', 'uri:bad.example.org', 'dns:'].map(parseConstraint),
    },
    crlDistributionPoints: ['http://pki.example.org/a.crl', 'http://pki.example.net/a.crl'],
    authorityInfoAccess: {
      ocsp: ['http://ocsp.example.org'],
      caIssuers: ['http://pki.example.org/a.crt'],
    },
    certificatePolicies: ['2.5.29.32.0', '1.2.3.4'],
    ocspNoCheck: true,
  };
}

export function testFields(
  spki: Buffer,
  changes: Partial<CertificateFields> = {},
): CertificateFields {
  return {
    serial: Buffer.from('8f01020304050607', 'hex'),
    scheme: 'ecdsa-sha256',
    issuer: testName,
    subject: testName,
    notBefore: Date.UTC(2026, 0, 1),
    notAfter: Date.UTC(2049, 11, 31, 23, 59, 59),
    spki,
    extensions: everyExtension(spki),
    ...changes,
  };
}

export function signTbs(tbs: Buffer, { privateKey }: TestKey, scheme: SchemeName = 'ecdsa-sha256') {
  const row = schemes[scheme];
  const hash = 'hash' in row ? row.hash : null;
  const input =
    row.form === 'rsa-pss'
      ? {
          key: privateKey,
          padding: constants.RSA_PKCS1_PSS_PADDING,
          saltLength: row.hashBytes,
        }
      : privateKey;
  return assembleSigned(tbs, scheme, sign(hash, tbs, input));
}

export function testCertificate(key: TestKey, changes: Partial<CertificateFields> = {}): Buffer {
  return signTbs(encodeTbsCertificate(testFields(key.spki, changes)), key);
}

export function testRequest(key: TestKey): Buffer {
  const { basicConstraints, subjectAltNames = [] } = everyExtension(key.spki);
  const extensions = { subjectAltNames, ...(basicConstraints && { basicConstraints }) };
  return signTbs(encodeRequest(testName, extensions, key.spki), key);
}

export function testCrl(key: TestKey): Buffer {
  const fields = {
    scheme: 'ecdsa-sha256' as const,
    issuer: testName,
    thisUpdate: Date.UTC(2026, 0, 1),
    nextUpdate: Date.UTC(2050, 0, 1),
    authorityKeyId: keyIdentifier(key.spki),
    number: 300n,
  };
  const revokedAt = Date.UTC(2025, 5, 1);
  const tbs = encodeTbsCrl(fields, [
    { serial: Buffer.of(1), revokedAt, reason: 'unspecified' },
    {
      serial: Buffer.of(0xff, 1),
      revokedAt,
      reason: 'keyCompromise',
      invalidFrom: Date.UTC(2024, 1, 29),
    },
    { serial: Buffer.alloc(20, 0x7f), revokedAt, reason: 'certificateHold' },
  ]);
  return signTbs(tbs, key);
}

/** The private key in a file of its own, for programs that take no other. */
export function keyFile(t: TestContext, { privateKey }: TestKey): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-x509-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'key.pem');
  writeFileSync(path, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return path;
}

/** A request whose signature nobody has made. */
export function unsignedRequest(subject: Buffer): Buffer {
  return assembleSigned(
    encodeRequest(subject, {}, testKey().spki),
    'ecdsa-sha256',
    Buffer.alloc(8),
  );
}
