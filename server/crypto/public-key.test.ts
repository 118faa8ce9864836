import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { AlgorithmName } from '../../api/algorithms.ts';
import { badPublicKeys } from '../../test/refusals/public-keys.ts';
import { requireProgram, run } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { encodeDer, encodeDerUnsigned } from '../der/der.ts';
import { agree, checkPublic, generateKeyMaterial, verify } from './crypto.ts';

const checked: readonly AlgorithmName[] = [
  ...(['rsa-2048', 'p-256', 'p-384', 'p-521', 'secp256k1', 'ed25519', 'x25519'] as const),
  ...(['ml-dsa-65', 'slh-dsa-sha2-128f', 'ml-kem-768'] as const),
];

for (const algorithm of checked) {
  test(`a public key of ${algorithm} is taken in one form only`, async () => {
    const { spki, publicKey } = await generateKeyMaterial(algorithm);
    assert.equal(checkPublic(algorithm, spki!).equals(publicKey!), true);
    for (const { name, spki: bad } of badPublicKeys(algorithm, spki!))
      refused(algorithm, bad, name);
    for (const other of checked) if (other !== algorithm) refused(other, spki!, other);
  });
}

test('RSA keys of other sizes, kinds and exponents are refused', () => {
  const spkiOf = (type: 'rsa' | 'rsa-pss', options: object) =>
    generateKeyPairSync(type as 'rsa', { modulusLength: 2048, ...options }).publicKey.export({
      format: 'der',
      type: 'spki',
    });
  refused('rsa-2048', spkiOf('rsa', { modulusLength: 2056 }), '2056 bits');
  refused('rsa-2048', spkiOf('rsa', { modulusLength: 512 }), '512 bits');
  refused('rsa-2048', spkiOf('rsa', { publicExponent: 3 }), 'exponent 3');
  refused('rsa-2048', spkiOf('rsa', { publicExponent: 257 }), 'exponent 257');
  refused('rsa-2048', spkiOf('rsa-pss', {}), 'an RSASSA-PSS key');
  const taken = spkiOf('rsa', { publicExponent: 65_539 });
  assert.equal(checkPublic('rsa-2048', taken).asymmetricKeyType, 'rsa');
});

test('RSA numbers that no key pair has are refused', () => {
  const modulus = 2n ** 2047n + 12345n;
  assert.equal(checkPublic('rsa-2048', rsaSpki(modulus, 65_537n)).type, 'public');
  refused('rsa-2048', rsaSpki(modulus, 65_538n), 'an even exponent');
  refused('rsa-2048', rsaSpki(modulus, 1n), 'exponent 1');
  refused('rsa-2048', rsaSpki(modulus, 2n ** 64n + 1n), 'an exponent above 64 bits');
  refused('rsa-2048', rsaSpki(modulus + 1n, 65_537n), 'an even modulus');
  refused('rsa-2048', rsaSpki(2n ** 2046n + 1n, 65_537n), 'a modulus of 2047 bits');
});

test('a curve given by explicit parameters is refused', (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-explicit-'));
  try {
    const [key, spki] = [join(folder, 'key.pem'), join(folder, 'spki.der')];
    const explicit = ['-name', 'prime256v1', '-param_enc', 'explicit', '-noout', '-genkey'];
    run(openssl, ['ecparam', ...explicit, '-out', key]);
    run(openssl, ['ec', '-in', key, '-pubout', '-outform', 'DER', '-out', spki]);
    refused('p-256', readFileSync(spki), 'explicit parameters');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('Ed25519 keys of small order verify nothing, however they got in', async () => {
  const good = await generateKeyMaterial('ed25519');
  const forged = Buffer.concat([Buffer.of(1), Buffer.alloc(63)]);
  for (const { name, spki } of badPublicKeys('ed25519', good.spki!)) {
    if (!name.startsWith('order')) continue;
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    await assert.rejects(verify('ed25519', key, Buffer.from('any'), forged), (error) =>
      isKeyreeveError(error, 'invalid-key-material'),
    );
  }
});

test('no secret is agreed on with a spoiled public key', async () => {
  const parameters = { info: Buffer.alloc(0), length: 32 };
  for (const algorithm of ['x25519', 'p-256', 'p-384', 'p-521'] as const) {
    const { privateKey, spki } = await generateKeyMaterial(algorithm);
    for (const bad of badPublicKeys(algorithm, spki!)) {
      await assert.rejects(
        agree(privateKey, bad.spki, parameters),
        (error) => isKeyreeveError(error, 'invalid-key-material'),
        bad.name,
      );
    }
  }
});

function refused(algorithm: AlgorithmName, spki: Buffer, name: string): void {
  assert.throws(
    () => checkPublic(algorithm, spki),
    (error) => isKeyreeveError(error, 'invalid-key-material'),
    `${algorithm}: ${name}`,
  );
}

function rsaSpki(n: bigint, e: bigint): Buffer {
  const identifier = Buffer.from('300d06092a864886f70d0101010500', 'hex');
  const numbers = encodeDer(0x30, encodeDerUnsigned(n), encodeDerUnsigned(e));
  return encodeDer(0x30, identifier, encodeDer(0x03, Buffer.of(0), numbers));
}
