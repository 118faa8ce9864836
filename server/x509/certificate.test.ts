import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { SchemeName } from '../../api/algorithms.ts';
import { requireProgram, run, tryRun } from '../../test/tools.ts';
import {
  everyExtension,
  keyFile,
  signTbs,
  testCertificate,
  testFields,
  testKey,
  testKeyOf,
  testName,
} from './testing.ts';
import {
  assembleSigned,
  type CertificateFields,
  certificatePem,
  encodeTbsCertificate,
  keyIdentifier,
  parseCertificate,
  parseTbsCertificate,
  verifySigned,
} from './x509.ts';

const key = testKey();
const malformed = (reason: string) => ({ code: 'certificate-malformed', data: { reason } });

test('a certificate is read as it was written', () => {
  const fields = testFields(key.spki);
  const { der, tbs, signature, rawExtensions, subjectName, issuerName, ...read } = parseCertificate(
    testCertificate(key),
  );
  assert.deepEqual(read, fields);
  assert.ok(tbs.equals(encodeTbsCertificate(fields)));
  assert.ok(der.includes(signature));
  assert.deepEqual(subjectName, issuerName);
  assert.deepEqual(
    rawExtensions.filter(({ critical }) => critical).map(({ oid }) => oid),
    ['2.5.29.15', '2.5.29.19', '2.5.29.37', '2.5.29.30'],
  );
  assert.deepEqual(parseTbsCertificate(tbs).extensions, fields.extensions);
});

test('openssl reads every field as it was meant', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const der = testCertificate(key);
  const options = ['x509', '-inform', 'DER', '-noout', '-text', '-nameopt', 'RFC2253,-esc_msb'];
  const text = run(openssl, options, der).toString();
  const id = keyIdentifier(key.spki)
    .toString('hex')
    .toUpperCase()
    .replace(/..(?=.)/g, '$&:');
  for (const expected of [
    'Version: 3 (0x2)',
    /Serial Number:\s+8f:01:02:03:04:05:06:07/,
    'Signature Algorithm: ecdsa-with-SHA256',
    'Subject: CN=Test \\, one,L=Zürich+OU=a,O=Example,C=DE',
    'Not Before: Jan  1 00:00:00 2026 GMT',
    'Not After : Dec 31 23:59:59 2049 GMT',
    `X509v3 Authority Key Identifier: \n                ${id}`,
    `X509v3 Subject Key Identifier: \n                ${id}`,
    /Key Usage: critical\s+Certificate Sign, CRL Sign\n/,
    /Certificate Policies: \s+Policy: X509v3 Any Policy\s+Policy: 1\.2\.3\.4\n/,
    /Basic Constraints: critical\s+CA:TRUE, pathlen:3\n/,
    /Extended Key Usage: critical\s+TLS Web Server Authentication, TLS Web Client Authentication\n/,
    'OCSP No Check:',
    'DNS:www.example.org, DNS:*.example.org, IP Address:192.0.2.1, IP Address:2001:DB8:0:0:0:0:0:1, ' +
      'email:ada@example.org, URI:https://example.org/a, DirName:/O=c/CN=b',
    /Name Constraints: critical\s+Permitted:\s+DNS:example.org\s+IP:10.0.0.0\/255.0.0.0\s+IP:2001:DB8/,
    /Excluded:\s+email:.example.net\s+URI:bad.example.org\s+DNS:\n/,
    /Full Name:\s+URI:http:\/\/pki.example.org\/a.crl/,
    'OCSP - URI:http://ocsp.example.org',
    'CA Issuers - URI:http://pki.example.org/a.crt',
  ]) {
    assert.ok(
      typeof expected === 'string' ? text.includes(expected) : expected.test(text),
      `${expected}\n${text}`,
    );
  }
  const parsed = tryRun(openssl, ['asn1parse', '-inform', 'DER'], der);
  assert.equal(parsed.status, 0);
});

test('usages of every combination are encoded as openssl encodes them', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const usages = ['digitalSignature', 'keyAgreement', 'encipherOnly', 'decipherOnly'] as const;
  for (let count = 1; count <= usages.length; count++) {
    const keyUsage = usages.slice(0, count);
    const extensions = { keyUsage, extendedKeyUsage: { usages: [], critical: false } };
    const der = testCertificate(key, { extensions });
    const read = parseCertificate(der);
    assert.deepEqual(read.extensions, { keyUsage });
    const text = run(
      openssl,
      ['x509', '-inform', 'DER', '-noout', '-ext', 'keyUsage'],
      der,
    ).toString();
    assert.equal(text.split(',').length, count);
  }
});

test('times on both sides of 2050, and the one without end, come back', () => {
  for (const notAfter of [
    Date.UTC(2049, 11, 31, 23, 59, 59),
    Date.UTC(2050, 0, 1),
    Date.UTC(9999, 11, 31, 23, 59, 59),
  ]) {
    const der = testCertificate(key, { notAfter });
    assert.equal(parseCertificate(der).notAfter, notAfter);
    assert.equal(new X509Certificate(der).validToDate.getTime(), notAfter);
  }
});

