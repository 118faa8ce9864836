import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { parseLoginCode } from '../api/login-code.ts';
import { type ExitName, exitCodes } from '../cli/exit-codes.ts';
import type { Installation, RunningService } from './service.ts';

const project = dirname(import.meta.dirname);
const scriptTimeoutMilliseconds = 60_000;

/** What a script of a user's shell did. */
export interface ScriptResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

export interface ScriptOptions {
  /** The working folder; that of the installation where left out. */
  readonly folder?: string;
  readonly input?: Uint8Array | string;
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * Runs a script as a user types it, with `keyreeve` as a command of the installation. A pipeline
 * fails where any part of it does.
 */
export function runScript(
  installation: Installation,
  script: string,
  options: ScriptOptions = {},
): Promise<ScriptResult> {
  const child = spawn(
    'bash',
    ['-c', `set -o pipefail\nkeyreeve() { "$COMMAND_NODE" "$COMMAND_SCRIPT" "$@"; }\n${script}`],
    {
      cwd: options.folder ?? installation.folder,
      env: {
        ...installation.environment,
        ...options.environment,
        COMMAND_NODE: process.execPath,
        COMMAND_SCRIPT: join(project, 'bin', 'keyreeve.mjs'),
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  const out: Buffer[] = [];
  const error: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => error.push(bytes));
  // A command that does not read all of its input is no fault of the test.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), scriptTimeoutMilliseconds);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      const stderr = Buffer.concat(error).toString('utf8');
      resolve({ code: code ?? -1, stdout: Buffer.concat(out), stderr });
    });
  });
}

/** As `runScript`, and the script must end with 0. */
export async function mustRun(
  installation: Installation,
  script: string,
  options: ScriptOptions = {},
): Promise<ScriptResult> {
  const result = await runScript(installation, script, options);
  if (result.code === 0) return result;
  throw new Error(`${script}\nended with ${result.code}: ${result.stdout}${result.stderr}`);
}

/**
 * A refusal as the manual promises it: `error:` and `hint:` on standard error, nothing on standard
 * output, and the exit code of that name.
 */
export async function mustRefuse(
  installation: Installation,
  script: string,
  code: ExitName,
  error: RegExp,
  environment: Readonly<Record<string, string>> = {},
): Promise<void> {
  const ran = await runScript(installation, script, { environment });
  assert.equal(ran.stdout.toString(), '', script);
  assert.match(ran.stderr, /^error: [^\n]+\nhint: [^\n]+\n$/, script);
  assert.match(ran.stderr, error, script);
  assert.equal(ran.code, exitCodes[code], `${script}: ${ran.stderr}`);
}

/** Logs the profile of the installation in with the code that the service printed. */
export async function logInByCommand(
  installation: Installation,
  service: RunningService,
): Promise<void> {
  const code = service.loginCode ?? '';
  if (parseLoginCode(code) === undefined) throw new Error(`no login code: ${service.output()}`);
  await mustRun(installation, `keyreeve --url ${service.url} login --code -`, { input: code });
}
