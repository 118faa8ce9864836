import type { DatabaseSync, SQLInputValue } from 'node:sqlite';
import {
  brokenExpectation,
  type EncodedEntry,
  type EntryEncoder,
  encodeEntries,
  type FullWireWrite,
  type GroupReply,
  messageOf,
  type PlainError,
  StorageFault,
  type WireStep,
  type WireWrite,
} from './group.ts';
import { commitFault, databaseFault, isConstraint, statementFault } from './sqlite-errors.ts';
import type { SqliteFile } from './sqlite-file.ts';
import { StatementCache } from './sqlite-statements.ts';

/** Rows of one multi-row insert: fewer calls into SQLite where many entries are waiting. */
const entriesPerInsert = 16;

/** Runs groups on the writer's connection, each in one transaction, a savepoint for each member. */
export class GroupRunner {
  readonly #file: SqliteFile;
  readonly #encoder: EntryEncoder;
  #database: DatabaseSync | undefined;
  #statements: StatementCache | undefined;
  #newestEntry: number;

  constructor(file: SqliteFile, encoder: EntryEncoder, newestEntry: number) {
    this.#file = file;
    this.#encoder = encoder;
    this.#newestEntry = newestEntry;
  }

  /** Commits the group. A probe writes the epoch row as it is, so that a full disk shows. */
  run(writes: readonly WireWrite[], probe: boolean): GroupReply {
    let statements: StatementCache;
    const failures: [number, PlainError][] = [];
    let epoch: number;
    try {
      statements = this.#open();
      const encoded = writes.map((write, index) => this.#encode(write, index, failures));
      statements.get('BEGIN IMMEDIATE').statement.run();
      const raised = this.#runSteps(statements, writes, encoded, failures);
      this.#insertEntries(statements, encoded);
      epoch = touchEpoch(statements, raised, probe);
    } catch (error) {
      this.#rollBack();
      return { committed: false, error: refusal(databaseFault(error) ?? statementFault(error)) };
    }
    try {
      statements.get('COMMIT').statement.run();
    } catch (error) {
      this.#rollBack();
      return { committed: false, error: commitFault(error) };
    }
    if (!this.#file.inPlace()) return { committed: false, error: movedWhileWriting };
    this.#file.remember(epoch, this.#newestEntry);
    return { committed: true, epoch, failures, isWritten: true };
  }

  #open(): StatementCache {
    const database = this.#file.current();
    if (database !== this.#database || this.#statements === undefined) {
      this.#database = database;
      this.#statements = new StatementCache(database);
    }
    return this.#statements;
  }

  #encode(
    write: WireWrite,
    index: number,
    failures: [number, PlainError][],
  ): EncodedEntry[] | undefined {
    const encoded = encodeEntries(this.#encoder, 'steps' in write ? write.entries : write);
    if (!('code' in encoded)) return encoded;
    failures.push([index, encoded]);
    return undefined;
  }

  /** Runs the members in order; true if one that stays raises the epoch. */
  #runSteps(
    statements: StatementCache,
    writes: readonly WireWrite[],
    encoded: (EncodedEntry[] | undefined)[],
    failures: [number, PlainError][],
  ): boolean {
    let raised = false;
    for (let index = 0; index < writes.length; index++) {
      const write = writes[index]!;
      if (!('steps' in write) || encoded[index] === undefined) continue;
      const failure = runMember(statements, write);
      if (failure === undefined) {
        raised ||= write.raisesEpoch;
      } else {
        failures.push([index, failure]);
        encoded[index] = undefined;
      }
    }
    return raised;
  }

  /** Entries go in last, in the order of their writes: nothing in them can be refused any more. */
  #insertEntries(
    statements: StatementCache,
    encoded: readonly (EncodedEntry[] | undefined)[],
  ): void {
    const values: SQLInputValue[] = [];
    for (const entries of encoded) {
      for (const { leaf, opening } of entries ?? []) values.push(leaf, opening);
    }
    for (let start = 0; start < values.length; ) {
      const many = values.length - start >= entriesPerInsert * 2;
      const count = many ? entriesPerInsert : 1;
      const { statement } = statements.get(many ? insertMany : insertOne);
      const { lastInsertRowid } = statement.run(...values.slice(start, start + count * 2));
      this.#newestEntry = Number(lastInsertRowid);
      start += count * 2;
    }
  }

  #rollBack(): void {
    try {
      if (this.#database?.isTransaction) this.#database.exec('ROLLBACK');
    } catch {
      // The connection is beyond help; the next group finds out and says so.
    }
  }
}

const insertOne = 'INSERT INTO "entry_tail" ("leaf", "opening") VALUES (?, ?)';
const insertMany = `${insertOne}${', (?, ?)'.repeat(entriesPerInsert - 1)}`;
const insertOutbox = `INSERT INTO "outbox" ("topic", "payload_json", "created_at", "attempts",
  "next_attempt_at") VALUES (?, ?, ?, 0, ?)`;
const readEpoch = 'SELECT "value" FROM "epoch" WHERE "id" = 1';
const raiseEpoch = 'UPDATE "epoch" SET "value" = "value" + ? WHERE "id" = 1 RETURNING "value"';

const movedWhileWriting: PlainError = {
  code: 'outcome-unknown',
  message: 'the database file was moved while it was written: it may be done, or not',
  hint: 'put it back, then repeat the request with the same idempotency key',
};

/** Runs one member in its savepoint. Returns why it was undone; throws where the group must fail. */
function runMember(statements: StatementCache, write: FullWireWrite): PlainError | undefined {
  statements.get('SAVEPOINT member').statement.run();
  let failure: PlainError | undefined;
  for (const step of write.steps) {
    failure = runStep(statements, step);
    if (failure !== undefined) break;
  }
  if (failure === undefined) {
    for (const { topic, payload } of write.outbox) {
      statements.get(insertOutbox).statement.run(topic, payload, write.now, write.now);
    }
  } else {
    statements.get('ROLLBACK TO member').statement.run();
  }
  statements.get('RELEASE member').statement.run();
  return failure;
}

function runStep(statements: StatementCache, step: WireStep): PlainError | undefined {
  let rows: number;
  try {
    const { statement, returnsRows } = statements.get(step.sql);
    const parameters = step.parameters as readonly SQLInputValue[];
    rows = returnsRows
      ? statement.all(...parameters).length
      : Number(statement.run(...parameters).changes);
  } catch (error) {
    const fault = databaseFault(error);
    if (fault !== undefined) throw new StorageFault(fault);
    if (isConstraint(error)) return constraintFailure(step, messageOf(error));
    return statementFault(error);
  }
  const { expect } = step;
  return expect === undefined || rows === expect.rows ? undefined : brokenExpectation(expect);
}

function constraintFailure({ expect }: WireStep, detail: string): PlainError {
  if (expect !== undefined) return brokenExpectation(expect);
  return { code: 'conflict', message: 'something changed meanwhile', hint: 'try again', detail };
}

function touchEpoch(statements: StatementCache, raised: boolean, probe: boolean): number {
  const row =
    raised || probe
      ? statements.get(raiseEpoch).statement.get(raised ? 1 : 0)
      : statements.get(readEpoch).statement.get();
  return Number(row?.value);
}

/** What stops a start is, in the midst of serving, a database that is not to be had. */
function refusal(error: PlainError): PlainError {
  const startCodes: readonly string[] = [
    'already-running',
    'lax-mode',
    'schema-newer',
    'schema-older',
  ];
  return startCodes.includes(error.code) ? { ...error, code: 'storage-unavailable' } : error;
}
