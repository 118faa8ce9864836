import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AlgorithmName, type SchemeName, schemes } from '../../api/algorithms.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  agree,
  decapsulate,
  decrypt,
  encrypt,
  generateKeyMaterial,
  mac,
  type RemoteKey,
  serializePrivate,
  sign,
  signMany,
  unwrapKey,
  verify,
  verifyMac,
  wrapKey,
} from './crypto.ts';

// What a token that works does is tried with real ones, in the conformance suite of keystores. Here
// it is what crypto makes of tokens that cannot, or that do wrong.
const data = Buffer.from('what is signed');

/** A remote key that does no more than the test says. */
function remote(algorithm: AlgorithmName, does: Partial<RemoteKey>): RemoteKey {
  return {
    keystore: 'hsm',
    algorithm,
    publicKey: undefined,
    schemes: new Set(Object.keys(schemes) as SchemeName[]),
    sign: () => Promise.reject(new Error('not asked for')),
    ...does,
  };
}

async function signer(change: (signature: Buffer) => Buffer): Promise<RemoteKey> {
  const { privateKey, publicKey } = await generateKeyMaterial('p-256');
  return remote('p-256', {
    publicKey,
    sign: async (scheme, bytes) => change(await sign(scheme, privateKey, bytes)),
    signMany: async (scheme, list) =>
      Promise.all(list.map(async (bytes) => change(await sign(scheme, privateKey, bytes)))),
  });
}

test('a signature that a remote key made leaves as it is', async () => {
  const key = await signer((signature) => signature);
  const signature = await sign('ecdsa-sha256', key, data);
  assert.equal(await verify('ecdsa-sha256', key.publicKey!, data, signature), true);
  const many = await signMany('ecdsa-sha256', key, [data, Buffer.from('another')]);
  assert.equal(
    await verify('ecdsa-sha256', key.publicKey!, Buffer.from('another'), many[1]!),
    true,
  );
});

for (const [what, change] of [
  [
    'changed in one bit',
    (signature: Buffer) => signature.map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
  ],
  ['empty', () => Buffer.alloc(0)],
  ['the private key itself, say', () => Buffer.alloc(32, 7)],
] as const) {
  test(`a signature that is ${what} does not leave`, async () => {
    const key = await signer((signature) => Buffer.from(change(signature)));
    const refused = (error: { code: string; message: string }) => {
      assert.equal(error.code, 'integrity-failed');
      assert.match(error.message, /"hsm"/);
      return true;
    };
    await assert.rejects(sign('ecdsa-sha256', key, data), refused);
    await assert.rejects(signMany('ecdsa-sha256', key, [data, data]), refused);
  });
}

test('signatures of a batch in another order, too few of them, or of another key do not leave', async () => {
  const key = await signer((signature) => signature);
  const list = [data, Buffer.from('another')];
  const swapped = {
    ...key,
    signMany: async (...asked: Parameters<NonNullable<RemoteKey['signMany']>>) =>
      (await key.signMany!(...asked)).reverse(),
  };
  await assert.rejects(signMany('ecdsa-sha256', swapped, list), { code: 'integrity-failed' });
  const short = {
    ...key,
    signMany: async (...asked: Parameters<NonNullable<RemoteKey['signMany']>>) =>
      (await key.signMany!(...asked)).slice(1),
  };
  await assert.rejects(signMany('ecdsa-sha256', short, list), { code: 'integrity-failed' });
  const { publicKey } = await generateKeyMaterial('p-256');
  await assert.rejects(sign('ecdsa-sha256', { ...key, publicKey }, data), {
    code: 'integrity-failed',
  });
  await assert.rejects(sign('ecdsa-sha256', { ...key, publicKey: undefined }, data), {
    code: 'integrity-failed',
  });
});

