import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Identity, mustRun } from './postgres-programs.ts';
import { run } from './tools.ts';

const cache = join(dirname(import.meta.dirname), 'node_modules', '.cache', 'keyreeve-test');
const options = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync'];

export interface DataFolderPlace {
  readonly binaries: string;
  readonly identity: Identity;
  /** Where the programs run. */
  readonly folder: string;
}

/**
 * The data folder of a fresh server, whose superuser `postgres` needs no password. `initdb` makes one
 * for each version and user, and every server gets a copy of it: what it takes most of is a processor.
 */
export function makeDataFolder(dataFolder: string, place: DataFolderPlace): void {
  const { binaries, identity, folder } = place;
  const initdb = join(binaries, 'initdb');
  const version = run(initdb, ['--version'])
    .toString()
    .match(/[\d.]+/)?.[0];
  const origin = join(cache, `postgresql-${version}-${identity.uid ?? process.getuid?.()}`);
  if (existsSync(origin)) {
    run('cp', ['-a', origin, dataFolder]);
    return;
  }
  mustRun(initdb, ['-D', dataFolder, ...options], identity, folder);
  try {
    keep(dataFolder, origin);
  } catch (error) {
    // Another test was first, or who runs the tests may not write there.
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!existsSync(origin) && !['EACCES', 'EROFS'].includes(code)) throw error;
  }
}

/** It appears there whole, or not at all. */
function keep(dataFolder: string, origin: string): void {
  mkdirSync(cache, { recursive: true });
  const fresh = mkdtempSync(join(cache, 'fresh-'));
  try {
    run('cp', ['-a', dataFolder, join(fresh, 'data')]);
    renameSync(join(fresh, 'data'), origin);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
