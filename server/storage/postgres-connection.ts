import { hostname } from 'node:os';
import pg from 'pg';
import { StorageFault } from './group.ts';
import { createVersionTable, type PlannedMigration, pendingMigrations } from './migrate.ts';

/** Key of the advisory lock that the serving process holds on its database: `KyRv`, then its number. */
const lockKey = [0x4b795276, 1] as const;
const connectTimeoutMilliseconds = 3000;
const lockAttempts = 10;
const lockPauseMilliseconds = 100;
const int8Oid = 20;

/** All numbers of the schema are below 2^53, so that 64-bit integers are read as numbers. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8Oid && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

/** What every connection of ours is made with. */
export function connectionConfig(
  databaseUrl: string,
): pg.ClientConfig & { connectionTimeoutMillis: number } {
  return {
    connectionString: databaseUrl,
    connectionTimeoutMillis: connectTimeoutMilliseconds,
    keepAlive: true,
    fallback_application_name: `keyreeve ${process.pid} on ${hostname()}`.slice(0, 60),
    types,
  };
}

/**
 * Connects, and takes the lock that one process has for as long as this connection lives. Groups are
 * committed on the same connection: a process that lost the lock cannot commit.
 */
export async function connectLocked(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client(connectionConfig(databaseUrl));
  // Without a listener a connection that breaks between two queries would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
    // The server notices a client that is gone in the midst of a statement, and lets the lock go.
    await client.query(`SET synchronous_commit = on; SET client_connection_check_interval = 1000;
      SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
      SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '60s';
      SET default_transaction_read_only = off`);
    await takeLock(client);
    return client;
  } catch (error) {
    client.end().catch(() => {});
    throw error;
  }
}

/** A process that was just killed may hold the lock for a moment more: tries for one second. */
async function takeLock(client: pg.Client): Promise<void> {
  for (let attempt = 0; attempt < lockAttempts; attempt++) {
    const { rows } = await client.query<{ locked: boolean }>(
      'SELECT pg_try_advisory_lock($1, $2) AS "locked"',
      [...lockKey],
    );
    if (rows[0]?.locked === true) return;
    await new Promise((resolve) => setTimeout(resolve, lockPauseMilliseconds));
  }
  throw new StorageFault({
    code: 'already-running',
    message: 'another process serves this database',
    hint: `stop ${await lockHolder(client)} first`,
  });
}

async function lockHolder(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ name: string | null; pid: number }>(
    `SELECT a."application_name" AS "name", l."pid" FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a."pid" = l."pid"
      JOIN pg_database d ON d."oid" = l."database" AND d."datname" = current_database()
      WHERE l."locktype" = 'advisory' AND l."granted" AND l."classid" = $1 AND l."objid" = $2`,
    [...lockKey],
  );
  const named = /^keyreeve ([0-9]+) on (.+)$/.exec(rows[0]?.name ?? '');
  if (named !== null) return `process ${named[1]} on ${named[2]}`;
  return `the process behind PostgreSQL backend ${rows[0]?.pid ?? '(unknown)'}`;
}

/** Brings the schema up to date in one transaction, or refuses it. */
export async function migrateDatabase(
  client: pg.Client,
  plan: readonly PlannedMigration[],
  migrate: boolean,
  now: number,
): Promise<void> {
  const version = await readVersion(client);
  const pending = pendingMigrations(version, plan, migrate);
  if (pending.length === 0) return;
  await client.query('BEGIN');
  try {
    if (version === 0) await client.query(createVersionTable);
    for (const { id, name, statements } of pending) {
      for (const statement of statements) await client.query(statement);
      await client.query(
        'INSERT INTO "schema_version" ("version", "name", "applied_at") VALUES ($1, $2, $3)',
        [id, name, now],
      );
    }
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

async function readVersion(client: pg.Client): Promise<number> {
  const table = await client.query<{ found: boolean }>(
    `SELECT to_regclass('"schema_version"') IS NOT NULL AS "found"`,
  );
  if (table.rows[0]?.found !== true) return 0;
  const { rows } = await client.query<{ version: number | null }>(
    'SELECT max("version") AS "version" FROM "schema_version"',
  );
  return rows[0]?.version ?? 0;
}
