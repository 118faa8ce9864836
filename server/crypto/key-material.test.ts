import assert from 'node:assert/strict';
import { createHash, createHmac, createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { algorithmNames, algorithms } from '../../api/algorithms.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  algorithmOfKey,
  generateKeyMaterial,
  parsePrivate,
  parsePublic,
  serializePrivate,
} from './crypto.ts';

test('every algorithm makes keys that are stored and read again', async () => {
  for (const algorithm of algorithmNames) {
    if (algorithm === 'rsa-3072') continue;
    const material = await generateKeyMaterial(algorithm);
    assert.equal(material.algorithm, algorithm);
    const read = parsePrivate(algorithm, serializePrivate(material));
    assert.equal(read.privateKey.equals(material.privateKey), true);
    assert.equal(read.fingerprint, material.fingerprint);
    assert.deepEqual(read.spki, material.spki);
    if (algorithms[algorithm].kind === 'symmetric') {
      assert.equal(material.publicKey, undefined);
      continue;
    }
    assert.equal(algorithmOfKey(material.privateKey), algorithm);
    const fingerprint = createHash('sha256').update(material.spki!).digest('hex');
    assert.equal(material.fingerprint, fingerprint);
    assert.equal(parsePublic(algorithm, material.spki!).equals(material.publicKey!), true);
    assert.equal(createPublicKey(material.privateKey).equals(material.publicKey!), true);
  }
});

test('the fingerprint of a secret key is its key check value', async () => {
  const material = await generateKeyMaterial('aes-256');
  const check = createHmac('sha256', material.privateKey.export())
    .update('keyreeve key check value')
    .digest('hex');
  assert.equal(material.fingerprint, check.slice(0, 32));
});

test('stored keys that are damaged or of another algorithm are reported as such', async () => {
  const p256 = await generateKeyMaterial('p-256');
  const aes = await generateKeyMaterial('aes-256');
  const damaged = (act: () => unknown) =>
    assert.throws(act, (error) => isKeyreeveError(error, 'integrity-failed'));
  damaged(() => parsePrivate('p-384', serializePrivate(p256)));
  damaged(() => parsePrivate('aes-256', serializePrivate(p256)));
  damaged(() => parsePrivate('p-256', serializePrivate(aes)));
  damaged(() => parsePrivate('hmac-sha512', serializePrivate(aes)));
  damaged(() => parsePrivate('p-256', new SecretBytes(Buffer.alloc(0))));
  damaged(() => parsePublic('p-384', p256.spki!));
  damaged(() => parsePublic('p-256', p256.spki!.subarray(1)));
});
