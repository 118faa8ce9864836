import { existsSync, linkSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import { ensurePrivateFolder, flushFolder, privateFolderMode } from '../base/files.ts';
import { newId } from '../base/ids.ts';

/** Where a database is built while nobody sees it, and how it is put into its place. */
export interface RestoreTarget {
  /** Where storage opens it. */
  readonly place: { readonly dataFolder: string; readonly databaseUrl?: string };
  /** Puts the finished database, closed by then, into its place, in one step. */
  publish(): Promise<void>;
  /** Removes what was built. */
  abandon(): Promise<void>;
}

const databaseFile = 'keyreeve.db';
const stagingName = /^\.restoring-([0-9]{1,10})-/;
/** What a fresh file system has in its root. */
const notOurs: readonly string[] = ['lost+found'];

/** Refuses a data folder that has anything in it (`not-empty`). */
export function requireEmptyFolder(folder: string): void {
  const found = existsSync(folder) ? readdirSync(folder) : [];
  const first = found.find((name) => !stagingName.test(name) && !notOurs.includes(name));
  if (first === undefined) return;
  throw new KeyreeveError('not-empty', `${folder} is not empty: it has ${first}.`, {
    hint: 'Restore into a folder that is empty or not there; move the old one away first.',
  });
}

/**
 * A folder inside another, that nothing takes for data: on the same file system, so that files can
 * be linked out of it. What a restore that was killed left is removed.
 */
export function makeStaging(folder: string): string {
  ensurePrivateFolder(folder);
  for (const name of readdirSync(folder)) {
    const process = stagingName.exec(name)?.[1];
    if (process === undefined) continue;
    if (isAlive(Number(process))) {
      throw new KeyreeveError('already-running', `Process ${process} restores into ${folder}.`, {
        hint: `Wait for it, or remove ${join(folder, name)} if that process is another program.`,
      });
    }
    rmSync(join(folder, name), { recursive: true, force: true });
  }
  const staging = join(folder, `.restoring-${process.pid}-${newId('int').slice(4, 12)}`);
  mkdirSync(staging, { mode: privateFolderMode });
  return staging;
}

/** SQLite: built in a folder of its own, then linked to its name, which replaces nothing. */
export function sqliteTarget(dataFolder: string): RestoreTarget {
  requireEmptyFolder(dataFolder);
  const staging = makeStaging(dataFolder);
  return {
    place: { dataFolder: staging },
    publish: async () => {
      const built = join(staging, databaseFile);
      const log = statSync(`${built}-wal`, { throwIfNoEntry: false });
      if (log !== undefined && log.size > 0) {
        throw new KeyreeveError('internal', 'The restored database was not closed.');
      }
      requireEmptyFolder(dataFolder);
      linkInto(built, join(dataFolder, databaseFile));
      flushFolder(dataFolder);
      rmSync(staging, { recursive: true, force: true });
    },
    abandon: async () => rmSync(staging, { recursive: true, force: true }),
  };
}

/** Gives a file a second name. An existing one is never replaced: `not-empty`. */
export function linkInto(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new KeyreeveError('not-empty', `${to} is there already.`, {
      hint: 'Move it away, then restore again.',
    });
  }
}

function isAlive(id: number): boolean {
  // In a container every run can have the number of the one before.
  if (id === process.pid) return false;
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
