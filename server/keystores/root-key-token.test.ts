import assert from 'node:assert/strict';
import {
  constants,
  createHash,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
  sign,
  verify,
} from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { startSoftHsm, type TestSoftHsm } from '../../test/softhsm.ts';
import { requireProgram } from '../../test/tools.ts';
import { startTpm } from '../../test/tpm.ts';
import { createRootKey, formatSealLocation, openRootKey, parseSealLocation } from './root-key.ts';
import type { RootKey, SealLocation } from './root-key-kinds.ts';

let shared: TestSoftHsm | undefined;
after(() => shared?.remove());

function softHsm(t: TestContext): TestSoftHsm | undefined {
  shared ??= startSoftHsm(t);
  return shared;
}

const placeIn = (keystoreUri: string, object: string): SealLocation =>
  parseSealLocation(formatSealLocation({ kind: 'token', keystoreUri, object }));

/** Closed after the test. */
function closing<Key extends RootKey | undefined>(t: TestContext, rootKey: Key): Key {
  t.after(() => rootKey?.close());
  return rootKey;
}

for (const { name, start, guard } of [
  { name: 'SoftHSM2', start: startSoftHsm, guard: 'software-token' },
  { name: 'a TPM', start: startTpm, guard: 'token' },
] as const) {
  test(`a root key in ${name} is made once, opened as the same key, and opens what it wrapped`, async (t) => {
    const token = await start(t);
    if (token === undefined) return;
    t.after(() => token.remove());
    const place = placeIn(token.uri, 'root key of tests');
    assert.equal(await openRootKey(place), undefined);
    const made = closing(t, await createRootKey(place));
    assert.match(made.fingerprint, /^[0-9a-f]{32}$/);
    assert.equal(made.guard, guard);
    const wrapped = await made.wrap('label', Buffer.from('secret'));
    assert.equal(Buffer.from(wrapped).includes('secret'), false);
    const opened = closing(t, await openRootKey(place));
    assert.equal(opened?.fingerprint, made.fingerprint);
    assert.equal((await opened!.unwrap('label', wrapped)).toString(), 'secret');
    assert.deepEqual(await opened!.health(), { ready: true, reason: undefined });
    await assert.rejects(createRootKey(place), { code: 'already-exists' });
    await assert.rejects(opened!.unwrap('another label', wrapped), { code: 'invalid-ciphertext' });
    const other = closing(t, await createRootKey(placeIn(token.uri, 'another')));
    assert.notEqual(other.fingerprint, made.fingerprint);
    await assert.rejects(other.unwrap('label', wrapped), { code: 'invalid-ciphertext' });
    assert.equal(inspect(made, { depth: 9, showHidden: true }).includes(token.pin), false);
  });
}

/** The parts of an envelope, read and written by hand. */
function partsOf(wrapped: Buffer) {
  const length = wrapped.readUInt16BE(1);
  const encrypted = wrapped.subarray(3, 3 + length);
  const rest = wrapped.subarray(3 + length);
  const end = 2 + rest.readUInt16BE(0);
  return { encrypted, signature: rest.subarray(2, end), sealed: rest.subarray(end) };
}

function envelope(encrypted: Buffer, signature: Buffer, sealed: Buffer): Buffer {
  const sized = (part: Buffer) => [Buffer.of(part.length >> 8, part.length & 255), part];
  return Buffer.concat([Buffer.of(1), ...sized(encrypted), ...sized(signature), sealed]);
}

function signedText(label: string, encrypted: Buffer, sealed: Buffer): Buffer {
  const digest = (part: Uint8Array | string) => createHash('sha256').update(part).digest();
  return Buffer.concat([
    Buffer.from('keyreeve root key envelope v1\n'),
    ...[label, encrypted, sealed].map(digest),
  ]);
}

/** Puts a key of ours into the token, as its owner does with the tools of the token. */
function putKey(hsm: TestSoftHsm, label: string, more: readonly string[] = []) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  for (const [type, key] of [
    ['privkey', privateKey.export({ type: 'pkcs8', format: 'der' })],
    ['pubkey', publicKey.export({ type: 'spki', format: 'der' })],
  ] as const) {
    const file = join(hsm.folder, `${label}.${type}`);
    writeFileSync(file, key);
    hsm.tool([
      ...['--write-object', file, '--type', type, '--label', label, '--id', '0a0b'],
      ...(type === 'privkey' ? ['--usage-sign', '--usage-decrypt', ...more] : []),
    ]);
  }
  return { privateKey, publicKey };
}

