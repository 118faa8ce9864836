import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { eventually } from '../../test/eventually.ts';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { skip } from '../../test/tools.ts';
import { KeyreeveError } from '../base/errors.ts';
import { reservedBlockUses } from './counted-uses.ts';
import { createDestruction, settleIntents, type Tombstone } from './keys.ts';
import { openTestKeys } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
let server: TestPostgres | undefined;
let databases = 0;
before((t) => {
  server = startPostgres(t as TestContext);
});
after(() => server?.remove());

type Node = Awaited<ReturnType<typeof openTestKeys>>;

/** Two nodes on one database, with one store key and one folder of key files. */
async function openNodes(t: TestContext): Promise<{ a: Node; b: Node } | undefined> {
  if (server === undefined) {
    skip(t, 'PostgreSQL is not here');
    return undefined;
  }
  const databaseUrl = server.createDatabase(`nodes${databases++}`);
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-nodes-'));
  const a = await openTestKeys({ databaseUrl, folder });
  const b = await openTestKeys({ databaseUrl, folder, storeKey: a.storeKey });
  t.after(async () => {
    await Promise.all([a.close(), b.close()]);
    rmSync(folder, { recursive: true });
  });
  return { a, b };
}

/** Lets a node hear of what the other one has written. */
const catchUp = ({ storage }: Node) => storage.refreshEpoch();

test('two nodes that count the uses of one key never count the same ones', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.create({
    ...{ name: 'k', algorithm: 'aes-256', purpose: 'encrypt', schemes: ['aes-256-gcm'] },
  });
  await Promise.all([a, b].map((node) => node.call('key.encrypt', 'k', { plaintext: data })));
  const row = await a.storage.db
    .selectFrom('key_version')
    .select('uses_reserved')
    .executeTakeFirstOrThrow();
  assert.equal(row.uses_reserved, 2 * reservedBlockUses);
});

test('a system key that two nodes make at once is one key', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const made = await Promise.all(
    [nodes.a, nodes.b].map(({ keys }) => keys.systemKey('system/tls', 'p-256', 'ca')),
  );
  assert.equal(made[0]!.fingerprint, made[1]!.fingerprint);
});

test('a list goes on at the other node where it was hidden', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  const { id } = await a.create({ name: 'hidden/0', algorithm: 'ed25519', purpose: 'sign' });
  const record = await a.keys.store.fresh(id);
  const steps = Array.from({ length: 2100 }, (_, index) => {
    const number = String(index)
      .padStart(26, '0')
      .replace(/[0189]/g, 'a');
    const name = `hidden/n${String(index).padStart(5, '0')}`;
    return a.keys.store.insertKey({ ...record, id: `key_${number}${index}`, name }, 0);
  });
  await a.storage.commit({ steps, entries: [] });
  await a.create({ name: 'seen', algorithm: 'ed25519', purpose: 'sign' });
  for (const { rights } of [a, b]) {
    rights.authorise = (_caller, _action, resource) => {
      if (resource.type === 'key' && resource.name === 'seen') return;
      throw new KeyreeveError('forbidden', 'no');
    };
  }
  const list = (node: Node, after?: string) =>
    node.call('key.list', '', {}, undefined, { limit: 50, ...(after ? { after } : {}) });
  const first = await list(a);
  assert.deepEqual(first.items, []);
  const second = await list(b, first.next!);
  assert.deepEqual(
    second.items.map((key) => key.name),
    ['seen'],
  );
});

test('a version whose write had no answer does not stand for the one that another node made', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  await a.create({ name: 'k', algorithm: 'p-256', purpose: 'sign' });
  await catchUp(b);
  const { commit } = b.storage;
  const unanswered = new KeyreeveError('outcome-unknown', 'It does not answer.');
  // The write comes to nothing, and nobody knows.
  Object.assign(b.storage, { commit: () => Promise.reject(unanswered) });
  await assert.rejects(b.call('key.rotate', 'k', {}), unanswered);
  Object.assign(b.storage, { commit });
  await a.call('key.rotate', 'k', {});
  await catchUp(b);
  const { signature, version } = await b.call('key.sign', 'k', { data });
  assert.equal(version, 2);
  assert.equal((await a.call('key.verify', 'k', { data, signature })).valid, true);
});

test('a key that one node destroys is forgotten by the other', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  const made = await a.create({
    ...{ name: 'k', algorithm: 'p-256', purpose: 'sign' },
    policy: { destroyAfterSeconds: 3600 },
  });
  await catchUp(b);
  await b.call('key.sign', 'k', { data });
  assert.equal(await b.keys.forgetDestroyed(), 0);
  await a.call('key.destroy', 'k', { afterSeconds: 3600 });
  const buried: Tombstone[] = [];
  const destruction = createDestruction({
    ...{ keys: a.keys, clock: a.clock, isClockUnsafe: () => false },
    bury: async (tombstone) => void buried.push(tombstone),
  });
  a.clock.advance(3600 + 59);
  assert.equal(await destruction.run(), 0, 'for the slowest clock it is not over yet');
  a.clock.advance(1);
  assert.equal(await destruction.run(), 1);
  assert.deepEqual(
    buried.map(({ keyId }) => keyId),
    [made.id],
  );
  assert.equal(await b.keys.forgetDestroyed(), 1);
  assert.equal(await b.keys.forgetDestroyed(), 0);
});

test('a node that slept while another took back what it had begun is refused, and leaves nothing', async (t) => {
  const nodes = await openNodes(t);
  if (nodes === undefined) return;
  const { a, b } = nodes;
  const file = a.keystores.named('file');
  let wake: () => void = () => undefined;
  const asleep = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const { generate } = file;
  Object.assign(file, {
    generate: async (...asked: Parameters<typeof generate>) => {
      const stored = await generate(...asked);
      await asleep;
      return stored;
    },
  });
  const making = a.create({ name: 'k', algorithm: 'p-256', purpose: 'sign', keystore: 'file' });
  const health = () => b.storage.db.selectFrom('intent').select('payload_json').execute();
  const identity = async () => JSON.parse((await health())[0]?.payload_json ?? '{}');
  await eventually(async () => {
    const found = await identity();
    return found.keyId !== undefined && (await file.exists(found).catch(() => false));
  });
  const left = await identity();
  const isOrphan = (nodeId: string) => nodeId === a.storage.nodeId;
  assert.equal(await settleIntents(b.keys, { isOrphan: () => false }), 0);
  assert.equal(await settleIntents(b.keys, { isOrphan }), 1);
  assert.equal(await file.exists(left), false);
  wake();
  await assert.rejects(making, { code: 'conflict', message: /taken it back/ });
  await catchUp(b);
  await assert.rejects(b.call('key.show', 'k'), { code: 'not-found' });
  assert.equal(await settleIntents(b.keys), 0);
});
