import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createDestruction, settleIntents, type Tombstone } from './keys.ts';
import { openTestKeys } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
const waitSeconds = 3600;

async function open() {
  const keys = await openTestKeys();
  const buried: Tombstone[] = [];
  const destructionWith = (bury: (tombstone: Tombstone) => Promise<void>, isClockUnsafe = false) =>
    createDestruction({
      keys: keys.keys,
      clock: keys.clock,
      bury,
      isClockUnsafe: () => isClockUnsafe,
    });
  const destroyable = (name: string, keystore: string) =>
    keys.create({
      name,
      keystore,
      algorithm: 'p-256',
      purpose: 'sign',
      policy: { destroyAfterSeconds: waitSeconds },
    });
  return Object.assign(keys, {
    buried,
    destructionWith,
    destroyable,
    destruction: destructionWith(async (tombstone) => {
      buried.push(tombstone);
    }),
    privateFiles: () => {
      const folder = join(keys.folder, 'files', 'private');
      return existsSync(folder) ? readdirSync(folder) : [];
    },
    [Symbol.asyncDispose]: keys.close,
  });
}

for (const keystore of ['wrapped', 'file']) {
  test(`a key in ${keystore} is destroyed when its waiting time is over, and not before`, async () => {
    await using keys = await open();
    const made = await keys.destroyable('k', keystore);
    await keys.call('key.sign', 'k', { data });
    await keys.call('key.destroy', 'k', {});
    keys.clock.advance(waitSeconds - 1);
    assert.equal(await keys.destruction.run(), 0);
    keys.clock.advance(1);
    assert.equal(await keys.destruction.run(), 1);
    assert.deepEqual(
      keys.buried.map((tombstone) => tombstone.keyId),
      [made.id],
    );
    const shown = await keys.call('key.show', 'k');
    assert.deepEqual([shown.state, shown.destroyAt], ['destroyed', null]);
    assert.deepEqual(await keys.keys.store.privateHalf(made.id, 1), {
      private_blob: null,
      store_key_id: keystore === 'wrapped' ? 'sto_1' : null,
    });
    assert.deepEqual(keys.privateFiles(), []);
    await assert.rejects(keys.call('key.sign', 'k', { data }), { code: 'key-destroyed' });
    await assert.rejects(keys.call('key.rotate', 'k', {}), { code: 'key-destroyed' });
    assert.equal(await keys.destruction.run(), 0);
    await assert.rejects(keys.destroyable('k', keystore), { code: 'already-exists' });
  });
}

test('nothing is destroyed without its tombstone', async () => {
  await using keys = await open();
  await keys.destroyable('k', 'file');
  await keys.call('key.destroy', 'k', {});
  keys.clock.advance(waitSeconds);
  const destruction = keys.destructionWith(async () => {
    throw new Error('the folder is away');
  });
  await assert.rejects(destruction.run(), /away/);
  assert.equal(keys.privateFiles().length, 1);
  assert.notEqual((await keys.call('key.show', 'k')).destroyAt, null);
});

test('a key that cannot be destroyed holds no other back', async () => {
  await using keys = await open();
  const stuck = await keys.destroyable('stuck', 'file');
  await keys.destroyable('k', 'wrapped');
  await keys.call('key.destroy', 'stuck', {});
  keys.clock.advance(1);
  await keys.call('key.destroy', 'k', {});
  const file = keys.keystores.named('file');
  const { destroy } = file;
  file.destroy = async () => {
    throw new Error('the folder is away');
  };
  keys.clock.advance(waitSeconds);
  await assert.rejects(keys.destruction.run(), /away/);
  assert.equal((await keys.call('key.show', 'k')).state, 'destroyed');
  assert.equal((await keys.call('key.show', stuck.id)).state, 'active');
  file.destroy = destroy;
  assert.equal(await keys.destruction.run(), 1);
});

test('nothing is destroyed under a clock that cannot be trusted', async () => {
  await using keys = await open();
  await keys.destroyable('k', 'wrapped');
  await keys.call('key.destroy', 'k', {});
  keys.clock.advance(waitSeconds);
  assert.equal(await keys.destructionWith(async () => undefined, true).run(), 0);
  assert.notEqual((await keys.call('key.show', 'k')).destroyAt, null);
});

test('what a crash left of a key that was never finished is removed, and what was finished is kept', async () => {
  await using keys = await open();
  const made = await keys.create({
    name: 'finished',
    keystore: 'file',
    algorithm: 'p-256',
    purpose: 'sign',
  });
  const orphan = { keyId: 'key_orphan', version: 1, name: 'orphan' };
  await keys.keystores.named('file').generate(orphan, 'p-256');
  const intent = (payload: object, id: string) => ({
    query: keys.storage.db
      .insertInto('intent')
      .values({
        id,
        kind: 'key.make',
        payload_json: JSON.stringify(payload),
        entry_id: 'ent_1',
        created_at: 0,
        node_id: 'nod_living',
      })
      .compile(),
  });
  const giveTo = (nodeId: string) => ({
    query: keys.storage.db.updateTable('intent').set({ node_id: nodeId }).compile(),
  });
  const finished = { keyId: made.id, version: 1, name: 'finished' };
  await keys.storage.commit({
    steps: [
      intent({ ...orphan, keystore: 'file' }, 'int_1'),
      intent({ ...finished, keystore: 'file' }, 'int_2'),
    ],
    entries: [],
  });
  assert.equal(keys.privateFiles().length, 2);
  // What commands are at is theirs, and tokens are left for later.
  const isOrphan = (nodeId: string) => nodeId !== 'nod_living';
  assert.equal(await settleIntents(keys.keys, { isOrphan }), 0);
  await keys.storage.commit({ steps: [giveTo('nod_gone')], entries: [] });
  assert.equal(
    await settleIntents(keys.keys, { isOrphan, among: ({ name }) => name !== 'file' }),
    1,
  );
  const left = await keys.storage.db.selectFrom('intent').select(['id', 'node_id']).execute();
  assert.deepEqual(left, [{ id: 'int_1', node_id: '' }], 'its node cannot finish it any more');
  assert.equal(keys.privateFiles().length, 2);
  assert.equal(await settleIntents(keys.keys), 1);
  assert.deepEqual(
    keys.privateFiles().map((file) => file.startsWith(`${made.id}-1-`)),
    [true],
  );
  assert.equal(await settleIntents(keys.keys), 0);
  await keys.call('key.sign', 'finished', { data });
});

test('a key pair whose row is refused leaves no file behind', async () => {
  await using keys = await open();
  const body = { name: 'k', keystore: 'file', algorithm: 'p-256', purpose: 'sign' };
  const attempts = await Promise.allSettled([keys.create(body), keys.create(body)]);
  assert.deepEqual(attempts.map((attempt) => attempt.status).sort(), ['fulfilled', 'rejected']);
  assert.equal(keys.privateFiles().length, 1);
});
