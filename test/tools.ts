import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

/** Set to `1` where every program must be present: a skip then counts as a failure. */
const noSkipVariable = 'KEYREEVE_TEST_NO_SKIP';

const systemPython = '/usr/bin/python3';
const programTimeoutMilliseconds = 60_000;
const programOutputLimitBytes = 64 * 1024 * 1024;

// What was found on this machine cannot change during a test run, and asking costs a process.
const pythonAnswers = new Map<string, boolean>();

/**
 * The path of a program on PATH. Where it is absent the test is skipped by name and `undefined` is
 * returned, so that a test begins with `const openssl = requireProgram(t, 'openssl'); if (openssl ===
 * undefined) return;`. With `KEYREEVE_TEST_NO_SKIP=1` absence fails the test.
 */
export function requireProgram(t: TestContext, name: string): string | undefined {
  const path = findProgram(name);
  if (path === undefined) skip(t, `${name} is not here`);
  return path;
}

/**
 * As `requireProgram`, for a python3 that can import the `cryptography` package: the first on PATH,
 * else the system's own, which is the one that Debian's packages extend.
 */
export function requirePythonCryptography(t: TestContext): string | undefined {
  for (const python of [findProgram('python3'), systemPython]) {
    if (python !== undefined && canImportCryptography(python)) return python;
  }
  skip(t, 'python3 with cryptography is not here');
  return undefined;
}

/** Skips the test with a printed reason, or fails it where skipping is forbidden. */
export function skip(t: TestContext, reason: string): void {
  if (process.env[noSkipVariable] === '1') {
    throw new Error(`${reason}, and ${noSkipVariable}=1 forbids to skip`);
  }
  t.skip(`skip: ${reason}`);
}

/** The absolute path of an executable file on PATH, or undefined. */
export function findProgram(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder === '') continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: look in the next one.
    }
  }
  return undefined;
}

/** Runs a program that must succeed; returns its standard output, throws with its standard error. */
export function run(
  program: string,
  parameters: readonly string[],
  input?: Uint8Array | string,
): Buffer {
  return execFileSync(program, parameters, {
    input: input ?? '',
    timeout: programTimeoutMilliseconds,
    maxBuffer: programOutputLimitBytes,
  });
}

/** Runs a program that may fail; returns its status and output. */
export function tryRun(
  program: string,
  parameters: readonly string[],
  input?: Uint8Array | string,
): SpawnSyncReturns<Buffer> {
  return spawnSync(program, parameters, {
    input: input ?? '',
    timeout: programTimeoutMilliseconds,
    maxBuffer: programOutputLimitBytes,
  });
}

/**
 * Runs a Python script: `input` is given to it as JSON in a variable of that name, and what it
 * assigns to `output` comes back as JSON. Bytes travel as hex.
 */
export function runPython(python: string, script: string, input: unknown): unknown {
  const program = `import json, sys\ninput = json.load(sys.stdin)\n${script}\nprint(json.dumps(output))\n`;
  return JSON.parse(run(python, ['-c', program], JSON.stringify(input)).toString('utf8'));
}

function canImportCryptography(python: string): boolean {
  let answer = pythonAnswers.get(python);
  if (answer === undefined) {
    answer = tryRun(python, ['-c', 'import cryptography.hazmat.primitives']).status === 0;
    pythonAnswers.set(python, answer);
  }
  return answer;
}
