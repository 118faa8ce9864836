import assert from 'node:assert/strict';
import { generateKeyPairSync, verify } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type KeyView, keyAdoptBody } from '../../api/routes/keys.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Keystore, KeystoreObject } from '../keystores/keystores.ts';
import { withoutToken } from '../keystores/pkcs11/pkcs11.ts';
import { type Hardware, makeObject, openHardware } from './hardware.fixture.ts';
import { createDestruction } from './keys.ts';

const message = Buffer.from('a message');
const data = message.toString('base64');
const refused = (code: string) => ({ code });
const wanted = { name: 'h/theirs', purpose: 'sign', keystore: 'hsm' };

/** The keystore, with other functions for some of its own. */
function changed(keystore: Keystore, functions: Partial<Keystore>): Keystore {
  return new Proxy(keystore, {
    get: (target, name) => {
      if (name in functions) return functions[name as keyof Keystore];
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

async function withTheirs(t: Parameters<typeof openHardware>[0]): Promise<Hardware | undefined> {
  const keys = await openHardware(t);
  if (keys !== undefined) {
    makeObject(keys.hsm, 'EC:prime256v1', { label: 'theirs', id: '0a0b' }, ['--sensitive']);
  }
  return keys;
}

test('a key that others made in the token is adopted in place, by its label or by its id', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  makeObject(keys.hsm, 'rsa:2048', { label: 'second', id: '0c' }, ['--sensitive']);
  const first = await keys.adopt({ ...wanted, object: 'theirs' });
  const second = await keys.adopt({ ...wanted, name: 'h/second', objectId: '0c' });
  assert.deepEqual([first.algorithm, second.algorithm], ['p-256', 'rsa-2048']);
  assert.deepEqual(
    [first.versions[0]?.origin, first.policy.recovery, first.policy.exportLocked],
    ['adopted', 'none', true],
  );
  const entry = keys.entries.find(
    ({ action, keyName }) => action === 'key.adopt' && keyName === 'h/theirs',
  );
  assert.equal(entry?.outcome, 'ok');
  const detail = JSON.parse(entry?.detail ?? '');
  assert.deepEqual([detail.origin, detail.uri], ['adopted', first.versions[0]?.uri]);
  for (const [name, padding] of [
    ['h/theirs', {}],
    ['h/second', { padding: 6, saltLength: 32 }],
  ] as const) {
    const { signature }: { signature: string } = await keys.call('key.sign', name, { data });
    const shown: KeyView = await keys.call('key.show', name);
    const key = shown.versions[0]!.publicKey!;
    assert.ok(verify('sha256', message, { key, ...padding }, Buffer.from(signature, 'base64')));
  }
  const rotated = await keys.call('key.rotate', 'h/theirs', {});
  assert.deepEqual(
    rotated.versions.map((version) => version.origin),
    ['adopted', 'generated'],
  );
});

test('one key of a token has one name', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  await keys.adopt({ ...wanted, object: 'theirs' });
  await assert.rejects(
    keys.adopt({ ...wanted, name: 'h/again', objectId: '0a0b' }),
    (error: KeyreeveError) => error.code === 'already-exists' && /h\/theirs/.test(error.message),
  );
  const own = await keys.create({
    name: 'h/own',
    algorithm: 'p-256',
    purpose: 'sign',
    keystore: 'hsm',
  });
  const objectId = decodeURIComponent(
    /id=([^;]+)/.exec(own.versions[0]!.uri)![1]!.replaceAll('%', ''),
  );
  await assert.rejects(
    keys.adopt({ ...wanted, name: 'h/again', objectId: objectId.toLowerCase() }),
    refused('already-exists'),
  );
});

test('nor does it get a second name by way of another address, such as that of a group', async (t) => {
  let isGroup = false;
  const keys = await openHardware(t, (keystore) =>
    changed(keystore, {
      adopt: async (object: KeystoreObject) => {
        const adopted = await keystore.adopt!(object);
        const { uri } = adopted.stored;
        const stored = { ...adopted.stored, uri: isGroup ? withoutToken(uri) : uri };
        return { ...adopted, stored };
      },
    }),
  );
  if (keys === undefined) return;
  makeObject(keys.hsm, 'EC:prime256v1', { label: 'theirs', id: '0a0b' }, ['--sensitive']);
  await keys.adopt({ ...wanted, object: 'theirs' });
  isGroup = true;
  await assert.rejects(
    keys.adopt({ ...wanted, name: 'h/again', object: 'theirs' }),
    (error: KeyreeveError) => error.code === 'already-exists' && /h\/theirs/.test(error.message),
  );
});

test('the root key is not adopted', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  const { stored } = await keys.keystore.adopt({ label: 'theirs' });
  const query = keys.storage.db
    .insertInto('meta')
    .values({ name: 'root-key-fingerprint', value: stored.fingerprint.slice(0, 32) })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet({ value: stored.fingerprint.slice(0, 32) }),
    )
    .compile();
  await keys.storage.commit({ steps: [{ query }], entries: [] });
  await assert.rejects(
    keys.adopt({ ...wanted, object: 'theirs' }),
    (error: KeyreeveError) => error.code === 'already-exists' && /root key/.test(error.message),
  );
});

