import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  publicEncrypt,
  verify,
} from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireProgram } from '../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { openHardware } from './hardware.fixture.ts';
import { settleIntents } from './keys.ts';

const message = Buffer.from('a message');
const data = message.toString('base64');
const bytes = (text: string) => Buffer.from(text, 'base64');

/** Asks again while the token is not back. */
async function untilThere<Result>(ask: () => Promise<Result>): Promise<Result> {
  for (let attempt = 0; attempt < 100; attempt++) {
    try {
      return await ask();
    } catch (error) {
      if (!isKeyreeveError(error, 'keystore-unavailable')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return ask();
}

test('a key in a token says that no backup holds it and that it is locked in', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  const key = await keys.create({
    name: 'h/k',
    algorithm: 'p-256',
    purpose: 'sign',
    keystore: 'hsm',
  });
  assert.equal(key.policy.recovery, 'none');
  assert.equal(key.policy.exportLocked, true);
  assert.equal(key.versions[0]?.keystore, 'hsm');
  assert.match(key.versions[0]?.uri ?? '', /^pkcs11:/);
  const soft = await keys.create({ name: 'w/k', algorithm: 'p-256', purpose: 'sign' });
  assert.deepEqual([soft.policy.recovery, soft.policy.exportLocked], ['replica', false]);
});

test('keys in a token sign singly and in batches, and openssl verifies it', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  const keys = await openHardware(t);
  if (openssl === undefined || keys === undefined) return;
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-hardware-'));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const [algorithm, flags] of [
    ['p-256', []],
    ['rsa-2048', ['-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:32']],
  ] as const) {
    const name = `h/${algorithm}`;
    const made = await keys.create({ name, algorithm, purpose: 'sign', keystore: 'hsm' });
    const single: { signature: string } = await keys.call('key.sign', name, { data });
    const items = Array.from({ length: 40 }, (_, index) => ({
      data: Buffer.from(`item ${index}`).toString('base64'),
    }));
    const batch = await keys.call('key.sign.batch', name, { items });
    const key = join(folder, 'key.pem');
    writeFileSync(key, made.versions[0]!.publicKey!);
    const check = (content: Buffer, signature: string) => {
      const [file, signed] = [join(folder, 'data'), join(folder, 'signature')];
      writeFileSync(file, content);
      writeFileSync(signed, bytes(signature));
      const options = ['-sha256', ...flags, '-verify', key, '-signature', signed, file];
      return execFileSync(openssl, ['dgst', ...options], { encoding: 'utf8' });
    };
    assert.match(check(message, single.signature), /Verified OK/);
    const last = batch.results[39] as { signature: string };
    assert.match(check(Buffer.from('item 39'), last.signature), /Verified OK/);
    const { signature } = single;
    assert.equal((await keys.call('key.verify', name, { data, signature })).valid, true);
  }
  const uses = keys.entries.filter((entry) => entry.kind === 'use' && entry.action === 'key.sign');
  assert.deepEqual(
    uses.map((entry) => [entry.outcome, entry.count]),
    [
      ...[
        ['ok', '1'],
        ['ok', '40'],
      ],
      ...[
        ['ok', '1'],
        ['ok', '40'],
      ],
    ],
  );
});

test('a token decrypts, agrees, makes MACs and opens wrapped keys', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  const make = (name: string, algorithm: string, purpose: string, more = {}) =>
    keys.create({ name, algorithm, purpose, keystore: 'hsm', ...more });
  const opening = await make('h/open', 'rsa-2048', 'encrypt');
  const oaep = {
    key: opening.versions[0]!.publicKey!,
    padding: constants.RSA_PKCS1_OAEP_PADDING,
    oaepHash: 'sha256',
  };
  const ciphertext = publicEncrypt(oaep, message);
  const opened = await keys.call('key.decrypt', 'h/open', {
    ciphertext: ciphertext.toString('base64'),
  });
  assert.equal(opened.plaintext, data);
  ciphertext[9]! ^= 1;
  await assert.rejects(
    keys.call('key.decrypt', 'h/open', { ciphertext: ciphertext.toString('base64') }),
    { code: 'invalid-ciphertext' },
  );

  const agreeing = await make('h/agree', 'p-256', 'agree');
  const peer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const peerSpki = peer.publicKey.export({ format: 'der', type: 'spki' });
  const { secret } = await keys.call('key.agree', 'h/agree', {
    peer: peerSpki.toString('base64'),
    info: data,
    length: 32,
  });
  const shared = diffieHellman({
    privateKey: peer.privateKey,
    publicKey: createPublicKey(agreeing.versions[0]!.publicKey!),
  });
  const derived = Buffer.from(hkdfSync('sha256', shared, '', message, 32));
  assert.equal(secret, derived.toString('base64'));

  await make('h/mac', 'hmac-sha256', 'mac');
  const { mac } = await keys.call('key.mac', 'h/mac', { data });
  const right = await keys.call('key.verify-mac', 'h/mac', { data, mac });
  const other = Buffer.from('another').toString('base64');
  const wrong = await keys.call('key.verify-mac', 'h/mac', { data: other, mac });
  assert.deepEqual([right.valid, wrong.valid], [true, false]);

  await make('h/wrap', 'rsa-2048', 'wrap');
  const material = Buffer.alloc(32, 7).toString('base64');
  const { wrapped } = await keys.call('key.wrap', 'h/wrap', { material });
  const back = await keys.call('key.unwrap', 'h/wrap', { wrapped });
  assert.equal(back.material, material);
  const imported = await keys.call('key.import', '', {
    ...{ name: 'w/mac', algorithm: 'hmac-sha256', purpose: 'mac', labels: {} },
    policy: { onRotation: 'supersede', overlapSeconds: 0, destroyAfterSeconds: 3600 },
    ...{ wrapped, wrappingKey: 'h/wrap' },
  });
  assert.equal(imported.versions[0]?.origin, 'imported');
});