test('a copy of the key outside verifies and opens what it wrapped in the token; forged ones are refused', async (t) => {
  const hsm = startSoftHsm(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  t.after(() => hsm.remove());
  const { privateKey, publicKey } = putKey(hsm, 'brought', ['--sensitive']);
  const rootKey = closing(t, await openRootKey(placeIn(hsm.uri, 'brought')));
  const wrapped = Buffer.from(await rootKey!.wrap('label', Buffer.from('secret')));
  const { encrypted, signature, sealed } = partsOf(wrapped);
  const text = signedText('label', encrypted, sealed);
  assert.equal(verify('sha256', text, publicKey, signature), true);
  const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  assert.equal(privateDecrypt({ key: privateKey, ...oaep }, encrypted).length, 32);

  // Whoever has the public half alone can encrypt to it, and is refused.
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const own = publicEncrypt({ key: publicKey, ...oaep }, Buffer.alloc(32, 7));
  for (const forged of [
    envelope(own, signature, sealed),
    envelope(own, sign('sha256', signedText('label', own, sealed), stranger.privateKey), sealed),
    envelope(encrypted, signature, Buffer.concat([sealed, Buffer.of(0)])),
    envelope(encrypted, signature, Buffer.alloc(0)),
    Buffer.concat([Buffer.of(2), wrapped.subarray(1)]),
    wrapped.subarray(0, 200),
    Buffer.alloc(0),
  ]) {
    await assert.rejects(rootKey!.unwrap('label', forged), { code: 'invalid-ciphertext' });
  }
});

test('a key that the token would give away, or that is none of RSA, is no root key', async (t) => {
  const hsm = startSoftHsm(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  t.after(() => hsm.remove());
  putKey(hsm, 'lax', ['--extractable']);
  hsm.tool(['--keypairgen', '--key-type', 'EC:prime256v1', '--label', 'curve', '--id', '01']);
  for (const object of ['lax', 'curve']) {
    await assert.rejects(openRootKey(placeIn(hsm.uri, object)), { code: 'capability-missing' });
  }
});

test('with a wrong PIN, without its token or module, a root key is not opened', async (t) => {
  const hsm = softHsm(t);
  if (hsm === undefined) return;
  const wrongPin = join(hsm.folder, 'wrong-pin');
  writeFileSync(wrongPin, '9999\n', { mode: 0o600 });
  const refused = (query: Record<string, string>, code: string) =>
    assert.rejects(openRootKey(placeIn(hsm.uriWith(query), 'root')), (error) => {
      assert.equal((error as { code?: string }).code, code);
      assert.ok((error as { hint?: string }).hint);
      return true;
    });
  await refused({ 'pin-source': `file:${wrongPin}` }, 'wrong-passphrase');
  await refused({ 'module-path': '/no/such/module.so' }, 'keystore-unavailable');
  hsm.takeAway();
  t.after(() => hsm.putBack());
  await refused({}, 'keystore-unavailable');
});

for (const [what, uri] of [
  ['names no key', 'pkcs11:token=T?module-path=/m.so'],
  ['names an empty key', 'pkcs11:token=T;object=?module-path=/m.so'],
  ['names a key by its id', 'pkcs11:token=T;object=o;id=%01?module-path=/m.so'],
  ['names a public key', 'pkcs11:token=T;object=o;type=public?module-path=/m.so'],
  ['names no token', 'pkcs11:object=o?module-path=/m.so'],
  ['names no module', 'pkcs11:token=T;object=o'],
  ['holds a PIN', 'pkcs11:token=T;object=o?module-path=/m.so&pin-value=1234'],
] as const) {
  test(`the URI of a root key that ${what} is refused`, () => {
    assert.throws(() => parseSealLocation(uri), { code: 'config-invalid' });
  });
}

test('the URI of a root key is written as it was read', () => {
  const uri = 'pkcs11:token=my%20token;object=root?module-path=/m.so&pin-source=file:/pin';
  assert.equal(formatSealLocation(parseSealLocation(uri)), uri);
  const typed = uri.replace('object=root', 'type=private;object=root');
  assert.equal(formatSealLocation(parseSealLocation(typed)), uri);
});
