import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { StorageFault } from './group.ts';
import { createVersionTable, type PlannedMigration, pendingMigrations } from './migrate.ts';
import {
  type DataFiles,
  databaseAddress,
  type FileIdentity,
  FolderLock,
  identityOf,
  prepareFolder,
  touchPrivately,
} from './sqlite-folder.ts';

/** `KyRv`: how the file is told from another program's. */
const applicationId = 0x4b795276;
const checkpointPages = 4000;
/**
 * Certificates land all over four indexes: with SQLite's 2 MB a page is read back, from the log or
 * the file, for nearly every one of them.
 */
const cacheKibibytes = 64 * 1024;
const busyTimeoutMilliseconds = 2000;

export interface SqliteFileOptions {
  readonly files: DataFiles;
  readonly plan: readonly PlannedMigration[];
  readonly migrate: boolean;
  readonly now: () => number;
}

/** What was last committed: a file put in place of the open one must not be older. */
interface Mark {
  readonly epoch: number;
  readonly entries: number;
}

/**
 * The writer's connection to the database file. It never writes into a file that is no longer at
 * its path, and opens the file again when it is back.
 */
export class SqliteFile {
  readonly #options: SqliteFileOptions;
  readonly #lock: FolderLock;
  #database: DatabaseSync | undefined;
  #identity: FileIdentity;
  #logIdentity: FileIdentity;
  #mark: Mark | undefined;

  constructor(options: SqliteFileOptions) {
    this.#options = options;
    this.#lock = new FolderLock(options.files);
  }

