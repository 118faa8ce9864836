import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requirePythonCryptography, runPython } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { agree, generateKeyMaterial, random, unwrapKey, wrapKey } from './crypto.ts';

const python = `
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, x25519
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
b = bytes.fromhex
oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
`;

test('AES-KWP wraps as Python does, for every length of padding', async (t) => {
  const program = requirePythonCryptography(t);
  if (program === undefined) return;
  const { privateKey: key } = await generateKeyMaterial('aes-256');
  const targets = [1, 7, 8, 9, 15, 16, 17, 32, 1218].map((length) =>
    random(length).toString('hex'),
  );
  const theirs = runPython(
    program,
    `${python}
output = [keywrap.aes_key_wrap_with_padding(b(input['key']), b(t)).hex() for t in input['targets']]`,
    { key: key.export().toString('hex'), targets },
  ) as string[];
  for (const [index, target] of targets.entries()) {
    const wrapped = wrapKey('aes-kwp', key, new SecretBytes(Buffer.from(target, 'hex')));
    assert.equal(wrapped.toString('hex'), theirs[index]);
    const opened = await unwrapKey('aes-kwp', key, wrapped);
    assert.equal(opened.reveal().toString('hex'), target);
  }
});

test('RSA-AES-KWP opens in Python, and what Python wraps opens here', async (t) => {
  const program = requirePythonCryptography(t);
  if (program === undefined) return;
  const { privateKey, publicKey, spki } = await generateKeyMaterial('rsa-2048');
  const target = random(1218);
  const [opened, theirs] = runPython(
    program,
    `${python}
private = serialization.load_der_private_key(b(input['key']), None)
public = serialization.load_der_public_key(b(input['spki']))
w = b(input['wrapped'])
opened = keywrap.aes_key_unwrap_with_padding(private.decrypt(w[:256], oaep), w[256:])
fresh = bytes(range(32))
theirs = public.encrypt(fresh, oaep) + keywrap.aes_key_wrap_with_padding(fresh, b(input['target']))
output = [opened.hex(), theirs.hex()]`,
    {
      key: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('hex'),
      spki: spki!.toString('hex'),
      wrapped: wrapKey('rsa-aes-kwp', publicKey!, new SecretBytes(target)).toString('hex'),
      target: target.toString('hex'),
    },
  ) as [string, string];
  assert.equal(opened, target.toString('hex'));
  const back = await unwrapKey('rsa-aes-kwp', privateKey, Buffer.from(theirs, 'hex'));
  assert.deepEqual(back.reveal(), target);
});

test('nothing and far too much are not wrapped', async () => {
  const { privateKey } = await generateKeyMaterial('aes-256');
  const wrap = (length: number) =>
    wrapKey('aes-kwp', privateKey, new SecretBytes(Buffer.alloc(length)));
  assert.throws(
    () => wrap(0),
    (error) => isKeyreeveError(error, 'invalid-request'),
  );
  assert.throws(
    () => wrap(64 * 1024 + 1),
    (error) => isKeyreeveError(error, 'too-large'),
  );
  const { publicKey } = await generateKeyMaterial('rsa-2048');
  assert.throws(
    () => wrapKey('aes-kwp', publicKey!, new SecretBytes(random(16))),
    (error) => isKeyreeveError(error, 'scheme-not-allowed'),
  );
});

for (const algorithm of ['x25519', 'p-256', 'p-384', 'p-521'] as const) {
  test(`${algorithm} agrees with Python on the same derived key`, async (t) => {
    const program = requirePythonCryptography(t);
    if (program === undefined) return;
    const { privateKey, spki } = await generateKeyMaterial(algorithm);
    const peer = await generateKeyMaterial(algorithm);
    const info = Buffer.from('what it is for');
    const theirs = runPython(
      program,
      `${python}
private = serialization.load_der_private_key(b(input['key']), None)
public = serialization.load_der_public_key(b(input['peer']))
if isinstance(private, x25519.X25519PrivateKey):
    shared = private.exchange(public)
else:
    shared = private.exchange(ec.ECDH(), public)
output = HKDF(hashes.SHA256(), 48, None, b(input['info'])).derive(shared).hex()`,
      {
        key: peer.privateKey.export({ format: 'der', type: 'pkcs8' }).toString('hex'),
        peer: spki!.toString('hex'),
        info: info.toString('hex'),
      },
    ) as string;
    const ours = await agree(privateKey, peer.spki!, { info, length: 48 });
    assert.equal(ours.reveal().toString('hex'), theirs);
  });
}

test('agreement refuses other kinds of key and lengths outside of HKDF', async () => {
  const [x25519, p256, p384, ed25519, secp256k1] = await Promise.all(
    (['x25519', 'p-256', 'p-384', 'ed25519', 'secp256k1'] as const).map(generateKeyMaterial),
  );
  const info = Buffer.alloc(0);
  const refused = (
    promise: Promise<unknown>,
    code: 'invalid-key-material' | 'invalid-request' | 'scheme-not-allowed',
  ) => assert.rejects(promise, (error) => isKeyreeveError(error, code));
  for (const peer of [p384!, x25519!, secp256k1!]) {
    await refused(
      agree(p256!.privateKey, peer.spki!, { info, length: 32 }),
      'invalid-key-material',
    );
  }
  for (const length of [0, 1.5, 255 * 32 + 1]) {
    await refused(agree(p256!.privateKey, p256!.spki!, { info, length }), 'invalid-request');
  }
  const long = { info: Buffer.alloc(1025), length: 32 };
  await refused(agree(p256!.privateKey, p256!.spki!, long), 'invalid-request');
  for (const key of [ed25519!, secp256k1!]) {
    await refused(agree(key.privateKey, key.spki!, { info, length: 32 }), 'scheme-not-allowed');
  }
  const secret = await agree(x25519!.privateKey, x25519!.spki!, { info, length: 255 * 32 });
  assert.equal(secret.length, 255 * 32);
});
