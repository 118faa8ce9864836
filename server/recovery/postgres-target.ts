import type pg from 'pg';
import { KeyreeveError } from '../base/errors.ts';
import { type TableName, tableNames } from '../storage/storage.ts';
import type { RestoreTarget } from './restore-target.ts';

/** The schema that the tables are built in: a service looks for them elsewhere. */
export const stagingSchema = 'keyreeve_restoring';
/** Key of the advisory lock that a restore holds: `KyRv`, and the number after that of a service. */
const lockKey = [0x4b795276, 2] as const;
const connectTimeoutMilliseconds = 3000;

/** PostgreSQL: built in a schema of its own, whose tables are moved in one transaction. */
export async function postgresTarget(
  databaseUrl: string,
  dataFolder: string,
): Promise<RestoreTarget> {
  const client = await connect(databaseUrl);
  const end = () => client.end().catch(() => undefined);
  try {
    await takeLock(client);
    await requireNoTables(client);
    // What a restore that was killed left behind.
    await client.query(`DROP SCHEMA IF EXISTS ${stagingSchema} CASCADE`);
    await client.query(`CREATE SCHEMA ${stagingSchema}`);
  } catch (error) {
    await end();
    throw databaseFault(error);
  }
  return {
    place: { dataFolder, databaseUrl: withSearchPath(databaseUrl) },
    publish: async () => {
      try {
        await moveTables(client);
      } catch (error) {
        throw databaseFault(error);
      }
      await end();
    },
    abandon: async () => {
      await client.query(`DROP SCHEMA IF EXISTS ${stagingSchema} CASCADE`).catch(() => undefined);
      await end();
    },
  };
}

/** Refuses a database that has tables of ours (`not-empty`). */
export async function requireEmptyDatabase(databaseUrl: string): Promise<void> {
  const client = await connect(databaseUrl);
  try {
    await requireNoTables(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Whether the database has tables of ours. */
export async function hasTables(databaseUrl: string): Promise<boolean> {
  const client = await connect(databaseUrl);
  try {
    return (await ownTables(client)).length > 0;
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function connect(databaseUrl: string): Promise<pg.Client> {
  const { default: driver } = await import('pg');
  const client = new driver.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: connectTimeoutMilliseconds,
    keepAlive: true,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw databaseFault(error);
  }
  return client;
}

async function takeLock(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ locked: boolean }>(
    'SELECT pg_try_advisory_lock($1, $2) AS "locked"',
    [...lockKey],
  );
  if (rows[0]?.locked === true) return;
  throw new KeyreeveError('already-running', 'Another process restores into this database.', {
    hint: 'Wait for it to end.',
  });
}

async function ownTables(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT "tablename" AS "name" FROM pg_tables
      WHERE "schemaname" = current_schema() AND "tablename" = ANY($1)`,
    [tableNames as TableName[]],
  );
  return rows.map(({ name }) => name);
}

async function requireNoTables(client: pg.Client): Promise<void> {
  const [first] = await ownTables(client);
  if (first === undefined) return;
  throw new KeyreeveError('not-empty', `The database is not empty: it has the table ${first}.`, {
    hint: 'Restore into an empty database; keep the old one under another name.',
  });
}

/** Sequences, indexes and constraints go along with their tables. */
async function moveTables(client: pg.Client): Promise<void> {
  const { rows: places } = await client.query<{ place: string }>(
    'SELECT quote_ident(current_schema()) AS "place"',
  );
  const { rows: tables } = await client.query<{ name: string }>(
    'SELECT quote_ident("tablename") AS "name" FROM pg_tables WHERE "schemaname" = $1',
    [stagingSchema],
  );
  await client.query('BEGIN');
  try {
    await requireNoTables(client);
    for (const { name } of tables) {
      await client.query(`ALTER TABLE ${stagingSchema}.${name} SET SCHEMA ${places[0]!.place}`);
    }
    await client.query(`DROP SCHEMA ${stagingSchema}`);
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}

function withSearchPath(databaseUrl: string): string {
  const options = encodeURIComponent(`-c search_path=${stagingSchema}`);
  return `${databaseUrl}${databaseUrl.includes('?') ? '&' : '?'}options=${options}`;
}

function databaseFault(error: unknown): unknown {
  if (error instanceof KeyreeveError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new KeyreeveError('storage-unavailable', `The database refused: ${message}`, {
    hint: 'Check KEYREEVE_DATABASE_URL; a restore needs the right to create schemas and tables.',
    cause: error,
  });
}
