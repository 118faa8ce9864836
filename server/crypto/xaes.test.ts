import assert from 'node:assert/strict';
import { createHash, createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { schemes } from '../../api/algorithms.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { decrypt } from './crypto.ts';
import { sealWithNonce } from './encryption.ts';
import { deriveXaes } from './xaes.ts';

interface Vectors {
  readonly messages: readonly Record<string, string>[];
  readonly accumulated: Record<string, string>;
}

const path = new URL('../../test/vectors/xaes-256-gcm.json', import.meta.url);
const vectors = JSON.parse(readFileSync(path, 'utf8')) as Vectors;
const row = schemes['xaes-256-gcm'];

test('XAES-256-GCM derives, encrypts and decrypts as C2SP published it', async () => {
  for (const vector of vectors.messages) {
    const key = createSecretKey(Buffer.from(vector.key!, 'hex'));
    const [nonce, plaintext, aad] = [vector.nonce!, vector.plaintext!, vector.aad!].map((text) =>
      Buffer.from(text, 'latin1'),
    ) as [Buffer, Buffer, Buffer];
    const derived = deriveXaes(key, nonce);
    assert.equal(derived.key.toString('hex'), vector.derivedKey);
    assert.equal(Buffer.from(derived.nonce).toString('hex'), vector.derivedNonce);
    const sealed = sealWithNonce(row, key, nonce, plaintext, aad);
    assert.equal(sealed.toString('hex'), nonce.toString('hex') + vector.ciphertext);
    assert.deepEqual(await decrypt('xaes-256-gcm', key, sealed, aad), plaintext);
    await assert.rejects(decrypt('xaes-256-gcm', key, sealed, Buffer.from('other')), (error) =>
      isKeyreeveError(error, 'invalid-ciphertext'),
    );
  }
});

test("XAES-256-GCM agrees with C2SP's accumulated test of 10,000 random messages", async () => {
  const iterations = 10_000;
  // 32 + 24 bytes, and twice a length byte with at most 255 bytes behind it.
  const stream = createHash('shake128', { outputLength: iterations * (56 + 2 * 256) }).digest();
  assert.equal(stream.toString('hex', 0, 16), '7f9c2ba4e88f827d616045507605853e');
  const accumulated = createHash('shake128', { outputLength: 32 });
  let offset = 0;
  const take = (length: number): Buffer => {
    offset += length;
    return stream.subarray(offset - length, offset);
  };
  for (let index = 0; index < iterations; index++) {
    const key = createSecretKey(take(32));
    const nonce = take(24);
    const plaintext = take(take(1)[0]!);
    const aad = take(take(1)[0]!);
    const sealed = sealWithNonce(row, key, nonce, plaintext, aad);
    accumulated.update(sealed.subarray(24));
    if (index % 100 === 0) {
      assert.deepEqual(await decrypt('xaes-256-gcm', key, sealed, aad), Buffer.from(plaintext));
    }
  }
  assert.equal(accumulated.digest('hex'), vectors.accumulated[iterations]);
});
