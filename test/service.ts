import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { parseLoginCode } from '../api/login-code.ts';
import { type ApiClient, createClient } from '../client/api-client.ts';
import { fetchPinnedCa } from '../client/pin.ts';

const project = dirname(import.meta.dirname);
const startTimeoutSeconds = 60;

/** What cleans up: a test, or `{ after }` of node:test for what a whole file shares. */
export interface Cleanup {
  after(clean: () => unknown): void;
}

/** A running service: the real process, over the real front door. */
export interface RunningService {
  readonly process: ChildProcess;
  readonly url: string;
  /** Where it serves public files by plain HTTP; undefined where that is off. */
  readonly httpUrl: string | undefined;
  /** The first-login code, where it printed one. */
  readonly loginCode: string | undefined;
  /** Everything it printed so far, both streams. */
  output(): string;
  /** Ends it as an operator does; resolves with the exit code. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

/** Folders of one installation, and the environment that points at them. */
export interface Installation {
  readonly folder: string;
  readonly data: string;
  readonly seal: string;
  readonly environment: NodeJS.ProcessEnv;
  /** The services that run on it. */
  readonly running: Set<ChildProcess>;
}

/** Fresh folders, removed after the test. Nothing of the caller's own settings gets in. */
export function makeInstallation(
  t: Cleanup,
  extra: Readonly<Record<string, string>> = {},
): Installation {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-test-'));
  const running = new Set<ChildProcess>();
  t.after(async () => {
    // First the services: one that still runs would make its files again.
    await Promise.all([...running].map(end));
    await rm(folder, { recursive: true, force: true });
  });
  const data = join(folder, 'data');
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(KEYREEVE_(?!TEST)|CRYPTO_|NODE_TEST|NODE_OPTIONS)/.test(name),
  );
  return {
    folder,
    data,
    seal: `${data}.seal`,
    environment: {
      ...Object.fromEntries(kept),
      KEYREEVE_DATA: data,
      KEYREEVE_PORT: '0',
      KEYREEVE_HTTP_PORT: '0',
      XDG_CONFIG_HOME: join(folder, 'config'),
      ...extra,
    },
    running,
  };
}

function end(child: ChildProcess): Promise<unknown> {
  const exited = new Promise((resolve) => child.once('exit', resolve));
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  child.kill('SIGKILL');
  return exited;
}

/** Starts the service and waits until it is ready; throws with its output where it is not. */
export async function startService(
  t: Cleanup,
  installation: Installation,
  extra: Readonly<Record<string, string>> = {},
): Promise<RunningService> {
  const child = spawn(process.execPath, ['--disable-sigusr1', join(project, 'server', 'main.ts')], {
    env: { ...installation.environment, ...extra },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stderr.on('data', (bytes: Buffer) => {
    output += bytes.toString('utf8');
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  installation.running.add(child);
  exited.then(() => installation.running.delete(child));
  t.after(() => {
    child.kill('SIGKILL');
    return exited;
  });
  let loginCode: string | undefined;
  let httpUrl: string | undefined;
  const url = await new Promise<string>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`not ready after ${startTimeoutSeconds} s: ${output}`)),
      startTimeoutSeconds * 1000,
    );
    exited.then((code) => {
      clearTimeout(timer);
      // What it printed last is read after the exit is known.
      setImmediate(() => reject(new Error(`ended with ${code}: ${output}`)));
    });
    let ready: string | undefined;
    createInterface({ input: child.stdout }).on('line', (line) => {
      output += `${line}\n`;
      if (line.startsWith('ready ')) ready = line.slice('ready '.length);
      if (line.startsWith('public files ')) httpUrl = line.slice('public files '.length);
      if (line.startsWith('first login: ')) loginCode = line.split(' ').at(-1)!;
      if (ready !== undefined) {
        clearTimeout(timer);
        // The login line comes in the same breath, where there is one.
        const address = ready;
        setTimeout(() => resolve(address), 20);
      }
    });
  });
  return {
    process: child,
    url,
    httpUrl,
    loginCode,
    output: () => output,
    stop: (signal = 'SIGTERM') => {
      child.kill(signal);
      return exited;
    },
  };
}

/** A client that the service knows: what it needs to call, and to be made again after a restart. */
export interface LoggedIn {
  readonly client: ApiClient;
  readonly token: string;
  readonly caPem: string;
  /** The same caller at another address, after a restart. */
  at(url: string): ApiClient;
}

/** Logs in as the first administrator with the code that the service printed. */
export async function logIn(t: Cleanup, service: RunningService): Promise<LoggedIn> {
  const parsed = parseLoginCode(service.loginCode ?? '');
  if (parsed === undefined) throw new Error(`no login code in: ${service.output()}`);
  const caPem = await fetchPinnedCa(service.url, parsed.caPin);
  const visitor = createClient({ url: service.url, caPem });
  const { token } = await visitor.call('login', { body: { code: service.loginCode! } });
  visitor.close();
  const at = (url: string) => {
    const client = createClient({ url, caPem, token });
    t.after(() => client.close());
    return client;
  };
  return { client: at(service.url), token, caPem, at };
}

/** Starts a fresh installation and logs in: how most tests begin. */
export async function startLoggedIn(
  t: Cleanup,
  extra: Readonly<Record<string, string>> = {},
): Promise<{
  installation: Installation;
  service: RunningService;
  client: ApiClient;
  login: LoggedIn;
}> {
  const installation = makeInstallation(t, extra);
  const service = await startService(t, installation);
  const login = await logIn(t, service);
  return { installation, service, client: login.client, login };
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the `keyreeve` command as a user does, with the profile of the installation. */
export async function keyreeve(
  installation: Installation,
  args: readonly string[],
  options: { input?: string; environment?: Readonly<Record<string, string>> } = {},
): Promise<CommandResult> {
  const running = promisify(execFile)(
    process.execPath,
    [join(project, 'bin', 'keyreeve.mjs'), ...args],
    {
      cwd: installation.folder,
      env: { ...installation.environment, ...options.environment },
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  running.child.stdin?.end(options.input ?? '');
  try {
    const { stdout, stderr } = await running;
    return { code: 0, stdout, stderr };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

export type CommandLine = (
  args: readonly string[],
  options?: { input?: string },
) => Promise<CommandResult>;

/** The `keyreeve` command for a caller that is logged in already, without a profile of its own. */
export function commandLine(
  installation: Installation,
  service: { readonly url: string },
  login: LoggedIn,
): CommandLine {
  const caFile = join(installation.folder, 'ca.pem');
  writeFileSync(caFile, login.caPem);
  const environment = {
    KEYREEVE_URL: service.url,
    KEYREEVE_TOKEN: login.token,
    KEYREEVE_CA_FILE: caFile,
  };
  return (args, options = {}) => keyreeve(installation, args, { ...options, environment });
}
