import type pg from 'pg';
import { StorageFault } from './group.ts';

/** First half of the keys of our advisory locks: `KyRv`. The number 2 is that of a restore. */
const family = 0x4b795276;
/** Held shared by every process that serves the database, alone by work that needs it for itself. */
const serveLock = 1;
/** Held while the schema is made or changed: one at a time. */
const migrateLock = 3;
/** Held by the one group that changes something: see `postgres-group.ts`. */
const writeLock = 4;
/** With the number of a schema: held shared by the programs of that schema, as they serve. */
const programLockBase = 1000;
const lockAttempts = 10;
const lockPauseMilliseconds = 100;
/** How long another process may take to make or change the schema. */
const migrateWaitMilliseconds = 60_000;

/**
 * Takes the locks of a process that serves, for as long as its connection lives: many may serve at
 * once, but none beside a holder of the database alone. `schema` is the newest one that this
 * program knows. Throws `already-running`, which names the holders.
 */
export async function takeServeLocks(
  client: pg.Client,
  schema: number,
  alone: boolean,
): Promise<void> {
  await takeLock(client, serveLock, alone ? 'pg_try_advisory_lock' : 'pg_try_advisory_lock_shared');
  await takeLock(client, programLockBase + schema, 'pg_try_advisory_lock_shared');
}

/**
 * Inside a transaction, until its end: waits for others that change the schema. The transaction
 * must be READ COMMITTED, so that it sees what they did.
 */
export async function takeMigrateLock(client: pg.Client): Promise<void> {
  await client.query(`SET LOCAL lock_timeout = ${migrateWaitMilliseconds}`);
  await client.query('SELECT pg_advisory_xact_lock($1, $2)', [family, migrateLock]);
}

/**
 * Inside a transaction, until its end: keeps programs of schemas below `floor` out. Throws
 * `already-running` where one serves.
 */
export async function keepOlderOut(client: pg.Client, floor: number): Promise<void> {
  for (let schema = 1; schema < floor; schema++) {
    await takeLock(client, programLockBase + schema, 'pg_try_advisory_xact_lock');
  }
}

/** SQL that waits for the turn to change something, until the end of the transaction. */
export const waitForWriteLock = `SELECT pg_advisory_xact_lock(${family}, ${writeLock})`;

type TryLock = 'pg_try_advisory_lock' | 'pg_try_advisory_lock_shared' | 'pg_try_advisory_xact_lock';

/** A process that was just killed may hold the lock for a moment more: tries for one second. */
async function takeLock(client: pg.Client, number: number, function_: TryLock): Promise<void> {
  for (let attempt = 0; attempt < lockAttempts; attempt++) {
    const { rows } = await client.query<{ locked: boolean }>(
      `SELECT ${function_}($1, $2) AS "locked"`,
      [family, number],
    );
    if (rows[0]?.locked === true) return;
    await new Promise((resolve) => setTimeout(resolve, lockPauseMilliseconds));
  }
  throw new StorageFault({
    code: 'already-running',
    message: 'another process serves this database',
    hint: `stop ${await lockHolders(client, number)} first`,
  });
}

async function lockHolders(client: pg.Client, number: number): Promise<string> {
  const { rows } = await client.query<{ name: string | null; pid: number }>(
    `SELECT a."application_name" AS "name", l."pid" FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a."pid" = l."pid"
      JOIN pg_database d ON d."oid" = l."database" AND d."datname" = current_database()
      WHERE l."locktype" = 'advisory' AND l."granted" AND l."classid" = $1 AND l."objid" = $2
        AND l."pid" <> pg_backend_pid()
      ORDER BY l."pid"`,
    [family, number],
  );
  const names = rows.map(({ name, pid }) => {
    const named = /^keyreeve ([0-9]+) on (.+)$/.exec(name ?? '');
    if (named !== null) return `process ${named[1]} on ${named[2]}`;
    return `the process behind PostgreSQL backend ${pid}`;
  });
  return names.join(', ') || 'the process that holds it';
}
