import type pg from 'pg';
import { StorageFault } from './group.ts';
import {
  createVersionTable,
  type PlannedMigration,
  pendingMigrations,
  type SchemaVersion,
} from './migrate.ts';
import { isRetried, stateOf } from './postgres-errors.ts';
import { keepOlderOut, takeMigrateLock } from './postgres-lock.ts';

/** How long one statement waits for a table: everybody who wants it waits behind. */
const tableWaitMilliseconds = 1000;
const migrateAttempts = 10;
const migratePauseMilliseconds = 500;
const lockNotAvailable = '55P03';

/**
 * Brings the schema up to date in one transaction, or refuses it. One process at a time; another
 * that wants the same finds it done. Programs of older schemas serve on while the migrations are
 * ones that they live with (`Migration.floor`); where an older one serves: `already-running`.
 */
export async function migrateDatabase(
  client: pg.Client,
  plan: readonly PlannedMigration[],
  migrate: boolean,
  now: number,
): Promise<void> {
  if (pendingMigrations(await readVersion(client), plan, migrate).length === 0) return;
  for (let attempt = 1; ; attempt++) {
    await client.query('BEGIN ISOLATION LEVEL READ COMMITTED');
    try {
      await runPending(client, plan, migrate, now);
      await client.query('COMMIT');
      return;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      const busy = stateOf(error) === lockNotAvailable;
      if (!busy && !isRetried(error)) throw error;
      if (attempt === migrateAttempts) throw busy ? new StorageFault(busyTables) : error;
    }
    // Meanwhile those who waited behind get their turn.
    await new Promise((resolve) => setTimeout(resolve, migratePauseMilliseconds));
  }
}

async function runPending(
  client: pg.Client,
  plan: readonly PlannedMigration[],
  migrate: boolean,
  now: number,
): Promise<void> {
  await takeMigrateLock(client);
  // Read again: another may have done it while this one waited.
  const found = await readVersion(client);
  const pending = pendingMigrations(found, plan, migrate);
  if (pending.length === 0) return;
  await keepOlderOut(client, Math.max(...pending.map(({ floor }) => floor)));
  await client.query(`SET LOCAL lock_timeout = ${tableWaitMilliseconds}`);
  if (found.version === 0) await client.query(createVersionTable);
  for (const { id, name, floor, statements } of pending) {
    for (const statement of statements) await client.query(statement);
    await client.query(
      'INSERT INTO "schema_version" ("version", "name", "applied_at") VALUES ($1, $2, $3)',
      [id, name, now],
    );
    if (floor === id) continue;
    await client.query('UPDATE "schema_version" SET "floor" = $1 WHERE "version" = $2', [
      floor,
      id,
    ]);
  }
}

/** The column `floor` came later than the table: its absence counts as none. */
async function readVersion(client: pg.Client): Promise<SchemaVersion> {
  const table = await client.query<{ found: boolean }>(
    `SELECT to_regclass('"schema_version"') IS NOT NULL AS "found"`,
  );
  if (table.rows[0]?.found !== true) return { version: 0, floor: 0 };
  const { rows } = await client.query<{ version: number | null; floor: number | null }>(
    `SELECT max("version") AS "version",
      max(coalesce((to_jsonb("row") ->> 'floor')::bigint, "version")) AS "floor"
      FROM "schema_version" AS "row"`,
  );
  return { version: rows[0]?.version ?? 0, floor: rows[0]?.floor ?? 0 };
}

const busyTables = {
  code: 'storage-unavailable',
  message: 'a table of the database is in use for long: nothing was changed',
  hint: 'try again when the backup or export that reads it has ended',
} as const;
