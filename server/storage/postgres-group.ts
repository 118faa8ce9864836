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

const insertEntries = `INSERT INTO "entry_tail" ("leaf", "opening")
  SELECT "leaf", "opening" FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY
  AS "given" ("leaf", "opening", "place") ORDER BY "place"`;
const insertOutbox = `INSERT INTO "outbox" ("topic", "payload_json", "created_at", "attempts",
  "next_attempt_at") VALUES ($1, $2, $3, 0, $3)`;
const readEpoch = 'SELECT "value" FROM "epoch" WHERE "id" = 1';
const raiseEpoch = 'UPDATE "epoch" SET "value" = "value" + $1 WHERE "id" = 1 RETURNING "value"';

export interface FilledTransaction {
  readonly epoch: number;
  readonly failures: readonly (readonly [number, PlainError])[];
}

/**
 * Everything of a group between BEGIN and COMMIT: a savepoint for each member that has steps, then
 * the entries of all members that stay, in their order. Throws where the group must fail.
 */
export async function fillTransaction(
  client: pg.Client,
  writes: readonly Write[],
  probe: boolean,
  encode: EntryEncoder,
  now: number,
): Promise<FilledTransaction> {
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
  if (entries.length > 0) {
    await client.query({
      name: 'insert-entries',
      text: insertEntries,
      values: [entries.map(({ leaf }) => leaf), entries.map(({ opening }) => opening)],
    });
  }
  const { rows } =
    raised || probe
      ? await client.query<{ value: number }>(raiseEpoch, [raised ? 1 : 0])
      : await client.query<{ value: number }>(readEpoch);
  return { epoch: rows[0]!.value, failures };
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
