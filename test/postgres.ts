import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { findProgram, skip } from './tools.ts';

const binariesRoot = '/usr/lib/postgresql';
const commandTimeoutMilliseconds = 60_000;

/** A real PostgreSQL server in a temporary folder, reached through a Unix socket alone. */
export interface TestPostgres {
  /** The folder of the socket. */
  readonly socketFolder: string;
  readonly port: number;
  /** Makes an empty database; returns its URL. */
  createDatabase(name: string): string;
  /** Runs SQL as the superuser; returns the output of psql, unaligned and without headers. */
  sql(database: string, statement: string): string;
  start(): void;
  /** `fast` ends all sessions, `immediate` is a crash. */
  stop(mode?: 'fast' | 'immediate'): void;
  /** Stops the server and removes its folder. */
  remove(): void;
}

/**
 * Starts a server. Where PostgreSQL is not installed the test is skipped by name and undefined
 * returned. The caller removes it (`after(() => server.remove())`).
 */
export function startPostgres(t: TestContext): TestPostgres | undefined {
  const binaries = findBinaries();
  if (binaries === undefined) {
    skip(t, 'PostgreSQL is not here');
    return undefined;
  }
  const identity = serverIdentity();
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-postgres-'));
  if (identity.uid !== undefined) chownSync(folder, identity.uid, identity.gid ?? identity.uid);
  const dataFolder = join(folder, 'data');
  const port = 5432;
  const call = (program: string, parameters: readonly string[]) =>
    mustRun(join(binaries, program), parameters, identity, folder);
  const settings = `-k ${folder} -p ${port} -c listen_addresses='' -c log_statement=none`;

  call('initdb', ['-D', dataFolder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-sync']);
  const server: TestPostgres = {
    socketFolder: folder,
    port,
    createDatabase(name) {
      server.sql('postgres', `CREATE DATABASE "${name}"`);
      return `postgresql:///${name}?host=${encodeURIComponent(folder)}&port=${port}&user=postgres`;
    },
    sql(database, statement) {
      const parameters = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-h', folder];
      parameters.push('-p', String(port), '-U', 'postgres', '-d', database, '-c', statement);
      return call('psql', parameters).stdout.trim();
    },
    start() {
      call('pg_ctl', ['start', '-w', '-D', dataFolder, '-l', join(folder, 'log'), '-o', settings]);
    },
    stop(mode = 'fast') {
      call('pg_ctl', ['stop', '-w', '-D', dataFolder, '-m', mode]);
    },
    remove() {
      try {
        server.stop('immediate');
      } catch {
        // It was stopped by the test.
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
  server.start();
  return server;
}

/** The newest version that Debian put beside the others, or the one on PATH. */
function findBinaries(): string | undefined {
  try {
    const versions = readdirSync(binariesRoot).sort((a, b) => Number(b) - Number(a));
    for (const version of versions) {
      const folder = join(binariesRoot, version, 'bin');
      if (readdirSync(folder).includes('initdb')) return folder;
    }
  } catch {
    // Not Debian's way of installing it.
  }
  const initdb = findProgram('initdb');
  return initdb === undefined ? undefined : join(initdb, '..');
}

interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** PostgreSQL refuses to run as root: then it runs as `postgres`, or as `nobody`. */
function serverIdentity(): Identity {
  if (process.getuid?.() !== 0) return {};
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = users.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return { uid: 65534, gid: 65534 };
}

function mustRun(
  program: string,
  parameters: readonly string[],
  identity: Identity,
  folder: string,
): SpawnSyncReturns<string> {
  const result = spawnSync(program, parameters, {
    ...identity,
    cwd: folder,
    encoding: 'utf8',
    // The server inherits these: an open pipe would keep spawnSync waiting for it.
    stdio: program.endsWith('pg_ctl') ? 'ignore' : 'pipe',
    timeout: commandTimeoutMilliseconds,
    env: { PATH: process.env.PATH ?? '', LC_ALL: 'C.UTF-8', HOME: folder },
  });
  if (result.status === 0) return result;
  throw new Error(`${program} failed (${result.status}): ${result.stderr ?? result.error}`);
}
