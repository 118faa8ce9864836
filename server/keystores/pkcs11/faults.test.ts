import assert from 'node:assert/strict';
import { type KeyObject, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { eventually } from '../../../test/eventually.ts';
import { startSoftHsm, type TestSoftHsm } from '../../../test/softhsm.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import { isRemoteKey, type RemoteKey } from '../../crypto/crypto.ts';
import type { KeyIdentity, KeyLocation } from '../keystore.ts';
import { freshIdentity, openKeystore, stopKeystores } from './keystore.fixture.ts';
import type { Pkcs11Keystore } from './pkcs11.ts';

const limits = { useSeconds: 2, useSecondsMinimum: 1 };
const tokens: TestSoftHsm[] = [];
after(async () => {
  await stopKeystores();
  for (const token of tokens) token.remove();
});

interface Prepared {
  readonly hsm: TestSoftHsm;
  readonly keystore: Pkcs11Keystore;
  readonly key: RemoteKey;
  readonly publicKey: KeyObject;
  readonly location: KeyLocation;
  readonly identity: KeyIdentity;
  readonly fingerprint: string;
}

/** A token of its own with a key in it: what happens to it happens to no other test. */
async function prepare(t: TestContext): Promise<Prepared | undefined> {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return undefined;
  tokens.push(hsm);
  const keystore = openKeystore(hsm.uri, { limits });
  const identity = freshIdentity('fault/key');
  const stored = await keystore.generate(identity, 'p-256');
  const location = { ...identity, ...stored, algorithm: 'p-256' as const };
  const { privateKey, publicKey } = await keystore.open(location);
  assert.equal(isRemoteKey(privateKey), true);
  const key = privateKey as RemoteKey;
  const { fingerprint } = stored;
  return { hsm, keystore, key, publicKey: publicKey!, location, identity, fingerprint };
}

test('a key of a token that is away does not count as destroyed', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { hsm, keystore, location, identity } = prepared;
  hsm.takeAway();
  await assert.rejects(keystore.destroy(location), { code: 'keystore-unavailable' });
  hsm.putBack();
  await eventually(async () => (await keystore.health()).ready);
  const isThere = () => openKeystore(hsm.uri).exists(identity);
  assert.equal(await isThere(), true);
  await keystore.destroy(location);
  assert.equal(await isThere(), false);
  // As after a crash between the token and the record.
  await keystore.destroy(location);
});

interface Outcomes {
  readonly signed: number;
  /** Refusals by code. */
  readonly refused: Readonly<Record<string, number>>;
}

/** Signs many messages, some at a time, while something happens; every signature is verified. */
async function signUnder(
  { key, publicKey }: Prepared,
  count: number,
  event: (done: () => number) => Promise<void>,
): Promise<Outcomes> {
  let settled = 0;
  let signed = 0;
  const refused: Record<string, number> = {};
  let next = 0;
  const work = async () => {
    while (next < count) {
      const message = Buffer.from(`message ${next++}`);
      try {
        const signature = await key.sign('ecdsa-sha256', message);
        assert.equal(verify('sha256', message, publicKey, signature), true, 'a wrong signature');
        signed++;
      } catch (error) {
        if (!isKeyreeveError(error)) throw error;
        refused[error.code] = (refused[error.code] ?? 0) + 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      settled++;
    }
  };
  const workers = Array.from({ length: 20 }, work);
  await event(() => settled);
  await Promise.all(workers);
  assert.equal(settled, count, 'each call is settled once');
  return { signed, refused };
}

for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGSTOP'] as const) {
  test(`signatures go on when the child gets ${signal}, and none is wrong`, async (t) => {
    const prepared = await prepare(t);
    if (prepared === undefined) return;
    const { keystore } = prepared;
    const { signed, refused } = await signUnder(prepared, 1000, async (done) => {
      await eventually(() => done() > 200);
      process.kill(keystore.metrics().pid!, signal);
    });
    // All of them were under way when it happened, and signing may be repeated.
    assert.deepEqual({ signed, refused }, { signed: 1000, refused: {} });
    assert.equal(keystore.metrics().restarts, 1);
    assert.deepEqual(await keystore.health(), { ready: true, reason: undefined });
  });
}