test('a key in a token rotates there, and what the old version signed still verifies', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  await keys.create({ name: 'h/k', algorithm: 'p-256', purpose: 'sign', keystore: 'hsm' });
  const { signature } = await keys.call('key.sign', 'h/k', { data });
  const rotated = await keys.call('key.rotate', 'h/k', {});
  assert.deepEqual(
    rotated.versions.map((version) => version.keystore),
    ['hsm', 'hsm'],
  );
  assert.equal((await keys.call('key.sign', 'h/k', { data })).version, 2);
  const verdict = await keys.call('key.verify', 'h/k', { data, signature });
  assert.deepEqual([verdict.valid, verdict.version], [true, 1]);
});

test('a token that is away refuses for a while, on the record, and serves again when it is back', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  await keys.create({ name: 'h/k', algorithm: 'p-256', purpose: 'sign', keystore: 'hsm' });
  await keys.call('key.sign', 'h/k', { data });
  keys.hsm.takeAway();
  process.kill(keys.keystore.metrics().pid!, 'SIGKILL');
  await assert.rejects(keys.call('key.sign', 'h/k', { data }), (error: KeyreeveError) => {
    assert.deepEqual([error.code, error.status], ['keystore-unavailable', 503]);
    assert.ok((error.retryAfterSeconds ?? 0) > 0);
    return true;
  });
  const entry = keys.entries.at(-1)!;
  assert.deepEqual(
    [entry.kind, entry.action, entry.outcome, entry.keyName, entry.detail],
    ['use', 'key.sign', 'keystore-unavailable', 'h/k', '{"keystore":"hsm"}'],
  );
  const making = { name: 'h/other', algorithm: 'p-256', purpose: 'sign', keystore: 'hsm' };
  await assert.rejects(keys.create(making), { code: 'keystore-unavailable' });
  assert.equal(await keys.keys.store.find('h/other'), undefined);
  keys.hsm.putBack();
  const signed = await untilThere(() => keys.call('key.sign', 'h/k', { data }));
  const verdict = await keys.call('key.verify', 'h/k', { data, signature: signed.signature });
  assert.equal(verdict.valid, true);
  // What could not be taken back then is settled at the next start.
  assert.equal(await settleIntents(keys.keys), 1);
  assert.deepEqual(
    (await keys.keystore.list()).map((key) => key.label),
    ['h/k v1'],
  );
});

test('a signature whose entry cannot be written does not leave', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  await keys.create({ name: 'h/k', algorithm: 'p-256', purpose: 'sign', keystore: 'hsm' });
  const { commit } = keys.storage;
  const full: typeof commit = () =>
    Promise.reject(new KeyreeveError('storage-full', 'The disk is full.'));
  Object.assign(keys.storage, { commit: full });
  await assert.rejects(keys.call('key.sign', 'h/k', { data }), { code: 'storage-full' });
  Object.assign(keys.storage, { commit });
  const { signature } = await keys.call('key.sign', 'h/k', { data });
  const { publicKey } = (await keys.call('key.show', 'h/k')).versions[0]!;
  assert.ok(verify('sha256', message, publicKey!, bytes(signature)));
});

test('what a token cannot hold is refused and leaves nothing behind', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  for (const [algorithm, purpose] of [
    ['aes-256', 'encrypt'],
    ['ml-kem-768', 'encapsulate'],
    ['x25519', 'agree'],
  ]) {
    await assert.rejects(keys.create({ name: 'h/k', algorithm, purpose, keystore: 'hsm' }), {
      code: 'capability-missing',
      message: /"hsm"/,
    });
  }
  assert.deepEqual(await keys.storage.db.selectFrom('intent').selectAll().execute(), []);
  assert.deepEqual(await keys.keystore.list(), []);
});
