import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { makeDataFolder } from './postgres-data.ts';
import { findBinaries, mustRun, serverIdentity } from './postgres-programs.ts';
import { skip } from './tools.ts';

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

  makeDataFolder(dataFolder, { binaries, identity, folder });
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