  /** The first opening: checks modes, takes the lock, makes a fresh database, migrates. */
  start(): DatabaseSync {
    prepareFolder(this.#options.files);
    this.#lock.acquire();
    if (identityOf(this.#options.files.database) === undefined) createDatabase(this.#options);
    return this.#open(this.#options.migrate);
  }

  /** The open connection if its files are where they were; else opens them anew, or refuses. */
  current(): DatabaseSync {
    const { files } = this.#options;
    const identity = identityOf(files.database);
    if (identity === undefined) throw missing(files.database);
    if (this.#database !== undefined && identity === this.#identity) {
      if (identityOf(files.log) === this.#logIdentity) return this.#database;
      rescueLog(this.#database);
    }
    prepareFolder(files);
    this.#lock.acquire();
    this.#database?.close();
    this.#database = undefined;
    const database = this.#open(false);
    this.#refuseOlder(database);
    return database;
  }

  /** True while both files are still the open ones: asked after a commit, before it is believed. */
  inPlace(): boolean {
    const { files } = this.#options;
    return (
      identityOf(files.database) === this.#identity && identityOf(files.log) === this.#logIdentity
    );
  }

  /** Remembers how far the file has come. */
  remember(epoch: number, entries: number): void {
    this.#mark = { epoch, entries };
  }

  /** Moves the log into the database and cuts it, unless a reader holds it or a file is gone. */
  checkpoint(): void {
    if (this.#database === undefined || !this.inPlace()) return;
    try {
      truncateLog(this.#database);
    } catch {
      // Nothing is lost: the log still holds it, and the next group reports what is wrong.
    }
  }

  close(): void {
    this.#database?.close();
    this.#database = undefined;
    this.#lock.release();
  }

  #open(migrate: boolean): DatabaseSync {
    const { files, plan, now } = this.#options;
    const database = new DatabaseSync(databaseAddress(files.database), {
      timeout: busyTimeoutMilliseconds,
    });
    try {
      refuseForeign(database, files.database);
      if (readVersion(database) === 0) throw notOurs(files.database);
      database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
        PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = ${checkpointPages};
        PRAGMA cache_size = -${cacheKibibytes}`);
      migrateDatabase(database, plan, migrate, now());
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
    this.#identity = identityOf(files.database);
    this.#logIdentity = identityOf(files.log);
    return database;
  }

  #refuseOlder(database: DatabaseSync): void {
    const found = readMark(database);
    const mark = this.#mark;
    if (mark === undefined || (found.epoch >= mark.epoch && found.entries >= mark.entries)) return;
    database.close();
    this.#database = undefined;
    throw new StorageFault({
      code: 'storage-unavailable',
      message: 'the database file was replaced by an older one while it was in use',
      hint: 'put the newer file back, or restart the service to serve the older one',
    });
  }
}

/** The epoch, and the number of the newest entry that was ever in the tail. */
export function readMark(database: DatabaseSync): Mark {
  const row = database
    .prepare(
      `SELECT (SELECT "value" FROM "epoch" WHERE "id" = 1) AS "epoch",
        coalesce((SELECT "seq" FROM "sqlite_sequence" WHERE "name" = 'entry_tail'), 0) AS "entries"`,
    )
    .get() as unknown as Mark;
  return { epoch: row.epoch, entries: row.entries };
}

function missing(path: string): StorageFault {
  return new StorageFault({
    code: 'storage-unavailable',
    message: `the database file ${path} is gone`,
    hint: 'put it back where it was; the service goes on by itself',
  });
}

/**
 * Somebody removed the log of an open database: what it held is still readable through the open
 * connection, so it is moved into the database before the files are opened anew.
 */
function rescueLog(database: DatabaseSync): void {
  if (truncateLog(database)) return;
  throw new StorageFault({
    code: 'storage-unavailable',
    message: 'the log of the database was removed and a reader is still at work',
    hint: 'the service goes on by itself when the reader is done',
  });
}

/** Moves the log into the database and cuts it, without waiting for readers. True if it was done. */
function truncateLog(database: DatabaseSync): boolean {
  database.exec('PRAGMA busy_timeout = 0');
  try {
    return database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0;
  } finally {
    database.exec(`PRAGMA busy_timeout = ${busyTimeoutMilliseconds}`);
  }
}

/** Builds the database under another name and renames it: a database is whole or not there. */
function createDatabase(options: SqliteFileOptions): void {
  const { files, plan, now } = options;
  if (identityOf(files.log) !== undefined) {
    throw new StorageFault({
      code: 'integrity-failed',
      message: `${files.database} is gone but its log is still there`,
      hint: 'put the database file back, or restore a backup into an empty folder',
    });
  }
  const unfinished = `${files.database}.new`;
  for (const path of [unfinished, `${unfinished}-journal`]) rmSync(path, { force: true });
  touchPrivately(unfinished);
  const database = new DatabaseSync(unfinished);
  database.exec(`PRAGMA synchronous = FULL; PRAGMA application_id = ${applicationId}`);
  migrateDatabase(database, plan, true, now());
  database.close();
  renameSync(unfinished, files.database);
  flushFolder(files.folder);
}

function flushFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}

function refuseForeign(database: DatabaseSync, path: string): void {
  const found = database.prepare('PRAGMA application_id').get()?.application_id;
  if (found !== applicationId) throw notOurs(path);
}

function notOurs(path: string): StorageFault {
  return new StorageFault({
    code: 'integrity-failed',
    message: `${path} is not a database of Keyreeve`,
    hint: 'restore the newest backup into an empty folder',
  });
}

function migrateDatabase(
  database: DatabaseSync,
  plan: readonly PlannedMigration[],
  migrate: boolean,
  now: number,
): void {
  const found = readVersion(database);
  // One process serves a file: no program lives with a schema that it does not know.
  const pending = pendingMigrations({ version: found, floor: found }, plan, migrate);
  if (pending.length === 0) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    if (found === 0) database.exec(createVersionTable);
    const insert = database.prepare(
      'INSERT INTO "schema_version" ("version", "name", "applied_at") VALUES (?, ?, ?)',
    );
    for (const { id, name, floor, statements } of pending) {
      for (const statement of statements) database.exec(statement);
      insert.run(id, name, now);
      if (floor === id) continue;
      database
        .prepare('UPDATE "schema_version" SET "floor" = ? WHERE "version" = ?')
        .run(floor, id);
    }
    database.exec('COMMIT');
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK');
    throw error;
  }
}

function readVersion(database: DatabaseSync): number {
  const table = database
    .prepare(`SELECT 1 FROM "sqlite_schema" WHERE "name" = 'schema_version'`)
    .get();
  if (table === undefined) return 0;
  const row = database.prepare('SELECT max("version") AS "version" FROM "schema_version"').get();
  return Number(row?.version ?? 0);
}
