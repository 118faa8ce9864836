import type pg from 'pg';
import type { Step, Write } from './contract.ts';
import {
  brokenExpectation,
  type EncodedEntry,
  type EntryEncoder,
  encodeEntries,
  type PlainError,
} from './group.ts';
import { isConstraint, isStatementFault } from './postgres-errors.ts';
import { waitForWriteLock } from './postgres-lock.ts';

const insertEntries = `INSERT INTO "entry_tail" ("leaf", "opening")
  SELECT "leaf", "opening" FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY
  AS "given" ("leaf", "opening", "place") ORDER BY "place"`;
const insertOutbox = `INSERT INTO "outbox" ("topic", "payload_json", "created_at", "attempts",
  "next_attempt_at") VALUES ($1, $2, $3, 0, $3)`;
const readEpoch = 'SELECT "value" FROM "epoch" WHERE "id" = 1';
const raiseEpoch = 'UPDATE "epoch" SET "value" = "value" + $1 WHERE "id" = 1 RETURNING "value"';
const beginWrites = `BEGIN ISOLATION LEVEL READ COMMITTED; ${waitForWriteLock}; ${readEpoch}`;

export interface FilledTransaction {
  readonly epoch: number;
  /** False where it may have written nothing. */
  readonly isWritten: boolean;
  readonly failures: readonly (readonly [number, PlainError])[];
}

/** What fills a transaction, or is one. `committing` is told before what may take effect is sent. */
export type FillGroup = (
  client: pg.Client,
  writes: readonly Write[],
  options: {
    readonly probe: boolean;
    readonly encode: EntryEncoder;
    readonly now: number;
    readonly committing: () => void;
  },
) => Promise<FilledTransaction>;

/** Writes that add entries and do nothing else: uses of keys, and most refusals. */
export function onlyAppends({ steps, outbox, raisesEpoch }: Write): boolean {
  return steps.length === 0 && (outbox?.length ?? 0) === 0 && raisesEpoch !== true;
}

/**
 * A group that changes something. Of these one is under way in the whole database, from before its
 * first statement until it is committed, whichever node it is of: what its steps demand of the rows
 * holds as it does with the one writer of SQLite. So READ COMMITTED is enough, where SERIALIZABLE
 * would abort one of any two groups: both raise the epoch, and small tables are locked by whole
 * pages. A node that stops in the midst of a group loses its turn by
 * `idle_in_transaction_session_timeout`. A savepoint for each member that has steps, then the
 * entries of all members that stay, in their order. Throws where the group must fail.
 */
export const fillWrites: FillGroup = async (client, writes, options) => {
  const { probe, encode, now } = options;
  const begun = (await client.query(beginWrites)) as unknown as pg.QueryResult<{ value: number }>[];
  const failures: [number, PlainError][] = [];
  const entries: EncodedEntry[] = [];
  let raised = false;
  for (let index = 0; index < writes.length; index++) {
    const write = writes[index]!;
    const encoded = encodeEntries(encode, write.entries);
    const failure = 'code' in encoded ? encoded : await runMember(client, write, now);
    if (failure !== undefined) {
      failures.push([index, failure]);
    } else if (!('code' in encoded)) {
      entries.push(...encoded);
      raised ||= write.raisesEpoch ?? false;
    }
  }
  if (entries.length > 0) await client.query(insertQuery('insert-entries', insertEntries, entries));
  let epoch = begun.at(-1)!.rows[0]!.value;
  if (raised || probe) {
    const { rows } = await client.query<{ value: number }>(raiseEpoch, [raised ? 1 : 0]);
    epoch = rows[0]!.value;
  }
  options.committing();
  const { command } = await client.query('COMMIT');
  if (command !== 'COMMIT') throw new Error(`COMMIT was answered with ${command}`);
  return { epoch, failures, isWritten: entries.length > 0 || raised || probe };
};

/**
 * A group that only adds entries: one statement, which is its own transaction. It demands nothing of
 * any row, and no step of a write looks for entries that it does not name, so it needs no turn and no
 * isolation: any number of these run beside each other and beside the one group that changes
 * something. The epoch is the one of the moment at which the statement began.
 */
export const appendEntries: FillGroup = async (client, writes, options) => {
  const { probe, encode } = options;
  const failures: [number, PlainError][] = [];
  const entries: EncodedEntry[] = [];
  writes.forEach((write, index) => {
    const encoded = encodeEntries(encode, write.entries);
    if ('code' in encoded) failures.push([index, encoded]);
    else entries.push(...encoded);
  });
  let result: pg.QueryResult<{ value: number }>;
  if (entries.length > 0) {
    options.committing();
    const text = `WITH "added" AS (${insertEntries}) ${readEpoch}`;
    result = await client.query(insertQuery('append-entries', text, entries));
  } else {
    result = probe ? await client.query(raiseEpoch, [0]) : await client.query(readEpoch);
  }
  const isWritten = entries.length > 0 || probe;
  return { epoch: result.rows[0]!.value, failures, isWritten };
};

function insertQuery(name: string, text: string, entries: readonly EncodedEntry[]) {
  const values = [entries.map(({ leaf }) => leaf), entries.map(({ opening }) => opening)];
  return { name, text, values };
}

async function runMember(
  client: pg.Client,
  write: Write,
  now: number,
): Promise<PlainError | undefined> {
  const outbox = write.outbox ?? [];
  if (write.steps.length === 0 && outbox.length === 0) return undefined;
  await client.query('SAVEPOINT member');
  let failure: PlainError | undefined;
  for (const step of write.steps) {
    failure = await runStep(client, step);
    if (failure !== undefined) break;
  }
  if (failure === undefined) {
    for (const { topic, payload } of outbox) {
      await client.query(insertOutbox, [topic, payload, now]);
    }
  } else {
    await client.query('ROLLBACK TO SAVEPOINT member');
  }
  await client.query('RELEASE SAVEPOINT member');
  return failure;
}

async function runStep(
  client: pg.Client,
  { query, expect }: Step,
): Promise<PlainError | undefined> {
  let rows: number;
  try {
    const result = await client.query(query.sql, [...query.parameters]);
    rows = result.rowCount ?? 0;
  } catch (error) {
    const detail = String(error);
    if (isConstraint(error)) {
      if (expect !== undefined) return brokenExpectation(expect);
      return {
        code: 'conflict',
        message: 'something changed meanwhile',
        hint: 'try again',
        detail,
      };
    }
    if (!isStatementFault(error)) throw error;
    return { code: 'internal', message: 'a database statement failed', detail };
  }
  return expect === undefined || rows === expect.rows ? undefined : brokenExpectation(expect);
}
