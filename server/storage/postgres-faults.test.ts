import assert from 'node:assert/strict';
import { type AddressInfo, createServer, connect as openSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import pg from 'pg';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { addMeta, entry, eventually, metaNames, openAt, setMeta } from './storage.fixture.ts';
import { hasCode } from './storage.suite.ts';
import type { Storage } from './storage.ts';

const password = 'never-to-be-shown';
const endSessions = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`;
let server: TestPostgres | undefined;
let databases = 0;

after(() => server?.remove());

function newDatabase(t: TestContext): { name: string; url: string } | undefined {
  server ??= startPostgres(t);
  if (server === undefined) return undefined;
  const name = `faults_${++databases}`;
  return { name, url: server.createDatabase(name) };
}

function openDatabase(
  databaseUrl: string,
  commitTimeoutSeconds = 5,
  alone = false,
): Promise<Storage> {
  const place = { dataFolder: join(tmpdir(), 'unused'), databaseUrl };
  return openAt(place, { commitTimeoutSeconds, alone });
}

test('a connection that breaks at COMMIT leaves the outcome unknown, and is made anew', async (t) => {
  for (const mode of ['cut after COMMIT', 'cut before COMMIT'] as const) {
    const database = newDatabase(t);
    if (database === undefined) return;
    const proxy = await startProxy(t, database.name);
    const storage = await openDatabase(proxy.url);
    t.after(() => storage.close());
    await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
    proxy.mode = mode;
    const write = { steps: [addMeta(storage, 'unknown')], entries: [entry()] };
    await assert.rejects(storage.commit(write), (error) => {
      assert.ok(isKeyreeveError(error, 'outcome-unknown'));
      assert.match(error.hint ?? '', /same idempotency key/);
      return true;
    });
    proxy.mode = 'pass';
    await eventually(() => storage.health().ready);
    await storage.commit({ steps: [addMeta(storage, 'after')], entries: [] });
    const kept = mode === 'cut after COMMIT' ? ['unknown'] : [];
    assert.deepEqual(await metaNames(storage), ['after', 'before', ...kept]);
  }
});

test('a server that hangs is given up in time, and nothing was changed', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const proxy = await startProxy(t, database.name);
  const storage = await openDatabase(proxy.url, 1);
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  proxy.mode = 'hang';
  const started = performance.now();
  const write = { steps: [addMeta(storage, 'hanging')], entries: [] };
  await Promise.all([
    assert.rejects(storage.commit(write), hasCode('storage-unavailable')),
    assert.rejects(metaNames(storage), hasCode('storage-unavailable')),
  ]);
  const waited = performance.now() - started;
  assert.ok(waited > 900 && waited < 2500, `the answer took ${waited} ms`);
  await assert.rejects(storage.commit(write), hasCode('storage-unavailable'));
  proxy.mode = 'pass';
  await eventually(() => storage.health().ready);
  assert.deepEqual(await metaNames(storage), ['before']);
});

test('a process that lost the lock to who needs the database alone waits until it has it again', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const first = await openDatabase(database.url);
  t.after(() => first.close());
  await first.commit({ steps: [addMeta(first, 'first')], entries: [] });
  server!.sql(database.name, endSessions);
  const second = await openDatabase(database.url, 5, true);
  const write = { steps: [addMeta(first, 'too late')], entries: [] };
  await assert.rejects(first.commit(write), hasCode('storage-unavailable'));
  await eventually(() => /another process/.test(first.health().reason ?? ''));
  await second.commit({ steps: [addMeta(second, 'second')], entries: [], raisesEpoch: true });
  await second.close();
  await eventually(() => first.health().ready);
  assert.equal(first.epoch, 1, 'the epoch that the other raised was not seen');
  assert.deepEqual(await metaNames(first), ['first', 'second']);
});

test('a group that meets a change of another session is tried again', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const storage = await openDatabase(database.url);
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'row', 'old')], entries: [] });
  const other = new pg.Client({ connectionString: database.url });
  await other.connect();
  await other.query('BEGIN');
  await other.query(`UPDATE "meta" SET "value" = 'theirs' WHERE "name" = 'row'`);
  const ours = storage.commit({ steps: [setMeta(storage, 'row', 'ours')], entries: [entry()] });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await other.query('COMMIT');
  await other.end();
  await ours;
  const row = await storage.db.selectFrom('meta').select('value').executeTakeFirst();
  assert.equal(row?.value, 'ours');
  assert.equal((await storage.db.selectFrom('entry_tail').select('id').execute()).length, 1);
});

test('a database that cannot be reached refuses the start without naming the password', async () => {
  const nowhere = `postgresql://keyreeve:${password}@127.0.0.1:1/keyreeve`;
  await assert.rejects(openDatabase(nowhere), (error) => {
    assert.ok(isKeyreeveError(error, 'storage-unavailable'));
    const told = `${error.message} ${error.hint} ${error.stack} ${String(error.cause)}`;
    assert.equal(told.includes(password), false);
    return true;
  });
});

type ProxyMode = 'pass' | 'hang' | 'cut before COMMIT' | 'cut after COMMIT';

/** A small TCP server before the socket of PostgreSQL, which fails as it is told to. */
async function startProxy(t: TestContext, name: string): Promise<{ url: string; mode: ProxyMode }> {
  const path = join(server!.socketFolder, `.s.PGSQL.${server!.port}`);
  const sockets = new Set<Socket>();
  const proxy = { url: '', mode: 'pass' as ProxyMode };
  const listener = createServer((client) => {
    const upstream = openSocket(path);
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', cut);
      socket.on('close', cut);
    }
    client.on('data', (data) => {
      if (proxy.mode === 'hang') return;
      const commits = proxy.mode !== 'pass' && data.includes('COMMIT\0');
      if (commits && proxy.mode === 'cut before COMMIT') cut();
      else upstream.write(data);
      if (commits && proxy.mode === 'cut after COMMIT') upstream.once('data', cut);
    });
    upstream.on('data', (data) => {
      const dropped = proxy.mode === 'hang' || upstream.listenerCount('data') > 1;
      if (!dropped) client.write(data);
    });
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = listener.address() as AddressInfo;
  proxy.url = `postgresql://postgres@127.0.0.1:${port}/${name}`;
  return proxy;
}
