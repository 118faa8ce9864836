import assert from 'node:assert/strict';
import { type AddressInfo, createServer, connect as openSocket, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import pg from 'pg';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { migrations } from './migrations/migrations.ts';
import { waitForWriteLock } from './postgres-lock.ts';
import { addMeta, entry, eventually, metaNames, openAt, setMeta } from './storage.fixture.ts';
import { hasCode } from './storage.suite.ts';
import type { Migration, Storage, StorageOptions } from './storage.ts';

const endSessions = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`;
let server: TestPostgres | undefined;
let databases = 0;
after(() => server?.remove());

function newDatabase(t: TestContext): { name: string; url: string } | undefined {
  server ??= startPostgres(t);
  if (server === undefined) return undefined;
  const name = `nodes_${++databases}`;
  return { name, url: server.createDatabase(name) };
}

async function open(
  t: TestContext,
  databaseUrl: string,
  more: Partial<StorageOptions> = {},
): Promise<Storage> {
  const storage = await openAt({ dataFolder: join(tmpdir(), 'unused'), databaseUrl }, more);
  t.after(() => storage.close());
  return storage;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test('an idle node learns of an epoch that another raised, and knows how old its knowledge is', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const [first, second] = [await open(t, database.url), await open(t, database.url)];
  const heard: number[] = [];
  second.onEpoch((epoch) => heard.push(epoch));
  await first.commit({ steps: [addMeta(first, 'x')], entries: [], raisesEpoch: true });
  await eventually(() => second.epoch === 1, 2000);
  assert.deepEqual(heard, [1]);
  for (let round = 0; round < 5; round++) {
    await pause(100);
    assert.ok(second.epochAge() < 1000, `the epoch is ${second.epochAge()} ms old`);
  }
  await first.commit({ steps: [], entries: [], raisesEpoch: true });
  assert.equal(await second.refreshEpoch(), 2);
});

test('a use reads the epoch that another node has raised', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const [first, second] = [await open(t, database.url), await open(t, database.url)];
  for (let epoch = 1; epoch <= 5; epoch++) {
    await first.commit({ steps: [], entries: [], raisesEpoch: true });
    const committed = await second.commit({ steps: [], entries: [entry()] });
    assert.equal(committed.epoch, epoch);
    assert.ok(committed.age() < 1000);
  }
});

test('what a commit says is as old as its beginning, however long it took', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const storage = await open(t, database.url);
  const other = new pg.Client({ connectionString: database.url });
  await other.connect();
  await other.query(`BEGIN; ${waitForWriteLock}`);
  const slow = storage.commit({ steps: [addMeta(storage, 'slow')], entries: [] });
  // Uses need no turn: nothing holds them up.
  await storage.commit({ steps: [], entries: [entry()] });
  await pause(400);
  await other.query('COMMIT');
  await other.end();
  assert.ok((await slow).age() >= 400);
});

test('a node that is cut off says so within a second, and goes on when it is back', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const link = await startLink(t, database.name);
  const storage = await open(t, link.url);
  const other = await open(t, database.url);
  assert.ok(storage.health().ready);
  link.isCut = true;
  await other.commit({ steps: [], entries: [], raisesEpoch: true });
  await pause(1100);
  assert.ok(storage.epochAge() > 1000);
  assert.equal(storage.health().ready, false);
  const asked = performance.now();
  await assert.rejects(storage.refreshEpoch(), hasCode('storage-unavailable'));
  assert.ok(performance.now() - asked < 2500, 'the refusal took too long');
  link.isCut = false;
  await eventually(() => storage.health().ready && storage.epoch === 1);
});

test('a node that is cut off stops in time, whoever waits for an answer', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const link = await startLink(t, database.name, true);
  const storage = await open(t, link.url, { commitTimeoutSeconds: 1 });
  const reading = storage.snapshot(async (db) => {
    link.isCut = true;
    await db.selectFrom('meta').select('name').execute();
  });
  reading.catch(() => undefined);
  await eventually(() => link.isCut);
  await assert.rejects(
    storage.commit({ steps: [addMeta(storage, 'x')], entries: [] }),
    hasCode('storage-unavailable'),
  );
  const asked = performance.now();
  await storage.close();
  assert.ok(performance.now() - asked < 6000, 'the end took too long');
});

test('a connection that is cut while it is made is given up, and another one is made', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const link = await startLink(t, database.name, true);
  const storage = await open(t, link.url, { commitTimeoutSeconds: 1 });
  // The first answers come, and then none: as where the network breaks in the midst of it.
  link.cutAtLock = true;
  server!.sql(database.name, endSessions);
  await eventually(() => link.isCut);
  link.cutAtLock = false;
  await pause(300);
  link.isCut = false;
  await eventually(() => storage.health().ready, 12_000);
  await storage.commit({ steps: [addMeta(storage, 'again')], entries: [entry()] });
});

test('a node that is not in the registry any more is not told by it what is the newest', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const storage = await open(t, database.url);
  const register = () =>
    server!.sql(
      database.name,
      `INSERT INTO node VALUES ('${storage.nodeId}', 'here 1', '1', 0, 0)`,
    );
  register();
  await eventually(() => server!.sql(database.name, 'SELECT seen_at FROM node') !== '0');
  server!.sql(database.name, 'DELETE FROM node');
  await eventually(() => storage.epochAge() > 1000, 3000);
  await assert.rejects(storage.refreshEpoch(), hasCode('storage-unavailable'));
  // A group that changes nothing is no proof either: no standby has agreed to it.
  await assert.rejects(
    storage.commit({ steps: [setMeta(storage, 'nothing', 'x')], entries: [] }),
    hasCode('not-found'),
  );
  assert.ok(storage.epochAge() > 1000);
  register();
  await eventually(() => storage.epochAge() < 1000);
});

test('nodes that change the same rows at once lose no change, and none is refused for it', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const nodes = [await open(t, database.url), await open(t, database.url)];
  await nodes[0]!.commit({ steps: [addMeta(nodes[0]!, 'shared')], entries: [] });
  const rounds = 40;
  const work = nodes.flatMap((node, place) =>
    Array.from({ length: 8 }, async (_, caller) => {
      for (let round = 0; round < rounds; round++) {
        const name = `${place}-${caller}-${round}`;
        await node.commit({
          steps: [addMeta(node, name), setMeta(node, 'shared', name)],
          entries: [entry(name)],
          raisesEpoch: true,
        });
        await node.commit({ steps: [], entries: [entry(`use ${name}`)] });
      }
    }),
  );
  await Promise.all(work);
  const names = await metaNames(nodes[0]!);
  assert.equal(names.length, 1 + 2 * 8 * rounds);
  const entries = server!.sql(database.name, 'SELECT count(*) FROM entry_tail');
  assert.equal(entries, String(2 * 2 * 8 * rounds));
});

const added = (id: number, floor: number | undefined, ...statements: string[]): Migration => ({
  ...{ id, name: `next-${id}`, up: () => statements },
  ...(floor === undefined ? {} : { floor }),
});
const now = migrations.length;

test('a compatible upgrade runs while older nodes serve, which go on with it', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const older = await open(t, database.url);
  const newer = {
    migrations: [...migrations, added(now + 1, now, 'ALTER TABLE "meta" ADD COLUMN "more" TEXT')],
  };
  await assert.rejects(open(t, database.url, newer), hasCode('schema-older'));
  let isDone = false;
  const load = (async () => {
    let count = 0;
    while (!isDone) {
      const name = `row-${++count}`;
      await older.commit({ steps: [addMeta(older, name)], entries: [entry()], raisesEpoch: true });
    }
  })();
  await open(t, database.url, { ...newer, migrate: true });
  isDone = true;
  await load;
  // The older program goes on, and starts again, on the newer schema.
  await older.commit({ steps: [addMeta(older, 'after')], entries: [entry()] });
  const again = await open(t, database.url);
  await again.commit({ steps: [addMeta(again, 'again')], entries: [entry()] });
  server!.sql(database.name, endSessions);
  const reconnected = { steps: [setMeta(older, 'after', 'reconnected')], entries: [] };
  await eventually(() =>
    older.commit(reconnected).then(
      () => true,
      () => false,
    ),
  );
  const floor = `SELECT floor FROM schema_version WHERE version = ${now + 1}`;
  assert.equal(server!.sql(database.name, floor), String(now));
});

test('an upgrade that older programs do not live with waits for none, and keeps them out', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const older = await openAt({ dataFolder: 'unused', databaseUrl: database.url });
  const newer = { migrations: [...migrations, added(now + 1, undefined)], migrate: true };
  await assert.rejects(open(t, database.url, newer), (error) => {
    assert.ok(hasCode('already-running')(error));
    assert.match((error as { hint: string }).hint, new RegExp(`process ${process.pid}\\b`));
    return true;
  });
  await older.commit({ steps: [addMeta(older, 'undisturbed')], entries: [] });
  await older.close();
  await open(t, database.url, newer);
  await assert.rejects(open(t, database.url), hasCode('schema-newer'));
});

test('a floor of before a floor that was raised does not let older programs in', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const history = [...migrations, added(now + 1, undefined), added(now + 2, now)];
  await open(t, database.url, { migrations: history });
  await assert.rejects(open(t, database.url), hasCode('schema-newer'));
});

test('an upgrade whose table is in use for long gives up and changes nothing', async (t) => {
  const database = newDatabase(t);
  if (database === undefined) return;
  const older = await open(t, database.url);
  const newer = {
    migrations: [...migrations, added(now + 1, now, 'ALTER TABLE "meta" ADD COLUMN "more" TEXT')],
    migrate: true,
  };
  const upgrading = older.snapshot(async (db) => {
    await db.selectFrom('meta').select('name').execute();
    const upgraded = open(t, database.url, newer);
    // Nobody waits behind it for longer than one attempt.
    await pause(500);
    await older.commit({ steps: [addMeta(older, 'meanwhile')], entries: [] });
    return { upgraded };
  });
  await (await upgrading).upgraded;
  assert.deepEqual(await metaNames(older), ['meanwhile']);
});

/** A TCP link before the socket of PostgreSQL that swallows everything while it is cut. */
async function startLink(
  t: TestContext,
  name: string,
  // Nobody is told of an end either.
  allowHalfOpen = false,
): Promise<{ url: string; isCut: boolean; cutAtLock: boolean }> {
  const path = join(server!.socketFolder, `.s.PGSQL.${server!.port}`);
  const sockets = new Set<Socket>();
  const link = { url: '', isCut: false, cutAtLock: false };
  const listener = createServer({ allowHalfOpen }, (client) => {
    const upstream = openSocket(path);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', (data) => {
      if (link.cutAtLock && data.includes('client_connection_check_interval = 1000')) {
        if (data.includes('idle_in_transaction')) link.isCut = true;
      }
      if (!link.isCut) upstream.write(data);
    });
    upstream.on('data', (data) => link.isCut || client.write(data));
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    listener.close();
    for (const socket of sockets) socket.destroy();
  });
  link.url = `postgresql://postgres@127.0.0.1:${(listener.address() as AddressInfo).port}/${name}`;
  return link;
}
