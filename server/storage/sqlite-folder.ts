import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { StorageFault } from './group.ts';
import { isBusy } from './sqlite-errors.ts';

const folderMode = 0o700;
const fileMode = 0o600;
const modesOfOthers = 0o077;

/** The files of a data folder that storage owns. */
export interface DataFiles {
  readonly folder: string;
  readonly database: string;
  readonly log: string;
  readonly lock: string;
  readonly pid: string;
}

export function dataFiles(folder: string): DataFiles {
  const database = join(folder, 'keyreeve.db');
  return {
    folder,
    database,
    log: `${database}-wal`,
    lock: join(folder, 'lock'),
    pid: join(folder, 'pid'),
  };
}

/**
 * Makes the folder if it is not there, and refuses a folder or file of ours that others may read
 * or write (`lax-mode`, the hint is the command that mends it).
 */
export function prepareFolder(files: DataFiles): void {
  mkdirSync(files.folder, { recursive: true, mode: folderMode });
  refuseLaxMode(files.folder, folderMode);
  for (const path of [files.database, files.log, files.lock, files.pid]) {
    refuseLaxMode(path, fileMode);
  }
}

function refuseLaxMode(path: string, wanted: number): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || (found.mode & modesOfOthers) === 0) return;
  throw new StorageFault({
    code: 'lax-mode',
    message: `${path} is open to other users (mode ${(found.mode & 0o777).toString(8)})`,
    hint: `chmod ${wanted.toString(8)} ${path}`,
  });
}

/** Makes an empty file for the owner alone, if there is none. SQLite gives its side files the same mode. */
export function touchPrivately(path: string): void {
  try {
    closeSync(openSync(path, 'wx', fileMode));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return;
  }
  chmodSync(path, fileMode);
}

/**
 * Which files are open: device and inode of the database and its log. A file that was moved away,
 * deleted or replaced has another identity, or none, at its path.
 */
export type FileIdentity = string | undefined;

/**
 * Asks by path alone. Never open the database or the lock with `node:fs`: closing any descriptor of
 * a file drops all POSIX locks that the process has on it.
 */
export function identityOf(path: string): FileIdentity {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}

/**
 * The address that every connection of this process opens the database by. SQLite's `unix-excl`
 * keeps the index of the log in the memory of the process: in a mapped file, a disk that hangs
 * would stop every thread that asks for memory, the event loop among them. It also keeps other
 * processes off the file.
 */
export function databaseAddress(path: string): URL {
  const address = pathToFileURL(path);
  if (process.platform !== 'win32') address.search = '?vfs=unix-excl';
  return address;
}

/** The lock that refuses a second start on a folder. The kernel lets go of it when the process dies. */
export class FolderLock {
  readonly #files: DataFiles;
  #database: DatabaseSync | undefined;
  #identity: FileIdentity;

  constructor(files: DataFiles) {
    this.#files = files;
  }

  /** Takes the lock, or takes it anew where the lock file is no longer the one that was locked. */
  acquire(): void {
    if (this.#database !== undefined && identityOf(this.#files.lock) === this.#identity) return;
    this.#database?.close();
    this.#database = undefined;
    touchPrivately(this.#files.lock);
    const database = new DatabaseSync(this.#files.lock, { timeout: 0 });
    try {
      // An exclusive transaction that never ends and never writes: the file stays empty.
      database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    } catch (error) {
      database.close();
      throw isBusy(error) ? new StorageFault(this.#alreadyRunning()) : error;
    }
    this.#database = database;
    this.#identity = identityOf(this.#files.lock);
    writeFileSync(this.#files.pid, `${process.pid}\n`, { mode: fileMode });
  }

  release(): void {
    if (this.#database === undefined) return;
    if (identityOf(this.#files.lock) === this.#identity) rmSync(this.#files.pid, { force: true });
    this.#database.close();
    this.#database = undefined;
  }

  #alreadyRunning() {
    return {
      code: 'already-running',
      message: `another process serves ${this.#files.folder}`,
      hint: `stop process ${readPid(this.#files.pid)} first`,
    } as const;
  }
}

function readPid(path: string): string {
  try {
    const text = readFileSync(path, 'utf8').trim();
    return /^[0-9]{1,10}$/.test(text) ? text : '(unknown)';
  } catch {
    return '(unknown)';
  }
}