test('fields that no certificate may have are not written', () => {
  const changes: readonly Partial<CertificateFields>[] = [
    { serial: Buffer.alloc(0) },
    { serial: Buffer.of(0) },
    { serial: Buffer.of(0, 1) },
    { serial: Buffer.alloc(21, 1) },
    { serial: Buffer.alloc(20, 0x80) },
    { notBefore: Date.UTC(1949, 0, 1) },
    { notAfter: Date.UTC(10_000, 0, 1) },
    { notAfter: Date.UTC(2030, 0, 1) + 1 },
    { notAfter: Date.UTC(2020, 0, 1) },
  ];
  for (const change of changes) {
    assert.throws(() => encodeTbsCertificate(testFields(key.spki, change)), { code: 'internal' });
  }
  assert.ok(encodeTbsCertificate(testFields(key.spki, { serial: Buffer.alloc(20, 0x7f) })));
});

test('names are critical where the subject is empty', () => {
  const extensions = { subjectAltNames: everyExtension(key.spki).subjectAltNames! };
  const flags = [testName, Buffer.from('3000', 'hex')].map((subject) => {
    const read = parseCertificate(testCertificate(key, { subject, extensions }));
    return read.rawExtensions.map(({ critical }) => critical);
  });
  assert.deepEqual(flags, [[false], [true]]);
});

test('a certificate without extensions is one', () => {
  const read = parseCertificate(testCertificate(key, { extensions: {} }));
  assert.deepEqual([read.rawExtensions, read.extensions], [[], {}]);
});

test('an old root is read: version 1, serial number 0', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const made = ['req', '-x509', '-new', '-key', keyFile(t, key), '-config', '/dev/null'];
  const options = ['-subj', '/CN=old', '-set_serial', '0', '-outform', 'DER'];
  const read = parseCertificate(run(openssl, [...made, ...options]));
  assert.equal(read.serial.toString('hex'), '00');
  assert.deepEqual([read.rawExtensions, read.subjectName[0]?.[0]?.value], [[], 'old']);
});

test('an algorithm that is named differently inside and outside is refused', () => {
  const tbs = encodeTbsCertificate(testFields(key.spki));
  const other = assembleSigned(tbs, 'ecdsa-sha384', Buffer.alloc(8));
  assert.throws(() => parseCertificate(other), malformed('algorithm-mismatch'));
});

const rsa = testKeyOf(generateKeyPairSync('rsa', { modulusLength: 2048 }));

const algorithms: readonly (readonly [SchemeName, () => ReturnType<typeof testKey>])[] = [
  ...(['rsa-pkcs1-sha256', 'rsa-pkcs1-sha384', 'rsa-pkcs1-sha512'] as const).map(
    (scheme) => [scheme, () => rsa] as const,
  ),
  ...(['rsa-pss-sha256', 'rsa-pss-sha384', 'rsa-pss-sha512'] as const).map(
    (scheme) => [scheme, () => rsa] as const,
  ),
  ['ecdsa-sha256', testKey],
  ['ecdsa-sha384', () => testKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-384' }))],
  ['ecdsa-sha512', () => testKeyOf(generateKeyPairSync('ec', { namedCurve: 'P-521' }))],
  ['ed25519', () => testKeyOf(generateKeyPairSync('ed25519'))],
  ['ml-dsa-44', () => testKeyOf(generateKeyPairSync('ml-dsa-44'))],
  ['ml-dsa-65', () => testKeyOf(generateKeyPairSync('ml-dsa-65'))],
  ['ml-dsa-87', () => testKeyOf(generateKeyPairSync('ml-dsa-87'))],
  ['slh-dsa-sha2-128f', () => testKeyOf(generateKeyPairSync('slh-dsa-sha2-128f'))],
  ['slh-dsa-shake-128f', () => testKeyOf(generateKeyPairSync('slh-dsa-shake-128f'))],
];

test('OpenSSL verifies by the algorithm that the certificate names, for every scheme', async () => {
  for (const [scheme, make] of algorithms) {
    const signer = make();
    const fields = testFields(signer.spki, { scheme });
    const der = signTbs(encodeTbsCertificate(fields), signer, scheme);
    const read = parseCertificate(der);
    assert.equal(read.scheme, scheme);
    const theirs = new X509Certificate(certificatePem(der));
    assert.ok(theirs.verify(theirs.publicKey), scheme);
    assert.ok(await verifySigned(read, signer.spki), scheme);
    assert.equal(await verifySigned({ ...read, tbs: Buffer.from('other') }, signer.spki), false);
    assert.equal(await verifySigned(read, key.spki), false);
    assert.equal(await verifySigned({ ...read, scheme: undefined }, signer.spki), false);
  }
});
