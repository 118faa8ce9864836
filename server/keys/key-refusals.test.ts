import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keyImportBody } from '../../api/routes/keys.ts';
import { decodeOpening, fieldName } from '../audit/leaf.ts';
import type { Resource } from '../base/caller.ts';
import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { wrapKey } from '../crypto/crypto.ts';
import { listScanMax } from './key-store.ts';
import { countEntries, openTestKeys } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
const refused = (code: string) => ({ code });

async function open() {
  const keys = await openTestKeys();
  return Object.assign(keys, {
    [Symbol.asyncDispose]: keys.close,
    /** The fields of all entries, oldest first. */
    entries: async () => {
      const rows = await keys.storage.db
        .selectFrom('entry_tail')
        .select('opening')
        .orderBy('id')
        .execute();
      return rows.map(
        ({ opening }): Record<string, string> =>
          Object.fromEntries(
            decodeOpening(opening).map(({ field, value }) => [fieldName(field), value]),
          ),
      );
    },
    intents: () => keys.storage.db.selectFrom('intent').selectAll().execute(),
    allowOnly: (allows: (resource: Resource) => boolean) => {
      keys.rights.authorise = (_caller, _action, resource) => {
        if (!allows(resource)) throw new KeyreeveError('forbidden', 'Not for you.');
      };
    },
  });
}

test('an answer to an idempotency key is given again to the credential that got it, and to no other', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' }, 'once');
  const rotate = (credentialId: string) =>
    keys.handlers['key.rotate']({
      caller: { ...keys.caller(), credentialId },
      params: { key: 'k' },
      query: {} as never,
      body: {},
      idempotencyKey: 'rotate',
    });
  const first = await rotate('tok_a');
  assert.deepEqual(await rotate('tok_a'), first);
  await assert.rejects(rotate('tok_b'), refused('idempotency-mismatch'));
});

test('who lost the right while a command was on its way changes nothing', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  // The owner that memory knows may; the owner that is stored may not.
  keys.allowOnly((resource) => resource.type === 'key' && resource.ownerId === 'prn_test');
  const known = await keys.keys.store.find('k');
  const fresh = keys.keys.store.fresh.bind(keys.keys.store);
  keys.keys.store.fresh = async (id) => ({ ...(await fresh(id)), ownerId: 'prn_other' });
  await assert.rejects(keys.call('key.update', 'k', { labels: { a: 'b' } }), refused('forbidden'));
  keys.keys.store.fresh = fresh;
  assert.deepEqual((await fresh(known!.id)).labels, {});
  await keys.call('key.update', 'k', { labels: { a: 'b' } });
});

test('a command on a key that is not there is an entry too', async () => {
  await using keys = await open();
  for (const id of ['key.rotate', 'key.update', 'key.destroy'] as const) {
    await assert.rejects(keys.call(id, 'none', {}), refused('not-found'));
  }
  assert.equal(await countEntries(keys.storage), 3);
  const [first] = await keys.entries();
  assert.deepEqual([first!.action, first!.outcome], ['key.rotate', 'not-found']);
});

test('who may not make or change a key learns nothing of which principals there are', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  Object.assign(keys.keys, {
    principalId: async () => {
      throw new KeyreeveError('not-found', 'There is no such principal.');
    },
  });
  const body = { name: 'x', algorithm: 'p-256', purpose: 'sign', owner: 'nobody' };
  await assert.rejects(keys.create(body), refused('not-found'));
  await assert.rejects(keys.call('key.update', 'k', { owner: 'nobody' }), refused('not-found'));
  keys.allowOnly(() => false);
  await assert.rejects(keys.create(body), refused('forbidden'));
  await assert.rejects(keys.call('key.update', 'k', { owner: 'nobody' }), refused('forbidden'));
});

test('a name that has the form of an id is refused', async () => {
  await using keys = await open();
  for (const prefix of ['key', 'prn', 'req']) {
    const name = `${prefix}_${'a'.repeat(26)}`;
    await assert.rejects(
      keys.create({ name, algorithm: 'p-256', purpose: 'sign' }),
      refused('invalid-name'),
    );
  }
});

test('a suspension outlasts the time window and the rotation of its version', async () => {
  await using keys = await open();
  await keys.create({
    name: 'k',
    algorithm: 'aes-256',
    purpose: 'encrypt',
    policy: { validitySeconds: 60 },
  });
  const { ciphertext } = await keys.call('key.encrypt', 'k', { plaintext: data });
  await keys.call('key.state', 'k', { state: 'suspended' });
  keys.clock.advance(60);
  const decrypt = () => keys.call('key.decrypt', 'k', { ciphertext });
  await assert.rejects(decrypt(), refused('state-not-allowed'));
  await keys.call('key.rotate', 'k', {});
  await assert.rejects(decrypt(), refused('invalid-ciphertext'));
  assert.equal((await keys.call('key.show', 'k')).versions[0]!.state, 'suspended');
  const lifted = await keys.call('key.state', 'k', { version: 1, state: 'active' });
  assert.equal(lifted.versions[0]!.state, 'deactivated');
  assert.equal((await decrypt()).plaintext, data);
});

