import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { acquireLease, openStorage, type Storage } from '../storage/storage.ts';
import { foreignProcessIsDead } from './node-name.ts';
import { createNodes, type Nodes } from './nodes.ts';

const log = { info() {}, warn() {}, error() {} };
const entryEncoder = new URL('../../test/plain-encoder.ts', import.meta.url);
let server: TestPostgres | undefined;
let databases = 0;
after(() => server?.remove());

interface Node {
  readonly storage: Storage;
  readonly nodes: Nodes;
}

async function startNode(
  t: TestContext,
  databaseUrl: string,
  goneAfterSeconds = 15,
): Promise<Node> {
  const storage = await openStorage({
    ...{ dataFolder: 'unused', databaseUrl, clock: systemClock, log, entryEncoder },
  });
  const nodes = createNodes({ storage, clock: systemClock, log, version: '1.0', goneAfterSeconds });
  await nodes.start();
  t.after(async () => {
    await nodes.stop().catch(() => undefined);
    await storage.close();
  });
  return { storage, nodes };
}

function newDatabase(t: TestContext): { name: string; url: string } | undefined {
  server ??= startPostgres(t);
  if (server === undefined) return undefined;
  const name = `nodes_${++databases}`;
  return { name, url: server.createDatabase(name) };
}

function begin({ storage }: Node): Promise<unknown> {
  const query = storage.db.insertInto('intent').values({
    ...{ id: newId('int'), kind: 'test', payload_json: '{}', entry_id: '', created_at: 1 },
    node_id: storage.nodeId,
  });
  return storage.commit({ steps: [{ query: query.compile() }], entries: [] });
}

test('nodes see each other, and one that stops in order is not missed', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const first = await startNode(t, database.url);
  const second = await startNode(t, database.url);
  let told = 0;
  first.nodes.onNodeGone(async () => told++);
  await first.nodes.look();
  const seen = await first.nodes.status();
  assert.deepEqual(
    seen.map(({ id, isThis }) => [id, isThis]),
    [
      [first.storage.nodeId, true],
      [second.storage.nodeId, false],
    ],
  );
  assert.deepEqual([seen[1]!.name, seen[1]!.version], [`${hostname()} ${process.pid}`, '1.0']);
  assert.ok(Math.abs(seen[1]!.seenAt - Date.now()) < 5000);
  assert.equal(told, 0);
  await begin(second);
  await first.nodes.look();
  assert.equal(first.nodes.isGone(second.storage.nodeId), false);
  await second.nodes.stop();
  assert.equal((await first.nodes.status()).length, 1);
});

test('a node that was not seen for long is gone: its leases end, and the living are told until they settled', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const lost = await startNode(t, database.url);
  await begin(lost);
  const lease = await acquireLease(lost.storage, 'job', lost.storage.nodeId, 600, systemClock);
  assert.ok(lease !== undefined);
  const living = await startNode(t, database.url, 0.5);
  let told = 0;
  living.nodes.onNodeGone(async () => {
    if (++told === 1) throw new Error('the database was away for a moment');
  });
  assert.equal(living.nodes.isGone(lost.storage.nodeId), false);
  // Its process is gone, and nobody says so.
  await lost.storage.close();
  await new Promise((resolve) => setTimeout(resolve, 700));
  await living.nodes.look();
  assert.equal(living.nodes.isGone(lost.storage.nodeId), true);
  assert.equal(living.nodes.isGone(living.storage.nodeId), false);
  assert.equal(told, 1);
  await living.nodes.look();
  await living.nodes.look();
  assert.equal(told, 2);
  const taken = await acquireLease(living.storage, 'job', 'other', 600, systemClock);
  assert.equal(taken?.fence, lease.fence + 1);
});

test('a node that is found to be gone while nothing can be written is found again', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const first = await startNode(t, database.url);
  let isAway = false;
  const storage: Storage = Object.create(first.storage, {
    commit: {
      value: (write: Parameters<Storage['commit']>[0]) =>
        isAway ? Promise.reject(new Error('It is away.')) : first.storage.commit(write),
    },
  });
  const nodes = createNodes({ storage, clock: systemClock, log, version: '1.0' });
  const other = await startNode(t, database.url);
  let told = 0;
  nodes.onNodeGone(async () => told++);
  await nodes.look();
  await other.nodes.stop();
  isAway = true;
  await assert.rejects(nodes.look(), /It is away/);
  assert.equal(told, 0);
  isAway = false;
  await nodes.look();
  assert.deepEqual([told, nodes.isGone(other.storage.nodeId)], [1, true]);
});

test('a node that is not in the registry and has begun something is gone', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const first = await startNode(t, database.url);
  server!.sql(
    database.name,
    `INSERT INTO intent VALUES ('int_x', 'test', '{}', '', 1, 'nod_of_a_restored_backup')`,
  );
  assert.equal(first.nodes.isGone('nod_of_a_restored_backup'), false);
  await first.nodes.look();
  assert.equal(first.nodes.isGone('nod_of_a_restored_backup'), true);
});

test('a node that wakes and was taken for dead goes on under another name', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const sleeper = await startNode(t, database.url);
  const other = await startNode(t, database.url);
  await begin(sleeper);
  await other.nodes.look();
  const before = sleeper.storage.nodeId;
  server!.sql(database.name, `DELETE FROM node WHERE id = '${before}'`);
  await other.nodes.look();
  assert.equal(other.nodes.isGone(before), true);
  await sleeper.nodes.look();
  assert.notEqual(sleeper.storage.nodeId, before);
  assert.equal(sleeper.nodes.isGone(before), true);
  assert.equal(sleeper.nodes.isGone(sleeper.storage.nodeId), false);
  await other.nodes.look();
  assert.equal(other.nodes.isGone(sleeper.storage.nodeId), false);
  assert.equal((await other.nodes.status()).length, 2);
});

test('on SQLite whoever was there before is gone', async (t) => {
  const dataFolder = mkdtempSync(join(tmpdir(), 'keyreeve-nodes-'));
  t.after(() => rmSync(dataFolder, { recursive: true }));
  const start = async () => {
    const storage = await openStorage({ dataFolder, clock: systemClock, log, entryEncoder });
    const nodes = createNodes({ storage, clock: systemClock, log, version: '1.0' });
    await nodes.start();
    return { storage, nodes };
  };
  const killed = await start();
  await killed.storage.close();
  const next = await start();
  assert.equal(next.nodes.isGone(killed.storage.nodeId), true);
  assert.equal(next.nodes.isGone(next.storage.nodeId), false);
  assert.deepEqual(
    (await next.nodes.status()).map(({ id }) => id),
    [next.storage.nodeId],
  );
  await next.nodes.stop();
  assert.deepEqual(await next.nodes.status(), []);
  await next.storage.close();
});

test('a process of this host that is not there any more is dead, and no other', () => {
  const own = { host: 'here', pid: process.pid, startedAt: 1000 };
  const isDead = (name: string, startedAt = 0) => foreignProcessIsDead({ name, startedAt }, own);
  // Above the highest number that a process can have.
  assert.equal(isDead('here 4194305'), true);
  assert.equal(isDead('elsewhere 4194305'), false);
  assert.equal(isDead(`here ${process.ppid}`), false);
  assert.equal(isDead(`here ${process.pid}`), true);
  assert.equal(isDead(`here ${process.pid}`, 2000), false);
  assert.equal(isDead('here x'), false);
});