test('a key that the token would give away is adopted only with the lock open', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  makeObject(keys.hsm, 'EC:prime256v1', { label: 'loose', id: '0d' }, ['--extractable']);
  const loose = { ...wanted, name: 'h/loose', object: 'loose' };
  await assert.rejects(keys.adopt(loose), refused('storage-not-allowed'));
  assert.equal((await keys.keystore.list()).length, 1, 'it is left as it was');
  const made = await keys.adopt({ ...loose, policy: { exportLocked: false } });
  assert.equal(made.policy.exportLocked, false);
});

test('what cannot be adopted is refused, and the object stays as it was', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  makeObject(keys.hsm, 'EC:prime256v1', { label: 'twin', id: '01' });
  makeObject(keys.hsm, 'EC:prime256v1', { label: 'twin', id: '02' });
  await keys.create({ name: 'taken', algorithm: 'p-256', purpose: 'sign' });
  for (const [body, code] of [
    [{ object: 'nothing' }, 'not-found'],
    [{ objectId: 'ff' }, 'not-found'],
    [{ object: 'twin' }, 'conflict'],
    [{}, 'invalid-request'],
    [{ object: 'theirs', keystore: 'none' }, 'invalid-request'],
    [{ object: 'theirs', keystore: 'wrapped' }, 'capability-missing'],
    [{ object: 'theirs', purpose: 'encrypt' }, 'algorithm-purpose-mismatch'],
    [{ object: 'theirs', purpose: 'ca' }, 'purpose-not-allowed'],
    [{ object: 'theirs', schemes: ['ed25519'] }, 'unknown-scheme'],
    [{ object: 'theirs', name: 'taken' }, 'already-exists'],
    [{ object: 'theirs', name: 'system/x' }, 'forbidden'],
    [{ object: 'theirs', policy: { recovery: 'replica' } }, 'invalid-policy'],
    [{ object: 'theirs', policy: { keystores: ['wrapped'] } }, 'invalid-policy'],
    [{ object: 'theirs', policy: { storage: 'root-ca' } }, 'storage-not-allowed'],
  ] as const) {
    await assert.rejects(keys.adopt({ ...wanted, ...body }), refused(code), JSON.stringify(body));
    assert.equal(keys.entries.at(-1)?.outcome, code, 'a refusal is an entry');
  }
  assert.throws(() => keyAdoptBody.parse({ ...wanted, objectId: '0A' }), 'hex is lower-case');
  assert.equal((await keys.keystore.list()).length, 3);
  await keys.adopt({ ...wanted, object: 'theirs' });
});

test('who may not adopt does not learn what lies in the token', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  keys.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'Not allowed.');
  };
  for (const object of ['theirs', 'nothing']) {
    await assert.rejects(keys.adopt({ ...wanted, object }), refused('forbidden'));
  }
});

test('an adoption whose entry cannot be written leaves the key in the token', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  const { commit } = keys.storage;
  const full: typeof commit = () =>
    Promise.reject(new KeyreeveError('storage-full', 'The disk is full.'));
  Object.assign(keys.storage, { commit: full });
  await assert.rejects(keys.adopt({ ...wanted, object: 'theirs' }), refused('storage-full'));
  Object.assign(keys.storage, { commit });
  await keys.adopt({ ...wanted, object: 'theirs' });
  await keys.call('key.sign', 'h/theirs', { data });
});

test('an adopted key that is destroyed is gone from the token, and may not come back by its name', async (t) => {
  const keys = await withTheirs(t);
  if (keys === undefined) return;
  await keys.adopt({ ...wanted, object: 'theirs' });
  await keys.call('key.destroy', 'h/theirs', {});
  keys.clock.advance(30 * 86_400);
  const { keys: ring, clock } = keys;
  const options = { keys: ring, clock, bury: async () => undefined, isClockUnsafe: () => false };
  assert.equal(await createDestruction(options).run(), 1);
  assert.deepEqual(await keys.keystore.list(), []);
  await assert.rejects(keys.call('key.sign', 'h/theirs', { data }), refused('key-destroyed'));
});

test('a key file is adopted by its name', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  const made = await keys.create({
    name: 'f/made',
    algorithm: 'p-256',
    purpose: 'sign',
    keystore: 'file',
  });
  const object = made.versions[0]!.uri.slice('file:'.length);
  const body = { name: 'f/adopted', purpose: 'sign', keystore: 'file' };
  await assert.rejects(keys.adopt({ ...body, object }), refused('already-exists'));
  await assert.rejects(keys.adopt({ ...body, object: 'nothing' }), refused('not-found'));
  await assert.rejects(keys.adopt({ ...body, objectId: '0a' }), refused('invalid-request'));
  await assert.rejects(keys.adopt({ ...body, object: '../made' }), refused('invalid-request'));
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(join(keys.folder, 'files', 'private', 'theirs.pem'), pem, { mode: 0o600 });
  const adopted = await keys.adopt({ ...body, object: 'theirs' });
  assert.deepEqual([adopted.algorithm, adopted.policy.exportLocked], ['ed25519', false]);
  const { signature } = await keys.call('key.sign', 'f/adopted', { data });
  assert.ok(verify(null, message, publicKey, Buffer.from(signature, 'base64')));
});
