import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { findProgram } from './tools.ts';

const binariesRoot = '/usr/lib/postgresql';
const commandTimeoutMilliseconds = 60_000;

/** The newest version that Debian put beside the others, or the one on PATH. */
export function findBinaries(): string | undefined {
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

/** Whose processes the servers are; empty: those of whoever runs the tests. */
export interface Identity {
  readonly uid?: number;
  readonly gid?: number;
}

/** PostgreSQL refuses to run as root: then it runs as `postgres`, or as `nobody`. */
export function serverIdentity(): Identity {
  if (process.getuid?.() !== 0) return {};
  const users = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const name of ['postgres', 'nobody']) {
    const fields = users.find((line) => line.startsWith(`${name}:`))?.split(':');
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) };
  }
  return { uid: 65534, gid: 65534 };
}

/** Runs a program of PostgreSQL that must succeed. */
export function mustRun(
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

export interface ProgramRun {
  readonly identity: Identity;
  readonly folder: string;
  /** Beside PATH, which begins with the programs of PostgreSQL. */
  readonly environment?: Readonly<Record<string, string>>;
  /** It starts a server that would keep a pipe open: its output is not looked at. */
  readonly isSilent?: boolean;
}

/** Runs a program while others go on; resolves with its output, rejects with its error output. */
export function runMeanwhile(
  binaries: string,
  program: string,
  parameters: readonly string[],
  { identity, folder, environment = {}, isSilent = false }: ProgramRun,
): Promise<string> {
  const output = isSilent ? 'ignore' : 'pipe';
  const path = `${binaries}${delimiter}${process.env.PATH ?? ''}`;
  const child = spawn(program.includes('/') ? program : join(binaries, program), parameters, {
    ...identity,
    cwd: folder,
    timeout: commandTimeoutMilliseconds,
    stdio: ['ignore', output, output],
    env: { PATH: path, LC_ALL: 'C.UTF-8', HOME: folder, ...environment },
  });
  const printed = ['', ''] as [string, string];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed[0] += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    printed[1] += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      if (code === 0) resolve(printed[0]);
      else reject(new Error(`${program} ended with ${code ?? signal}: ${printed[1]}`));
    });
  });
}
