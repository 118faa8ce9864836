import assert from 'node:assert/strict';
import {
  constants,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { test } from 'node:test';
import { unpadOaep } from './oaep-unpadding.ts';

const hashes = { sha256: 32, sha384: 48, sha512: 64 } as const;
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const modulusBytes = 256;

/** What a token gives that decrypts raw: the padded block. */
function blockOf(plaintext: Buffer, oaepHash: keyof typeof hashes): Buffer {
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const ciphertext = publicEncrypt({ key: publicKey, padding, oaepHash }, plaintext);
  return privateDecrypt({ key: privateKey, padding: constants.RSA_NO_PADDING }, ciphertext);
}

/** As OpenSSL sees the same block. */
function openedByOpenssl(block: Buffer, oaepHash: keyof typeof hashes): Buffer | undefined {
  const ciphertext = publicEncrypt({ key: publicKey, padding: constants.RSA_NO_PADDING }, block);
  try {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    return privateDecrypt({ key: privateKey, padding, oaepHash }, ciphertext);
  } catch {
    return undefined;
  }
}

for (const [hash, hashBytes] of Object.entries(hashes) as [
  'sha256' | 'sha384' | 'sha512',
  number,
][]) {
  test(`padding that OpenSSL put on with ${hash} comes off, at every length`, () => {
    const longest = modulusBytes - 2 * hashBytes - 2;
    for (const length of [0, 1, 2, 31, 32, longest - 1, longest]) {
      const plaintext = randomBytes(length);
      const block = blockOf(plaintext, hash);
      assert.deepEqual(unpadOaep(block, hash, hashBytes), plaintext);
      assert.equal(
        block.every((byte) => byte === 0),
        true,
        'the block is wiped',
      );
    }
  });

  test(`a byte that was changed is refused as OpenSSL refuses it, with ${hash}`, () => {
    const good = blockOf(Buffer.from('plaintext'), hash);
    for (let index = 0; index < modulusBytes; index += 7) {
      const changed = Buffer.from(good);
      changed[index]! ^= 1 + (index % 255);
      // The first byte of a block that OpenSSL can be given at all is small.
      const expected = index === 0 ? undefined : openedByOpenssl(changed, hash);
      assert.deepEqual(unpadOaep(changed, hash, hashBytes), expected, `byte ${index}`);
    }
  });
}

test('zeros that begin the message stay, and zeros before the one go', () => {
  const plaintext = Buffer.from('00000100', 'hex');
  assert.deepEqual(unpadOaep(blockOf(plaintext, 'sha256'), 'sha256', 32), plaintext);
});

test('random blocks and those too short for the hash are refused', () => {
  for (let round = 0; round < 50; round++) {
    assert.equal(unpadOaep(randomBytes(modulusBytes), 'sha256', 32), undefined);
  }
  assert.equal(unpadOaep(Buffer.alloc(64), 'sha256', 32), undefined);
  assert.equal(unpadOaep(Buffer.alloc(0), 'sha256', 32), undefined);
});

test('a block without the one that ends the zeros is refused', () => {
  // A valid block whose separator is gone: masked anew by its own seed.
  const good = blockOf(Buffer.alloc(0), 'sha256');
  const last = Buffer.from(good);
  last[modulusBytes - 1]! ^= 1;
  const expected = openedByOpenssl(last, 'sha256');
  assert.equal(expected, undefined);
  assert.equal(unpadOaep(last, 'sha256', 32), undefined);
});