test('a token that is taken away is reported, and comes back by itself', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { hsm, keystore, key, publicKey } = prepared;
  const { refused } = await signUnder(prepared, 1000, async (done) => {
    await eventually(() => done() > 200);
    hsm.takeAway();
    // SoftHSM signs on with what it has read; a new process finds nothing.
    process.kill(keystore.metrics().pid!, 'SIGKILL');
    await eventually(async () => !(await keystore.health()).ready);
    assert.match((await keystore.health()).reason ?? '', /is not there|cannot be reached/);
  });
  assert.deepEqual(Object.keys(refused), ['keystore-unavailable']);
  hsm.putBack();
  await eventually(async () => (await keystore.health()).ready);
  const signature = await key.sign('ecdsa-sha256', Buffer.from('back again'));
  assert.equal(verify('sha256', Buffer.from('back again'), publicKey, signature), true);
});

test('a token that goes and comes back under a living child gives no wrong signature', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { hsm, keystore, key } = prepared;
  const { refused } = await signUnder(prepared, 600, async (done) => {
    await eventually(() => done() > 100);
    hsm.takeAway();
    await eventually(() => done() > 300);
    hsm.putBack();
  });
  for (const code of Object.keys(refused)) assert.equal(code, 'keystore-unavailable');
  await eventually(async () => (await keystore.health()).ready);
  await eventually(() =>
    key.sign('ecdsa-sha256', Buffer.from('again')).then(
      () => true,
      () => false,
    ),
  );
});

test('a hanging child is told from a slow key: making one has a deadline of its own', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { keystore } = prepared;
  // With the deadline of a signature this would end the child again and again.
  const stored = await keystore.generate(freshIdentity('slow/key'), 'rsa-4096');
  assert.equal(stored.fingerprint.length, 64);
  assert.equal(keystore.metrics().restarts, 0);
});

test('making a key is not repeated when the child dies at it: the caller looks by its id', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { keystore } = prepared;
  const identity = freshIdentity('interrupted/key');
  const { pid } = keystore.metrics();
  const making = keystore.generate(identity, 'rsa-4096');
  await new Promise((resolve) => setTimeout(resolve, 60));
  process.kill(pid!, 'SIGKILL');
  await assert.rejects(making, { code: 'keystore-unavailable' });
  await keystore.discard(identity);
  assert.equal(await keystore.exists(identity), false);
});

test('a wrong PIN is tried once, and again only when its file is written anew', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { hsm, location } = prepared;
  const path = join(hsm.folder, 'wrong-pin');
  writeFileSync(path, '0000\n', { mode: 0o600 });
  const keystore = openKeystore(hsm.uriWith({ 'pin-source': `file:${path}` }), { limits });
  for (let round = 0; round < 5; round++) {
    await assert.rejects(
      keystore.open(location),
      (error: Error & { code?: string; hint?: string }) => {
        assert.equal(error.code, 'wrong-passphrase');
        assert.match(error.hint ?? '', /not tried again/);
        assert.equal(error.message.includes('0000'), false);
        return true;
      },
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.equal((await keystore.health()).ready, false);
  assert.equal(keystore.metrics().pid, undefined, 'no child keeps trying');
  writeFileSync(path, `${hsm.pin}\n`);
  await eventually(async () => (await keystore.health()).ready);
  const { fingerprint } = await keystore.open(location);
  assert.equal(fingerprint, prepared.fingerprint);
});

test('calls that wait when the keystore is stopped are refused', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { keystore, key } = prepared;
  const calls = Array.from({ length: 500 }, (_none, index) =>
    key.sign('ecdsa-sha256', Buffer.from(`${index}`)).then(
      () => 'signed',
      (error: { code?: string }) => error.code ?? 'no code',
    ),
  );
  await keystore.stop();
  const outcomes = new Set(await Promise.all(calls));
  assert.equal(outcomes.has('shutting-down'), true);
  outcomes.delete('shutting-down');
  outcomes.delete('signed');
  assert.deepEqual([...outcomes], []);
  await assert.rejects(key.sign('ecdsa-sha256', Buffer.from('x')), { code: 'shutting-down' });
});

test('the child ends with the service, whatever ends that', async (t) => {
  const prepared = await prepare(t);
  if (prepared === undefined) return;
  const { keystore } = prepared;
  const { pid } = keystore.metrics();
  // Ctrl-C reaches every process of the terminal: the child waits for the service.
  process.kill(pid!, 'SIGINT');
  process.kill(pid!, 'SIGTERM');
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal((await keystore.health()).ready, true);
  assert.equal(keystore.metrics().pid, pid);
  await keystore.stop();
  assert.throws(() => process.kill(pid!, 0), { code: 'ESRCH' });
});
