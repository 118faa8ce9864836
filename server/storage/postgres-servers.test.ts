import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { type PostgresPair, type ServerName, startPostgresPair } from '../../test/postgres-pair.ts';
import { StorageFault } from './group.ts';
import { PostgresServers } from './postgres-servers.ts';

function urlOf({ ports, password, caFile }: PostgresPair, names: readonly ServerName[]): string {
  const hosts = names.map((name) => `localhost:${ports[name]}`).join(',');
  return `postgresql://keyreeve:${password}@${hosts}/keyreeve?sslmode=verify-full&sslrootcert=${caFile}`;
}

async function portOf(connecting: Promise<pg.Client>): Promise<number> {
  const client = await connecting;
  const { rows } = await client.query<{ port: string }>(`SELECT current_setting('port') AS "port"`);
  await client.end();
  return Number(rows[0]!.port);
}

function refusedAs(message: RegExp) {
  return (error: unknown) =>
    error instanceof StorageFault &&
    error.plain.code === 'storage-unavailable' &&
    message.test(error.plain.message);
}

test('of several servers the primary is found, before and after a failover', async (t: TestContext) => {
  const pair = await startPostgresPair(t);
  if (pair === undefined) return;
  t.after(() => pair.remove());
  const { db1, db2 } = pair.ports;
  let replaced = 0;
  const servers = new PostgresServers(urlOf(pair, ['db2', 'db1']), () => replaced++);
  assert.equal(await portOf(servers.connect()), db1);
  // Callers at the same time do not lead each other astray.
  const many = Array.from({ length: 6 }, () => portOf(servers.connect()));
  assert.deepEqual(await Promise.all(many), Array(6).fill(db1));

  const alone = new PostgresServers(urlOf(pair, ['db2']));
  await assert.rejects(alone.connect(), refusedAs(/is a standby/));

  await pair.stop('db1', 'immediate');
  await assert.rejects(servers.connect(), (error: NodeJS.ErrnoException) => {
    // That nobody answers there says more than that the other one is a standby.
    return error.code === 'ECONNREFUSED';
  });
  assert.equal(replaced, 0);
  await pair.promote();
  assert.equal(await portOf(servers.connect()), db2);
  // Whoever still has a connection to the primary before is told, once.
  assert.equal(replaced, 1);

  // The old primary comes back as if nothing had been, and the new one is away: whoever has not seen
  // the new one is deceived, and whoever has is not.
  await pair.start('db1');
  assert.equal(await portOf(servers.connect()), db2);
  await pair.stop('db2', 'immediate');
  assert.equal(await portOf(new PostgresServers(urlOf(pair, ['db2', 'db1'])).connect()), db1);
  await assert.rejects(servers.connect());
  const former = new pg.Client(urlOf(pair, ['db1']));
  await former.connect();
  await assert.rejects(servers.requirePrimary(former), refusedAs(/was replaced/));
  await former.end();
});
