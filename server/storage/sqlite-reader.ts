/**
 * A reader thread: one read-only connection. The shared one answers all queries of the process; one
 * with `snapshot` set holds a read transaction for its whole life, and may stream.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { messageOf, type PlainError, StorageFault } from './group.ts';
import { type PackedRows, packRows } from './packed-rows.ts';
import { databaseFault, isReadOnly, statementFault } from './sqlite-errors.ts';
import { databaseAddress, dataFiles, type FileIdentity, identityOf } from './sqlite-folder.ts';
import { StatementCache } from './sqlite-statements.ts';

export interface ReaderSettings {
  readonly dataFolder: string;
  readonly snapshot: boolean;
}

export type ToReader =
  | {
      readonly kind: 'read';
      readonly id: number;
      readonly sql: string;
      readonly parameters: readonly unknown[];
    }
  | {
      readonly kind: 'page';
      readonly id: number;
      /** The stream; the first page opens it, with its SQL. */
      readonly stream: number;
      readonly rows: number;
      readonly open?: { readonly sql: string; readonly parameters: readonly unknown[] };
    }
  | { readonly kind: 'end'; readonly stream: number }
  | { readonly kind: 'close' };

export interface FromReader {
  readonly id: number;
  readonly rows?: PackedRows;
  readonly error?: PlainError;
}

const busyTimeoutMilliseconds = 2000;

class Reader {
  readonly #settings: ReaderSettings;
  readonly #streams = new Map<number, Iterator<unknown>>();
  #database: DatabaseSync | undefined;
  #statements: StatementCache | undefined;
  #identity: FileIdentity;
  #logIdentity: FileIdentity;

  constructor(settings: ReaderSettings) {
    this.#settings = settings;
  }

  read(sql: string, parameters: readonly unknown[]): unknown[] {
    const { statement } = this.#open().get(sql);
    return statement.all(...(parameters as SQLInputValue[]));
  }

  page(stream: number, rows: number, open?: { sql: string; parameters: readonly unknown[] }) {
    if (open !== undefined) {
      // Prepared for itself: an iterator keeps its statement busy until it ends.
      this.#open();
      const statement: StatementSync = this.#database!.prepare(open.sql);
      const parameters = open.parameters as SQLInputValue[];
      this.#streams.set(stream, statement.iterate(...parameters) as Iterator<unknown>);
    }
    const iterator = this.#streams.get(stream);
    const page: unknown[] = [];
    while (iterator !== undefined && page.length < rows) {
      const next = iterator.next();
      if (next.done === true) {
        this.#streams.delete(stream);
        break;
      }
      page.push(next.value);
    }
    return page;
  }

  end(stream: number): void {
    this.#streams.get(stream)?.return?.();
    this.#streams.delete(stream);
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
  }

  /** The connection, opened anew where the files at the path are not the open ones any more. */
  #open(): StatementCache {
    const files = dataFiles(this.#settings.dataFolder);
    const identity = identityOf(files.database);
    if (this.#statements !== undefined && this.#settings.snapshot) return this.#statements;
    if (this.#statements !== undefined && identity === this.#identity) {
      if (identityOf(files.log) === this.#logIdentity) return this.#statements;
    }
    this.close();
    this.#statements = undefined;
    if (identity === undefined) throw new StorageFault(gone);
    const database = new DatabaseSync(databaseAddress(files.database), {
      readOnly: true,
      timeout: busyTimeoutMilliseconds,
    });
    database.exec('PRAGMA query_only = ON');
    if (this.#settings.snapshot) database.exec('BEGIN');
    // The first read opens the log, and pins the state that a snapshot shows.
    database.prepare('SELECT "value" FROM "epoch" WHERE "id" = 1').get();
    this.#database = database;
    this.#statements = new StatementCache(database);
    this.#identity = identityOf(files.database);
    this.#logIdentity = identityOf(files.log);
    return this.#statements;
  }
}

const gone: PlainError = {
  code: 'storage-unavailable',
  message: 'the database file is gone',
  hint: 'put it back where it was; the service goes on by itself',
};

function serve(port: MessagePort, settings: ReaderSettings): void {
  const reader = new Reader(settings);
  const answer = (id: number, read: () => unknown[]) => {
    let reply: FromReader;
    try {
      reply = { id, rows: packRows(read()) };
    } catch (error) {
      reply = { id, error: readFault(error) };
    }
    const bytes = reply.rows?.bytes;
    port.postMessage(reply, bytes === undefined ? [] : [bytes.buffer]);
  };
  port.on('message', (message: ToReader) => {
    switch (message.kind) {
      case 'read':
        answer(message.id, () => reader.read(message.sql, message.parameters));
        break;
      case 'page':
        answer(message.id, () => reader.page(message.stream, message.rows, message.open));
        break;
      case 'end':
        reader.end(message.stream);
        break;
      case 'close':
        reader.close();
        port.close();
        break;
    }
  });
}

function readFault(error: unknown): PlainError {
  if (isReadOnly(error)) {
    return { code: 'internal', message: 'changes go through commit()', detail: messageOf(error) };
  }
  return databaseFault(error) ?? statementFault(error);
}

if (parentPort !== null) serve(parentPort, workerData as ReaderSettings);
