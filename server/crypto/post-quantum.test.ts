import assert from 'node:assert/strict';
import { createHash, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import type { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import type { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { AlgorithmName, SchemeName } from '../../api/algorithms.ts';
import {
  type NobleSigner,
  nobleHashBased,
  nobleKems,
  nobleLattices,
  rawPublic,
} from '../../test/post-quantum.ts';
import { refusalsFor } from '../../test/refusals.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { encodeDer } from '../der/der.ts';
import {
  decapsulate,
  encapsulate,
  generateKeyMaterial,
  importPrivate,
  type LocalKeyMaterial,
  sign,
  verify,
} from './crypto.ts';

const data = Buffer.from('What a quantum computer should not be able to sign.');

/** What noble wants of a hash function for the pre-hashed variants. */
const sha512 = Object.assign(
  (message: Uint8Array) => createHash('sha512').update(message).digest(),
  {
    outputLen: 64,
    blockLen: 128,
    canXOF: false,
    oid: Buffer.from('0609608648016503040203', 'hex'),
    create: () => {
      throw new Error('hashes in one piece only');
    },
  },
);

for (const [name, noble] of Object.entries(nobleLattices) as [
  keyof typeof nobleLattices,
  typeof ml_dsa65,
][]) {
  test(`${name}: noble verifies ours, we verify noble's, and nothing else passes`, async () => {
    const material = await generateKeyMaterial(name);
    const { secretKey, publicKey } = noble.keygen(rawSeed(material.privateKey));
    assert.deepEqual(Buffer.from(publicKey), rawPublic(material.publicKey!));
    await crossCheck(name, noble, material, secretKey);
    const hashed = noble.prehash(sha512 as never).sign(data, secretKey);
    assert.equal(await verify(name, material.publicKey!, data, Buffer.from(hashed)), false);
    await refuseAll(name, material);
  });
}

for (const [name, noble] of Object.entries(nobleHashBased) as [
  keyof typeof nobleHashBased,
  NobleSigner,
][]) {
  test(`${name}: noble verifies ours, and nothing else passes`, async () => {
    const material = await generateKeyMaterial(name);
    const secretKey = material.privateKey.export({ format: 'raw-private' });
    // Signing takes noble seconds with all but the smallest fast variants.
    if (name.endsWith('128f')) await crossCheck(name, noble, material, secretKey);
    await refuseAll(name, material, (signature) =>
      assert.equal(noble.verify(signature, data, rawPublic(material.publicKey!)), true),
    );
  });
}

for (const [name, noble] of Object.entries(nobleKems) as [
  keyof typeof nobleKems,
  typeof ml_kem768,
][]) {
  test(`${name}: the secrets are those that noble finds, both ways`, async () => {
    const material = await generateKeyMaterial(name);
    const { secretKey, publicKey } = noble.keygen(rawSeed(material.privateKey));
    assert.deepEqual(Buffer.from(publicKey), rawPublic(material.publicKey!));
    const ours = await encapsulate(material.publicKey!);
    assert.deepEqual(
      Buffer.from(noble.decapsulate(ours.ciphertext, secretKey)),
      ours.sharedSecret.reveal(),
    );
    const theirs = noble.encapsulate(publicKey);
    const opened = await decapsulate(material.privateKey, theirs.cipherText);
    assert.deepEqual(opened.reveal(), Buffer.from(theirs.sharedSecret));
    // FIPS 203, 6.3: implicit rejection, the same in both implementations.
    const altered = Buffer.from(ours.ciphertext);
    altered[0]! ^= 1;
    const rejected = await decapsulate(material.privateKey, altered);
    assert.equal(rejected.equals(ours.sharedSecret), false);
    assert.deepEqual(rejected.reveal(), Buffer.from(noble.decapsulate(altered, secretKey)));
  });
}

test('a seed that noble made a key of is imported as the same key', async () => {
  for (const [name, noble] of Object.entries({ ...nobleLattices, ...nobleKems })) {
    const seed = Buffer.alloc(name.startsWith('ml-kem') ? 64 : 32, 5);
    const material = await generateKeyMaterial(name as AlgorithmName);
    const pkcs8 = material.privateKey.export({ format: 'der', type: 'pkcs8' });
    seed.copy(pkcs8, pkcs8.length - seed.length);
    const imported = await importPrivate(name as AlgorithmName, new SecretBytes(pkcs8));
    assert.deepEqual(rawPublic(imported.publicKey!), Buffer.from(noble.keygen(seed).publicKey));
  }
});

test('post-quantum keys in their expanded form are taken if their halves work together', async () => {
  for (const [name, noble] of Object.entries({ ...nobleLattices, ...nobleKems })) {
    const algorithm = name as AlgorithmName;
    const { secretKey, publicKey } = noble.keygen();
    const imported = await importPrivate(algorithm, await expanded(algorithm, secretKey));
    assert.deepEqual(rawPublic(imported.publicKey!), Buffer.from(publicKey));
    const damaged = Buffer.from(secretKey);
    // Inside the secret vectors, which nothing else in the key repeats.
    damaged[200]! ^= 1;
    await assert.rejects(importPrivate(algorithm, await expanded(algorithm, damaged)), (error) =>
      isKeyreeveError(error, 'invalid-key-material'),
    );
  }
});

async function crossCheck(
  name: SchemeName & AlgorithmName,
  noble: NobleSigner,
  material: LocalKeyMaterial,
  secretKey: Uint8Array,
): Promise<void> {
  const ours = await sign(name, material.privateKey, data);
  assert.equal(noble.verify(ours, data, rawPublic(material.publicKey!)), true);
  const theirs = Buffer.from(noble.sign(data, secretKey));
  assert.equal(await verify(name, material.publicKey!, data, theirs), true);
  const context = Buffer.from('other');
  const elsewhere = Buffer.from(noble.sign(data, secretKey, { context }));
  assert.equal(await verify(name, material.publicKey!, data, elsewhere), false);
}

async function refuseAll(
  scheme: SchemeName,
  { privateKey, publicKey }: LocalKeyMaterial,
  look: (signature: Buffer) => void = () => {},
): Promise<void> {
  const valid = await sign(scheme, privateKey, data);
  look(valid);
  assert.equal(await verify(scheme, publicKey!, data, valid), true);
  assert.equal(await verify(scheme, publicKey!, Buffer.from('other'), valid), false);
  for (const refusal of refusalsFor(scheme)) {
    const changed = refusal.mutate(Buffer.from(valid), { scheme, data, privateKey, publicKey });
    assert.equal(await verify(scheme, publicKey!, data, changed), false, refusal.name);
  }
}

/** PKCS#8 with the expanded key alone (RFC 9881, 6 and RFC 9935, 6: expandedKey). */
async function expanded(algorithm: AlgorithmName, secretKey: Uint8Array): Promise<SecretBytes> {
  const { privateKey } = await generateKeyMaterial(algorithm);
  const seeded = privateKey.export({ format: 'der', type: 'pkcs8' });
  // SEQUENCE header, version, algorithm identifier: the same for every form of the key.
  const head = seeded.subarray(2, 18);
  const octets = encodeDer(0x04, encodeDer(0x04, secretKey));
  return new SecretBytes(encodeDer(0x30, head, octets));
}

function rawSeed(key: KeyObject): Buffer {
  return key.export({ format: 'raw-seed' });
}