test('a remote key is held to the schemes of its algorithm and of its token', async () => {
  const key = await signer((signature) => signature);
  await assert.rejects(sign('ed25519', key, data), { code: 'scheme-not-allowed' });
  await assert.rejects(mac('hmac-sha256', key, data), { code: 'scheme-not-allowed' });
  await assert.rejects(decrypt('rsa-oaep-sha256', key, data), { code: 'scheme-not-allowed' });
  const lesser = { ...key, schemes: new Set<SchemeName>(['ecdh']) };
  await assert.rejects(
    sign('ecdsa-sha256', lesser, data),
    (error: { code: string; message: string; hint: string }) => {
      assert.equal(error.code, 'capability-missing');
      assert.match(error.message, /"hsm" cannot use the scheme ecdsa-sha256/);
      assert.match(error.hint, /ecdh/);
      return true;
    },
  );
});

test('what a token has no call for is refused, with its name and what it can', async () => {
  const refused = { code: 'capability-missing', message: /"hsm"/ };
  const rsa = remote('rsa-2048', {});
  const secret = new SecretBytes(Buffer.alloc(32, 1));
  const { spki } = await generateKeyMaterial('p-256');
  const ec = remote('p-256', {});
  const aes = remote('aes-256', {});
  const material = { algorithm: 'p-256', privateKey: ec, fingerprint: '' } as const;
  await assert.rejects(decrypt('rsa-oaep-sha256', rsa, Buffer.alloc(256)), refused);
  await assert.rejects(unwrapKey('rsa-aes-kwp', rsa, Buffer.alloc(296)), refused);
  await assert.rejects(unwrapKey('aes-kwp', aes, Buffer.alloc(40)), refused);
  await assert.rejects(agree(ec, spki!, { info: data, length: 32 }), refused);
  await assert.rejects(mac('hmac-sha256', remote('hmac-sha256', {}), data), refused);
  await assert.rejects(encrypt('xaes-256-gcm', aes, data), refused);
  await assert.rejects(decrypt('xaes-256-gcm', aes, Buffer.alloc(60)), refused);
  await assert.rejects(decapsulate(remote('ml-kem-768', {}), Buffer.alloc(1088)), refused);
  assert.throws(() => wrapKey('aes-kwp', aes, secret), refused);
  assert.throws(
    () => serializePrivate({ ...material, publicKey: undefined, spki: undefined }),
    refused,
  );
});

test('ciphertexts and wrapped keys of lengths that there are not do not reach the token', async () => {
  const asked: number[] = [];
  const rsa = remote('rsa-2048', {
    decrypt: async () => Buffer.alloc(asked.push(1)),
    unwrap: async () => new SecretBytes(Buffer.alloc(asked.push(1))),
  });
  for (const length of [0, 255, 257, 4096]) {
    await assert.rejects(decrypt('rsa-oaep-sha256', rsa, Buffer.alloc(length)), {
      code: 'invalid-ciphertext',
    });
  }
  for (const length of [0, 256, 264, 281, 256 + 70_000]) {
    await assert.rejects(unwrapKey('rsa-aes-kwp', rsa, Buffer.alloc(length)), {
      code: 'invalid-ciphertext',
    });
  }
  assert.deepEqual(asked, []);
});

test('a MAC of a wrong length and a secret of zeros are refused', async () => {
  const hmac = remote('hmac-sha256', { mac: async () => Buffer.alloc(16) });
  await assert.rejects(mac('hmac-sha256', hmac, data), { code: 'integrity-failed' });
  await assert.rejects(verifyMac('hmac-sha256', hmac, data, Buffer.alloc(16)), {
    code: 'integrity-failed',
  });
  const ec = remote('p-256', { agree: async () => new SecretBytes(Buffer.alloc(32)) });
  const { spki } = await generateKeyMaterial('p-256');
  await assert.rejects(agree(ec, spki!, { info: data, length: 32 }), {
    code: 'invalid-key-material',
  });
});

test('a peer on another curve does not reach the token', async () => {
  const ec = remote('p-256', { agree: () => assert.fail('the token was asked') });
  const { spki } = await generateKeyMaterial('p-384');
  await assert.rejects(agree(ec, spki!, { info: data, length: 32 }), {
    code: 'invalid-key-material',
  });
});
