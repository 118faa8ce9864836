import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { keyUsages } from '../../api/profiles.ts';
import { opensslReads } from '../../test/openssl-structures.ts';
import { pick, type Random, seededRandom } from '../../test/seeded-random.ts';
import { requirePythonCryptography } from '../../test/tools.ts';
import { testKey } from './testing.ts';
import {
  assembleSigned,
  type CertificateFields,
  type Extensions,
  encodeName,
  encodeTbsCertificate,
  type GeneralName,
  parseCertificate,
  parseConstraint,
  parseGeneralName,
  parseName,
} from './x509.ts';

const { spki } = testKey();
const rounds = 1500;

const subjects = [
  'CN=a',
  'CN=\\C3\\A9 \\, x,O=Example',
  'CN=a+OU=b+L=c,C=DE',
  'DC=a,DC=b',
  '',
  '1.2.3=x',
];
const names = [
  ...['dns:a.example', 'dns:*.b.example', 'ip:192.0.2.1', 'ip:2001:db8::7', 'email:a@b.example'],
  ...['uri:https://a.example/?b', 'dn:CN=x,C=DE'],
];
const constraints = [
  'dns:.a.example',
  'ip:10.0.0.0/9',
  'ip:2001:db8::/47',
  'email:b.example',
  'dn:C=DE',
];

function some<Item>(random: Random, items: readonly Item[]): Item[] {
  return items.filter(() => random(3) === 0);
}

function unlessEmpty<Name extends string, Item>(name: Name, items: readonly Item[]) {
  return items.length === 0 ? {} : { [name]: items };
}

function randomExtensions(random: Random): Extensions {
  const bytes = () => Buffer.from(Array.from({ length: 1 + random(40) }, () => random(256)));
  const parsed: GeneralName[] = some(random, names).map(parseGeneralName);
  const permitted = some(random, constraints).map(parseConstraint);
  const uris = some(random, ['http://a.example/c', 'ldap://b.example/x?y']);
  const usages = some(random, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.9', '2.999.1.300000']);
  return {
    ...unlessEmpty('subjectAltNames', parsed),
    ...unlessEmpty('keyUsage', some(random, keyUsages)),
    ...unlessEmpty('crlDistributionPoints', uris),
    ...unlessEmpty('certificatePolicies', some(random, ['2.5.29.32.0', '1.2.3'])),
    ...(permitted.length > 0 && { nameConstraints: { permitted, excluded: [] } }),
    ...(usages.length > 0 && { extendedKeyUsage: { usages, critical: random(2) === 0 } }),
    ...(random(2) === 0 && { subjectKeyId: bytes(), authorityKeyId: bytes() }),
    ...(random(3) === 0 && { basicConstraints: { isAuthority: true, pathLength: random(300) } }),
    ...(random(3) === 0 && { basicConstraints: { isAuthority: false } }),
    ...(random(3) === 0 && { authorityInfoAccess: { ocsp: [], caIssuers: ['http://c.example'] } }),
    ...(random(4) === 0 && { ocspNoCheck: true }),
  };
}

function randomFields(random: Random): CertificateFields {
  const notBefore = Date.UTC(1950 + random(150), random(12), 1 + random(28), random(24));
  const serial = Buffer.from(Array.from({ length: 1 + random(19) }, () => random(256)));
  if (serial[0] === 0) serial[0] = 1;
  return {
    ...{ serial, notBefore, spki, scheme: 'ecdsa-sha256' as const },
    issuer: encodeName(parseName(pick(random, subjects))),
    subject: encodeName(parseName(pick(random, subjects))),
    notAfter: notBefore + random(100_000) * 86_400_000,
    extensions: randomExtensions(random),
  };
}

test('certificates of every content come back, and OpenSSL reads the same in them', (t) => {
  const random = seededRandom(31);
  const made: Buffer[] = [];
  for (let round = 0; round < rounds; round++) {
    const fields = randomFields(random);
    const der = assembleSigned(encodeTbsCertificate(fields), fields.scheme, Buffer.alloc(8));
    const { issuerName, subjectName, rawExtensions, signature, tbs, ...read } =
      parseCertificate(der);
    assert.deepEqual(read, { ...fields, der });
    const theirs = new X509Certificate(der);
    assert.equal(theirs.serialNumber, fields.serial.toString('hex').toUpperCase());
    assert.equal(theirs.validFromDate.getTime(), fields.notBefore);
    assert.equal(theirs.validToDate.getTime(), fields.notAfter);
    assert.deepEqual(theirs.keyUsage, fields.extensions.extendedKeyUsage?.usages);
    const count = fields.extensions.subjectAltNames?.length ?? 0;
    const listed = theirs.subjectAltName?.match(/(?:DNS|IP Address|email|URI|DirName):/g) ?? [];
    assert.equal(listed.length, count);
    made.push(der);
  }
  const python = requirePythonCryptography(t);
  if (python === undefined) return;
  assert.ok(opensslReads(python, 'X509', made).every(Boolean));
});
