import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import { gcm } from '@noble/ciphers/aes.js';
import { requirePythonCryptography, runPython } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { decrypt, encrypt, generateKeyMaterial, mac, random, verifyMac } from './crypto.ts';

const data = Buffer.from('Sealed for the one who holds the key.');

const python = `
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import padding
h = {'sha256': hashes.SHA256(), 'sha384': hashes.SHA384(), 'sha512': hashes.SHA512()}
b = bytes.fromhex
`;

test('OAEP opens in Python, and what Python encrypts opens here', async (t) => {
  const program = requirePythonCryptography(t);
  if (program === undefined) return;
  const { privateKey, publicKey, spki } = await generateKeyMaterial('rsa-2048');
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    const ciphertext = await encrypt(`rsa-oaep-${hash}`, publicKey!, data);
    const script = `${python}
oaep = padding.OAEP(mgf=padding.MGF1(h[input['hash']]), algorithm=h[input['hash']], label=None)
private = serialization.load_der_private_key(b(input['key']), None)
public = serialization.load_der_public_key(b(input['spki']))
output = [private.decrypt(b(input['ciphertext']), oaep).hex(), public.encrypt(b('0102'), oaep).hex()]
`;
    const [opened, theirs] = runPython(program, script, {
      hash,
      key: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('hex'),
      spki: spki!.toString('hex'),
      ciphertext: ciphertext.toString('hex'),
    }) as [string, string];
    assert.equal(opened, data.toString('hex'));
    const back = await decrypt(`rsa-oaep-${hash}`, privateKey, Buffer.from(theirs, 'hex'));
    assert.equal(back.toString('hex'), '0102');
  }
});

test('OAEP encrypts up to the edge of its modulus, and not a byte more', async () => {
  const { privateKey, publicKey } = await generateKeyMaterial('rsa-2048');
  const longest = random(256 - 2 * 32 - 2);
  const ciphertext = await encrypt('rsa-oaep-sha256', publicKey!, longest);
  assert.deepEqual(await decrypt('rsa-oaep-sha256', privateKey, ciphertext), longest);
  const empty = await encrypt('rsa-oaep-sha256', publicKey!, Buffer.alloc(0));
  assert.equal((await decrypt('rsa-oaep-sha256', privateKey, empty)).length, 0);
  await refused(encrypt('rsa-oaep-sha256', publicKey!, random(191)), 'too-large');
  await refused(encrypt('rsa-oaep-sha256', publicKey!, data, data), 'invalid-request');
  await refused(decrypt('rsa-oaep-sha256', privateKey, ciphertext, data), 'invalid-request');
  await refused(encrypt('rsa-oaep-sha256', privateKey, data), 'scheme-not-allowed');
  await refused(decrypt('rsa-oaep-sha256', publicKey!, ciphertext), 'scheme-not-allowed');
});

test('AES-256-GCM is nonce, ciphertext and tag, as noble opens it', async () => {
  const raw = random(32);
  const key = createSecretKey(raw);
  const aad = Buffer.from('context');
  for (const length of [0, 1, 16, 1000]) {
    const plaintext = length === 0 ? Buffer.alloc(0) : random(length);
    const sealed = await encrypt('aes-256-gcm', key, plaintext, aad);
    assert.equal(sealed.length, length + 28);
    const opened = gcm(raw, sealed.subarray(0, 12), aad).decrypt(sealed.subarray(12));
    assert.deepEqual(Buffer.from(opened), plaintext);
    const nonce = random(12);
    const theirs = Buffer.concat([nonce, gcm(raw, nonce, aad).encrypt(plaintext)]);
    assert.deepEqual(await decrypt('aes-256-gcm', key, theirs, aad), plaintext);
  }
});

test('both AES schemes bind the additional data and never repeat a nonce', async () => {
  const { privateKey: key } = await generateKeyMaterial('aes-256');
  const { privateKey: other } = await generateKeyMaterial('aes-256');
  for (const scheme of ['xaes-256-gcm', 'aes-256-gcm'] as const) {
    const first = await encrypt(scheme, key, data, Buffer.from('a'));
    const second = await encrypt(scheme, key, data, Buffer.from('a'));
    assert.notDeepEqual(first.subarray(0, 12), second.subarray(0, 12));
    assert.deepEqual(await decrypt(scheme, key, first, Buffer.from('a')), data);
    await refused(decrypt(scheme, key, first, Buffer.from('b')), 'invalid-ciphertext');
    await refused(decrypt(scheme, key, first), 'invalid-ciphertext');
    await refused(decrypt(scheme, other, first, Buffer.from('a')), 'invalid-ciphertext');
  }
  const sealed = await encrypt('aes-256-gcm', key, data);
  await refused(decrypt('xaes-256-gcm', key, sealed), 'invalid-ciphertext');
});

test('encryption takes only keys of the size of the scheme', async () => {
  const short = createSecretKey(random(16));
  await refused(encrypt('xaes-256-gcm', short, data), 'scheme-not-allowed');
  await refused(encrypt('aes-256-gcm', short, data), 'scheme-not-allowed');
  const { privateKey } = await generateKeyMaterial('p-256');
  await refused(encrypt('xaes-256-gcm', privateKey, data), 'scheme-not-allowed');
  await refused(encrypt('ed25519', privateKey, data), 'scheme-not-allowed');
});

test('MACs are those that Python makes', async (t) => {
  const program = requirePythonCryptography(t);
  if (program === undefined) return;
  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    const { privateKey } = await generateKeyMaterial(`hmac-${hash}`);
    const script = `${python}
made = hmac.HMAC(b(input['key']), h[input['hash']])
made.update(b(input['data']))
output = made.finalize().hex()
`;
    const key = privateKey.export().toString('hex');
    const theirs = runPython(program, script, { hash, key, data: data.toString('hex') }) as string;
    assert.equal((await mac(`hmac-${hash}`, privateKey, data)).toString('hex'), theirs);
    assert.equal(
      await verifyMac(`hmac-${hash}`, privateKey, data, Buffer.from(theirs, 'hex')),
      true,
    );
  }
});

test('random bytes have the length asked for, within its limits', () => {
  assert.equal(random(1).length, 1);
  assert.equal(random(1024 * 1024).length, 1024 * 1024);
  assert.notDeepEqual(random(32), random(32));
  for (const length of [0, -1, 1.5, Number.NaN, 1024 * 1024 + 1]) {
    assert.throws(
      () => random(length),
      (error) => isKeyreeveError(error, 'invalid-request'),
    );
  }
});

async function refused(
  promise: Promise<unknown>,
  code: 'too-large' | 'invalid-request' | 'scheme-not-allowed' | 'invalid-ciphertext',
): Promise<void> {
  await assert.rejects(promise, (error) => isKeyreeveError(error, code));
}
