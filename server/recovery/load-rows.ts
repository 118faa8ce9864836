import { type RawBuilder, sql } from 'kysely';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Step, Storage, TableName } from '../storage/storage.ts';
import { backupTables, invalidBackup, type Row } from './backup-format.ts';

/** Rows of one statement, and bytes of one commit: what is in memory twice. */
const rowsPerStatement = 50;
const bytesPerCommit = 4 * 1024 * 1024;
const rowsPerCommit = 5000;
/** Tables whose ids are counted up, and how far a restored counter jumps. */
const countedTables = { entry_tail: 0, outbox: 1_000_000_000 } as const;

/** Puts rows of a backup into a fresh database. Throws `backup-invalid` for rows it cannot take. */
export async function loadRows(
  storage: Storage,
  table: string,
  rows: readonly Row[],
): Promise<void> {
  if (!(backupTables as readonly string[]).includes(table)) {
    throw invalidBackup(`it has a table ${table}, which has no place in it`);
  }
  let steps: Step[] = [];
  let bytes = 0;
  let count = 0;
  for (const group of sameColumns(rows)) {
    steps.push(insert(storage, table as TableName, group));
    bytes += group.reduce((sum, row) => sum + sizeOf(row), 0);
    count += group.length;
    if (bytes < bytesPerCommit && count < rowsPerCommit) continue;
    await commit(storage, table, steps);
    steps = [];
    bytes = 0;
    count = 0;
  }
  if (steps.length > 0) await commit(storage, table, steps);
}

/**
 * Sets counters of ids behind what was restored. Messages that left after the backup had ids too:
 * receivers tell repeats by them, so that the outbox goes on far behind.
 */
export async function continueCounters(storage: Storage, now: number): Promise<void> {
  const { db, dialect } = storage;
  for (const [table, jump] of Object.entries(countedTables) as [
    keyof typeof countedTables,
    number,
  ][]) {
    const row = await db
      .selectFrom(table)
      .select(({ fn }) => fn.max('id').as('last'))
      .executeTakeFirst();
    const next = Number(row?.last ?? 0) + jump;
    if (next === 0) continue;
    await storage.commit({ steps: counterSteps(storage, dialect, table, next), entries: [] });
  }
  await continueCrls(storage, now);
}

/**
 * CRLs that were published after the backup had numbers too, and numbers never go back or come
 * twice (RFC 5280, section 5.2.3). A version publishes at most one each five seconds, so that its
 * numbers never catch up with the seconds since 1970: the next one is above those of every restore
 * before, of whichever backup. It is due at once, and whoever was making one is no more.
 */
async function continueCrls(storage: Storage, now: number): Promise<void> {
  const seconds = Math.floor(now / 1000);
  const query = storage.db
    .updateTable('ca_version')
    .set({
      // A CA that was taken over may have brought numbers that are higher.
      crl_number: sql<number>`CASE WHEN "crl_number" < CAST(${seconds} AS BIGINT)
        THEN CAST(${seconds} AS BIGINT) ELSE "crl_number" + CAST(${seconds} AS BIGINT) END`,
      crl_due_at: sql<number | null>`CASE WHEN "crl_due_at" IS NULL THEN NULL
        ELSE CAST(${now} AS BIGINT) END`,
      crl_claimed_by: null,
      crl_claimed_until: null,
    })
    .compile();
  await storage.commit({ steps: [{ query }], entries: [] });
}

function counterSteps(
  { db }: Storage,
  dialect: Storage['dialect'],
  table: keyof typeof countedTables,
  value: number,
): Step[] {
  const statements: RawBuilder<unknown>[] =
    dialect === 'postgres'
      ? [sql`SELECT setval(pg_get_serial_sequence(${table}, 'id'), ${value})`]
      : [
          sql`DELETE FROM "sqlite_sequence" WHERE "name" = ${table}`,
          sql`INSERT INTO "sqlite_sequence" ("name", "seq") VALUES (${table}, ${value})`,
        ];
  return statements.map((statement) => ({ query: statement.compile(db) }));
}

/** Runs of rows with the same columns, each short enough for one statement. */
function* sameColumns(rows: readonly Row[]): Generator<readonly Row[]> {
  let group: Row[] = [];
  let columns = '';
  for (const row of rows) {
    const own = Object.keys(row).join(',');
    if (group.length > 0 && (own !== columns || group.length === rowsPerStatement)) {
      yield group;
      group = [];
    }
    columns = own;
    group.push(row);
  }
  if (group.length > 0) yield group;
}

function insert({ db }: Storage, table: TableName, rows: readonly Row[]): Step {
  const query = db
    .insertInto(table)
    .values(rows as never)
    .compile();
  return {
    query,
    expect: { rows: rows.length, code: 'backup-invalid', message: notTaken(table) },
  };
}

async function commit(storage: Storage, table: string, steps: Step[]): Promise<void> {
  try {
    await storage.commit({ steps, entries: [] });
  } catch (error) {
    // A statement that the database does not take at all: a column or kind it does not know.
    if (!isKeyreeveError(error, 'internal')) throw error;
    throw new KeyreeveError('backup-invalid', notTaken(table), { cause: error });
  }
}

function notTaken(table: string): string {
  return `The backup cannot be used: the database does not take its rows of ${table}.`;
}

function sizeOf(row: Row): number {
  let size = 0;
  for (const value of Object.values(row)) {
    size += typeof value === 'number' || value === null ? 8 : value.length;
  }
  return size;
}
