import assert from 'node:assert/strict';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { malformationNames, malformations, mutations } from '../../test/malformed-der.ts';
import { opensslReads, type Structure } from '../../test/openssl-structures.ts';
import { seededRandom } from '../../test/seeded-random.ts';
import { requirePythonCryptography } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { DerReason } from '../der/der.ts';
import { testCertificate, testCrl, testKey, testKeyOf, testRequest } from './testing.ts';
import { parseCertificate, parseCrl, parseRequest } from './x509.ts';

const key = testKey();
const rsaKey = testKeyOf(generateKeyPairSync('rsa', { modulusLength: 2048 }));
const mutationsEach = 2000;

interface Kind {
  readonly structure: Structure;
  readonly code: string;
  readonly inputs: readonly Buffer[];
  readonly parse: (der: Buffer) => unknown;
}

const kinds: readonly Kind[] = [
  {
    structure: 'X509',
    code: 'certificate-malformed',
    inputs: [testCertificate(key), testCertificate(key, { spki: rsaKey.spki })],
    parse: parseCertificate,
  },
  {
    structure: 'X509_REQ',
    code: 'request-malformed',
    inputs: [testRequest(key), testRequest({ ...key, spki: rsaKey.spki })],
    parse: parseRequest,
  },
  { structure: 'X509_CRL', code: 'crl-malformed', inputs: [testCrl(key)], parse: parseCrl },
];

/**
 * Where we refuse what OpenSSL reads. It takes BER, does not order SETs, and looks at times, texts
 * and extensions only when somebody asks for them.
 */
const stricterThanOpenssl: readonly DerReason[] = [
  ...([
    'length-form',
    'length-not-minimal',
    'constructed',
    'boolean',
    'null',
    'set-order',
  ] as const),
  ...(['tag', 'integer', 'bit-string', 'object-identifier', 'time', 'text', 'too-deep'] as const),
  // In extensions, and in certificates where OpenSSL compares the algorithms on verifying.
  ...(['truncated', 'trailing', 'structure', 'value', 'duplicate', 'default-encoded'] as const),
  'algorithm-mismatch',
];

/** The reason for which bytes are refused, or undefined. Any other error than ours fails the test. */
function refusal({ parse, code }: Kind, bytes: Buffer): DerReason | undefined {
  try {
    parse(bytes);
    return undefined;
  } catch (error) {
    assert.ok(isKeyreeveError(error), `${String(error)}: ${bytes.toString('hex')}`);
    assert.equal(error.code, code);
    return error.data.reason as DerReason;
  }
}

test('what the spoiled inputs are made of is well-formed', () => {
  for (const kind of kinds) {
    for (const input of kind.inputs) assert.equal(refusal(kind, input), undefined);
  }
});

test('every kind of malformation is refused with a reason', () => {
  for (const kind of kinds) {
    for (const name of malformationNames) {
      for (const input of kind.inputs) {
        const spoiled = malformations[name](input);
        assert.notEqual(refusal(kind, spoiled), undefined, `${name} of ${kind.structure}`);
      }
    }
  }
});

test('what openssl refuses is refused, and what it takes only for named reasons', (t) => {
  const python = requirePythonCryptography(t);
  if (python === undefined) return;
  for (const [index, kind] of kinds.entries()) {
    const spoiled = [...mutations(kind.inputs, mutationsEach, 20 + index)];
    const theirs = opensslReads(
      python,
      kind.structure,
      spoiled.map(({ bytes }) => bytes),
    );
    let readByBoth = 0;
    spoiled.forEach(({ name, bytes }, place) => {
      const reason = refusal(kind, bytes);
      if (theirs[place] !== true) {
        assert.notEqual(reason, undefined, `${kind.structure}, ${name}: ${bytes.toString('hex')}`);
      } else if (reason === undefined) readByBoth++;
      else assert.ok(stricterThanOpenssl.includes(reason), `${reason}: ${bytes.toString('hex')}`);
    });
    assert.ok(readByBoth > mutationsEach / 10, 'some changes leave it well-formed');
  }
});

test('a changed certificate that both read says the same to both', () => {
  let same = 0;
  for (const { bytes } of mutations(kinds[0]!.inputs, mutationsEach, 77)) {
    if (refusal(kinds[0]!, bytes) !== undefined) continue;
    const ours = parseCertificate(bytes);
    const theirs = new X509Certificate(bytes);
    assert.equal(ours.serial.toString('hex').toUpperCase(), theirs.serialNumber.padStart(2, '0'));
    assert.equal(ours.notBefore, theirs.validFromDate.getTime());
    assert.equal(ours.notAfter, theirs.validToDate.getTime());
    assert.deepEqual(ours.extensions.extendedKeyUsage?.usages, theirs.keyUsage);
    same++;
  }
  assert.ok(same > mutationsEach / 10);
});

test('random bytes are refused and nothing else', () => {
  const random = seededRandom(9);
  for (const kind of kinds) {
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(Array.from({ length: random(40) }, () => random(256)));
      if (round % 2 === 0 && bytes.length > 1) bytes.set([0x30, bytes.length - 2]);
      assert.notEqual(refusal(kind, bytes), undefined);
    }
  }
});