test('a published version is not taken into use while the key waits to be destroyed, nor as another', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  const activatesAt = formatTime(keys.clock.now() + 3_600_000);
  await keys.call('key.rotate', 'k', { activatesAt });
  await assert.rejects(keys.call('key.rotate', 'k', { algorithm: 'p-384' }), refused('conflict'));
  await keys.call('key.destroy', 'k', {});
  await assert.rejects(keys.call('key.rotate', 'k', {}), refused('key-pending-destruction'));
  await keys.call('key.cancel-destroy', 'k', {});
  assert.equal((await keys.call('key.rotate', 'k', {})).currentVersion, 2);
});

test('a key can be destroyed however many backups hold it', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  const count = 2100;
  const rows = Array.from({ length: count }, (_, index) => ({
    id: `bak_${String(index).padStart(26, '0')}`,
    created_at: keys.clock.now() + index,
    created_by: 'prn_test',
    tree_size: 0,
    label: '',
  }));
  const insert = keys.storage.db.insertInto('backup').values(rows).compile();
  await keys.storage.commit({ steps: [{ query: insert }], entries: [] });
  const { backups } = await keys.call('key.destroy', 'k', {});
  assert.equal(backups.length, count);
  const detail = JSON.parse((await keys.entries()).at(-1)!.detail!);
  assert.deepEqual([detail.backupCount, detail.backups.at(-1)], [count, rows.at(-1)!.id]);
});

test('a refused command leaves no intent behind, unless what it left cannot be removed', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', keystore: 'file', algorithm: 'p-256', purpose: 'sign' });
  const past = formatTime(keys.clock.now() - 1000);
  await assert.rejects(
    keys.call('key.rotate', 'k', { activatesAt: past }),
    refused('invalid-request'),
  );
  assert.deepEqual(await keys.intents(), []);
  const [intent, outcome] = (await keys.entries()).slice(-2);
  assert.deepEqual([intent!.kind, outcome!.outcome], ['intent', 'invalid-request']);
  assert.equal(outcome!.intentId, intent!.intentId);

  const file = keys.keystores.named('file');
  const { destroy } = file;
  file.destroy = async () => {
    throw new KeyreeveError('keystore-unavailable', 'The folder is away.');
  };
  const insertVersion = keys.keys.store.insertVersion.bind(keys.keys.store);
  keys.keys.store.insertVersion = (version, stored) => ({
    ...insertVersion(version, stored),
    expect: { rows: 0, code: 'conflict', message: 'Refused by the test.' },
  });
  await assert.rejects(keys.call('key.rotate', 'k', {}), refused('conflict'));
  assert.equal((await keys.intents()).length, 1);
  file.destroy = destroy;
});

test('an unwrapped import names the key that unwrapped it', async () => {
  await using keys = await open();
  const wrapper = await keys.create({ name: 'w', algorithm: 'aes-256', purpose: 'wrap' });
  using target = new SecretBytes(Buffer.alloc(32, 7));
  const record = await keys.keys.store.find('w');
  const { privateKey } = await keys.keys.open(record!.versions[0]!);
  const body = keyImportBody.parse({
    name: 'imported',
    algorithm: 'aes-256',
    purpose: 'encrypt',
    wrapped: wrapKey('aes-kwp', privateKey, target).toString('base64'),
    wrappingKey: 'w',
  });
  const take = () =>
    keys.handlers['key.import']({
      caller: keys.caller(),
      params: {} as never,
      query: {} as never,
      body,
      idempotencyKey: undefined,
    });
  keys.allowOnly((resource) => resource.type === 'key' && resource.id !== wrapper.id);
  await assert.rejects(take(), refused('forbidden'));
  keys.allowOnly(() => true);
  await take();
  const use = (await keys.entries()).find((entry) => entry.action === 'key.unwrap');
  assert.deepEqual([use!.kind, use!.keyId, use!.keyVersion], ['use', wrapper.id, '1']);
});

test('a list filtered by label takes no key for a label that every object has', async () => {
  await using keys = await open();
  await keys.create({ name: 'k', algorithm: 'p-256', purpose: 'sign', labels: { team: 'a' } });
  const list = async (label: string) =>
    (await keys.call('key.list', '', {}, undefined, { label, limit: 50 })).items.length;
  assert.deepEqual([await list('team'), await list('team=a'), await list('team=b')], [1, 1, 0]);
  for (const label of ['constructor', 'toString', '__proto__']) assert.equal(await list(label), 0);
});

test('a list never names a key that the caller may not see, where it goes on either', async () => {
  await using keys = await open();
  const made = await keys.create({ name: 'hidden/0', algorithm: 'ed25519', purpose: 'sign' });
  const record = await keys.keys.store.fresh(made.id);
  const steps = Array.from({ length: listScanMax }, (_, index) => {
    const id = newId('key');
    const name = `hidden/n${String(index).padStart(5, '0')}`;
    return keys.keys.store.insertKey({ ...record, id, name }, keys.clock.now());
  });
  await keys.storage.commit({ steps, entries: [] });
  await keys.create({ name: 'seen', algorithm: 'ed25519', purpose: 'sign' });
  keys.allowOnly((resource) => resource.type === 'key' && resource.name === 'seen');
  const list = (after?: string) =>
    keys.call('key.list', '', {}, undefined, { limit: 50, ...(after ? { after } : {}) });
  const first = await list();
  assert.deepEqual(first.items, []);
  assert.match(first.next!, /^~/);
  const second = await list(first.next!);
  assert.deepEqual(
    second.items.map((key) => key.name),
    ['seen'],
  );
  assert.equal(second.next, null);
  await assert.rejects(list(`~${'a'.repeat(40)}`), refused('invalid-request'));
});
