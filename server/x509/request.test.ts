import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireProgram, run } from '../../test/tools.ts';
import { encodeDer, encodeObjectIdentifier } from '../der/der.ts';
import { everyExtension, keyFile, signTbs, testKey, testName, testRequest } from './testing.ts';
import { encodeRequest, parseRequest, requestFromText, verifySigned } from './x509.ts';

const key = testKey();
const malformed = (reason: string) => ({ code: 'request-malformed', data: { reason } });

test('a request is read as it was written, and openssl takes its signature', async (t) => {
  const der = testRequest(key);
  const read = parseRequest(der);
  assert.ok(read.subject.equals(testName));
  assert.ok(read.spki.equals(key.spki));
  assert.equal(read.scheme, 'ecdsa-sha256');
  const { basicConstraints, subjectAltNames } = everyExtension(key.spki);
  assert.deepEqual(read.extensions, { basicConstraints, subjectAltNames });
  assert.ok(await verifySigned(read, read.spki));
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const text = run(
    openssl,
    ['req', '-inform', 'DER', '-noout', '-text', '-verify'],
    der,
  ).toString();
  assert.match(
    text,
    /Requested Extensions:\s+X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:3/,
  );
  assert.match(text, /DNS:www.example.org, DNS:\*.example.org/);
});

test('requests that openssl makes are read', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const file = keyFile(t, key);
  const make = (...more: string[]) => {
    const options = ['req', '-new', '-key', file, '-config', '/dev/null'];
    return run(openssl, [...options, ...more]).toString();
  };
  const plain = requestFromText(make('-subj', '/C=DE/O=Example/CN=a'));
  assert.deepEqual(plain.rawExtensions, []);
  const full = requestFromText(
    make(
      ...['-subj', '/CN=a+OU=b', '-newhdr', '-addext', 'subjectAltName=DNS:a.example,IP:::1'],
      ...['-addext', 'keyUsage=critical,digitalSignature', '-addext', '1.2.3.4=critical,DER:0500'],
    ),
  );
  assert.equal(full.subjectName[0]?.length, 2);
  assert.deepEqual(full.extensions, {
    subjectAltNames: [
      { kind: 'dns', value: 'a.example' },
      { kind: 'ip', value: '::1' },
    ],
    keyUsage: ['digitalSignature'],
  });
  assert.deepEqual(full.rawExtensions.at(-1), {
    oid: '1.2.3.4',
    critical: true,
    value: Buffer.from('0500', 'hex'),
  });
  for (const request of [plain, full]) assert.ok(await verifySigned(request, request.spki));
});

/** A request with these attributes, each DER of its own. */
function withAttributes(...attributes: readonly Buffer[]): Buffer {
  const tbs = encodeDer(
    0x30,
    Buffer.from('020100', 'hex'),
    ...[testName, key.spki, encodeDer(0xa0, ...attributes)],
  );
  return signTbs(tbs, key);
}

function attribute(type: string, ...values: readonly Buffer[]): Buffer {
  return encodeDer(0x30, encodeDer(0x06, encodeObjectIdentifier(type)), encodeDer(0x31, ...values));
}

test('attributes other than extensions are passed over, and extensions are asked for once', () => {
  const password = attribute('1.2.840.113549.1.9.7', encodeDer(0x0c, Buffer.from('secret')));
  const empty = encodeDer(0x30);
  const one = Buffer.from('300e300c0603551d13040530030101ff', 'hex');
  const extensions = attribute('1.2.840.113549.1.9.14', one);
  assert.deepEqual(parseRequest(withAttributes(password)).extensions, {});
  const both = [password, extensions].sort(Buffer.compare);
  assert.deepEqual(parseRequest(withAttributes(...both)).extensions, {
    basicConstraints: { isAuthority: true },
  });
  assert.throws(() => parseRequest(withAttributes(...both.reverse())), malformed('set-order'));
  const microsoft = attribute('1.3.6.1.4.1.311.2.1.14', one);
  const refusals: Record<string, [Buffer, string]> = {
    'the attribute twice': [withAttributes(extensions, extensions), 'duplicate'],
    'both spellings of it': [
      withAttributes(...[extensions, microsoft].sort(Buffer.compare)),
      'duplicate',
    ],
    'two values': [withAttributes(attribute('1.2.840.113549.1.9.14', one, one)), 'structure'],
    'no value': [withAttributes(attribute('1.2.840.113549.1.9.14')), 'structure'],
    'no extension': [withAttributes(attribute('1.2.840.113549.1.9.14', empty)), 'structure'],
  };
  for (const [what, [der, reason]] of Object.entries(refusals)) {
    assert.throws(() => parseRequest(der), malformed(reason), what);
  }
});

test('a request of another version, or larger than the limit, is refused', () => {
  const tbs = encodeRequest(testName, {}, key.spki);
  const other = Buffer.from(tbs);
  other[other.indexOf(Buffer.from('020100', 'hex')) + 2] = 1;
  assert.throws(() => parseRequest(signTbs(other, key)), malformed('value'));
  assert.throws(() => parseRequest(Buffer.alloc(128 * 1024 + 1)), malformed('too-large'));
});
