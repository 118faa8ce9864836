import assert from 'node:assert/strict';
import type { KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { type AlgorithmName, algorithms, type SchemeName, schemes } from '../../api/algorithms.ts';
import { oaepWith, pssWith } from '../../test/refusals/rsa.ts';
import { type Refusal, refusalsFor } from '../../test/refusals.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  decapsulate,
  decrypt,
  encapsulate,
  encrypt,
  generateKeyMaterial,
  type LocalKeyMaterial,
  mac,
  sign,
  unwrapKey,
  verify,
  verifyMac,
  wrapKey,
} from './crypto.ts';

const data = Buffer.from('Data that were signed, sealed or wrapped.');

const cases: readonly [AlgorithmName, readonly SchemeName[]][] = [
  ['rsa-2048', algorithms['rsa-2048'].purposes.sign.allowed],
  ['rsa-2048', algorithms['rsa-2048'].purposes.encrypt.allowed],
  ['rsa-2048', ['rsa-aes-kwp']],
  ['p-256', ['ecdsa-sha256']],
  ['p-384', ['ecdsa-sha384', 'ecdsa-sha256']],
  ['p-521', ['ecdsa-sha512', 'ecdsa-sha256']],
  ['secp256k1', ['ecdsa-sha256']],
  ['ed25519', ['ed25519']],
  ['aes-256', ['xaes-256-gcm', 'aes-256-gcm', 'aes-kwp']],
  ['hmac-sha256', ['hmac-sha256']],
  ['hmac-sha384', ['hmac-sha384']],
  ['hmac-sha512', ['hmac-sha512']],
  ['ml-kem-512', ['ml-kem-512']],
  ['ml-kem-768', ['ml-kem-768']],
  ['ml-kem-1024', ['ml-kem-1024']],
];

for (const [algorithm, names] of cases) {
  test(`${algorithm} refuses whatever its standards call invalid`, async (t) => {
    const material = await generateKeyMaterial(algorithm);
    for (const scheme of names) {
      await t.test(scheme, async () => {
        const valid = await make(scheme, material);
        assert.equal(await accepts(scheme, material, valid), true, 'the valid one');
        for (const refusal of refusalsFor(scheme)) {
          const changed = mutate(refusal, scheme, material, valid);
          assert.equal(await accepts(scheme, material, changed), false, refusal.name);
        }
      });
    }
  });
}

test('the generator of refusals makes valid values where it changes nothing', async () => {
  const material = await generateKeyMaterial('rsa-2048');
  const context = { data, privateKey: material.privateKey, publicKey: material.publicKey };
  for (const scheme of ['rsa-pss-sha256', 'rsa-pss-sha512'] as const) {
    const signature = pssWith(schemes[scheme], {})(Buffer.alloc(256), { ...context, scheme });
    assert.equal(await accepts(scheme, material, signature), true);
  }
  for (const scheme of ['rsa-oaep-sha256', 'rsa-oaep-sha384'] as const) {
    const sealed = oaepWith(schemes[scheme], {})(Buffer.alloc(256), { ...context, scheme });
    assert.equal(await accepts(scheme, material, sealed), true);
  }
});

function mutate(
  refusal: Refusal,
  scheme: SchemeName,
  { privateKey, publicKey }: LocalKeyMaterial,
  valid: Buffer,
): Buffer {
  const changed = refusal.mutate(Buffer.from(valid), { scheme, data, privateKey, publicKey });
  assert.equal(changed.equals(valid), false, `${refusal.name} changes something`);
  return changed;
}

async function make(scheme: SchemeName, material: LocalKeyMaterial): Promise<Buffer> {
  switch (schemes[scheme].act) {
    case 'sign':
      return sign(scheme, material.privateKey, data);
    case 'encrypt':
      return encrypt(scheme, material.publicKey ?? material.privateKey, data);
    case 'mac':
      return mac(scheme, material.privateKey, data);
    case 'wrap': {
      const target = new SecretBytes(Buffer.from(data));
      return wrapKey(scheme, material.publicKey ?? material.privateKey, target);
    }
    default:
      return (await encapsulate(material.publicKey!)).ciphertext;
  }
}

/** Whether the value is taken. Everything that is opened must be refused with the one error. */
async function accepts(
  scheme: SchemeName,
  material: LocalKeyMaterial,
  value: Buffer,
): Promise<boolean> {
  const { act } = schemes[scheme];
  const { privateKey, publicKey } = material;
  if (act === 'sign') return verify(scheme, publicKey as KeyObject, data, value);
  if (act === 'mac') return verifyMac(scheme, privateKey, data, value);
  try {
    if (act === 'encrypt') await decrypt(scheme, privateKey, value);
    else if (act === 'wrap') await unwrapKey(scheme, privateKey, value);
    else await decapsulate(privateKey, value);
    return true;
  } catch (error) {
    assert.ok(isKeyreeveError(error, 'invalid-ciphertext'), String(error));
    assert.equal(error.cause, undefined);
    assert.match(error.message, /^The ciphertext was not made with this key and these parameters/);
    return false;
  }
}
