import assert from 'node:assert/strict';
import { createHash, createPublicKey, ECDH, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { requireProgram, run } from '../../test/tools.ts';
import { encodeDer, encodeDerUnsigned } from '../der/der.ts';
import { testKey, testKeyOf } from './testing.ts';
import { keyIdentifier, spkiAlgorithm } from './x509.ts';

const refused = { code: 'public-key-refused' };
const { spki } = testKey();
const point = spki.subarray(-65);
const ecAlgorithm = spki.subarray(2, 23);

function info(algorithm: Buffer, key: Buffer): Buffer {
  return encodeDer(0x30, algorithm, encodeDer(0x03, Buffer.of(0), key));
}

function rsa(modulus: bigint, exponent: bigint): Buffer {
  const algorithm = Buffer.from('300d06092a864886f70d0101010500', 'hex');
  return info(algorithm, encodeDer(0x30, encodeDerUnsigned(modulus), encodeDerUnsigned(exponent)));
}

test('a key identifier is the front of the SHA-256 of the key alone (RFC 7093)', () => {
  const expected = createHash('sha256').update(point).digest().subarray(0, 20);
  assert.ok(keyIdentifier(spki).equals(expected));
});

test('keys that are well-formed and none of ours have no algorithm', () => {
  const others = [
    generateKeyPairSync('rsa', { modulusLength: 1024 }),
    generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }),
    generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
    generateKeyPairSync('ed448'),
  ];
  for (const pair of others) {
    const read = spkiAlgorithm(testKeyOf(pair).spki);
    assert.equal(read.algorithm, undefined);
    assert.ok(read.key.equals(pair.publicKey));
  }
});

test('keys that are spoiled are refused', (t) => {
  const flipped = Buffer.from(spki);
  flipped[flipped.length - 1]! ^= 1;
  const compressed = ECDH.convertKey(point, 'prime256v1', undefined, undefined, 'compressed');
  const hybrid = ECDH.convertKey(point, 'prime256v1', undefined, undefined, 'hybrid');
  const { n = '' } = createPublicKey(
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
  ).export({ format: 'jwk' });
  const modulus = BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`);
  const cases: Record<string, Buffer> = {
    'a point off the curve': flipped,
    'a compressed point': info(ecAlgorithm, compressed as Buffer),
    'a hybrid point': info(ecAlgorithm, hybrid as Buffer),
    'the point at infinity': info(ecAlgorithm, Buffer.of(0)),
    'a byte behind': Buffer.concat([spki, Buffer.of(0)]),
    'a byte missing': spki.subarray(0, -1),
    'unused bits': Buffer.concat([spki.subarray(0, 25), Buffer.of(1), spki.subarray(26)]),
    'a curve that is not named': info(encodeDer(0x30, ecAlgorithm.subarray(2, 11)), point),
    'NULL for a curve': info(encodeDer(0x30, ecAlgorithm.subarray(2, 11), Buffer.of(5, 0)), point),
    'Ed25519 with parameters': info(Buffer.from('300706032b65700500', 'hex'), Buffer.alloc(32, 2)),
    'Ed25519 of small order': info(Buffer.from('300506032b6570', 'hex'), Buffer.alloc(32)),
    'Ed25519 too short': info(Buffer.from('300506032b6570', 'hex'), Buffer.alloc(31, 2)),
    'RSA without NULL': Buffer.concat([
      encodeDer(
        0x30,
        Buffer.from('300b06092a864886f70d010101', 'hex'),
        rsa(modulus, 65_537n).subarray(19),
      ),
    ]),
    'RSA with exponent 3': rsa(modulus, 3n),
    'RSA with exponent 1': rsa(modulus, 1n),
    'RSA with exponent 0': rsa(modulus, 0n),
    'RSA with modulus 0': rsa(0n, 65_537n),
    'RSA with an even modulus': rsa(modulus - 1n, 65_537n),
    'no DER': Buffer.from('key'),
    nothing: Buffer.alloc(0),
    'an unknown algorithm': info(Buffer.from('300506032a0304', 'hex'), Buffer.alloc(32)),
    'too long': info(ecAlgorithm, Buffer.alloc(20_000, 4)),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    assert.throws(() => spkiAlgorithm(bytes), refused, what);
  }
  assert.equal(spkiAlgorithm(rsa(modulus, 65_537n)).algorithm, 'rsa-2048');
  for (const bytes of [cases['a byte behind']!, cases['no DER']!]) {
    assert.throws(() => keyIdentifier(bytes), refused);
  }
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const explicit = ['-name', 'prime256v1', '-genkey', '-noout', '-param_enc', 'explicit'];
  const key = run(openssl, ['ecparam', ...explicit]);
  const bytes = run(openssl, ['pkey', '-pubout', '-outform', 'DER'], key);
  assert.throws(() => spkiAlgorithm(bytes), refused, 'explicit parameters');
});
