/** The service as its users run it: a process of its own, on a free port of this machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseLoginCode } from '../api/login-code.ts';
import { type ApiClient, createClient } from '../client/api-client.ts';
import { fetchPinnedCa } from '../client/pin.ts';

const project = dirname(import.meta.dirname);
const startTimeoutSeconds = 60;

export interface StartedService {
  readonly pid: number;
  readonly port: number;
  readonly url: string;
  readonly loginCode: string | undefined;
  /** From the start of the process to the line that says it is ready. */
  readonly readyMilliseconds: number;
  stop(): Promise<void>;
}

export interface LoggedIn {
  readonly client: ApiClient;
  readonly token: string;
  readonly ca: string;
  /** The same caller after a restart, at another address. */
  at(url: string): LoggedIn;
}

/** Starts a program that prints `ready https://…`: the service itself where none is named. */
export async function startProcess(
  data: string,
  program = join(project, 'server', 'main.ts'),
): Promise<StartedService> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, ['--disable-sigusr1', program], {
    env: environmentFor(data),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const { url, loginCode, readyAt } = await untilReady(child).catch((error: unknown) => {
    child.kill('SIGKILL');
    throw error;
  });
  return {
    pid: child.pid!,
    port: Number(new URL(url).port),
    url,
    loginCode,
    readyMilliseconds: readyAt - startedAt,
    stop: () => {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

/** The first administrator, with the code that was printed. */
export async function logIn(service: StartedService): Promise<LoggedIn> {
  const code = service.loginCode ?? '';
  const parsed = parseLoginCode(code);
  if (parsed === undefined) throw new Error('the service printed no login code');
  const ca = await fetchPinnedCa(service.url, parsed.caPin);
  const visitor = createClient({ url: service.url, caPem: ca });
  const { token } = await visitor.call('login', { body: { code } });
  visitor.close();
  const at = (url: string): LoggedIn => ({
    client: createClient({ url, caPem: ca, token }),
    token,
    ca,
    at,
  });
  return at(service.url);
}

/** Nothing of the caller's own settings gets in. */
function environmentFor(data: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(KEYREEVE_|NODE_OPT)/.test(name));
  const ports = { KEYREEVE_PORT: '0', KEYREEVE_HTTP_PORT: '0' };
  return { ...Object.fromEntries(kept), KEYREEVE_DATA: data, ...ports };
}

function untilReady(
  child: ChildProcess,
): Promise<{ url: string; loginCode: string | undefined; readyAt: number }> {
  let output = '';
  child.stderr!.on('data', (bytes: Buffer) => {
    output += bytes.toString('utf8');
  });
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`the service ${why}: ${output}`));
    const timer = setTimeout(() => fail('was not ready in time'), startTimeoutSeconds * 1000);
    child.once('exit', (code) => fail(`ended with ${code}`));
    let url: string | undefined;
    let readyAt = 0;
    let loginCode: string | undefined;
    createInterface({ input: child.stdout! }).on('line', (line) => {
      if (line.startsWith('ready ')) {
        url = line.slice('ready '.length);
        readyAt = performance.now();
        // The line with the login code, where there is one, comes in the same breath.
        setTimeout(() => {
          clearTimeout(timer);
          resolve({ url: url!, loginCode, readyAt });
        }, 20);
      }
      if (line.startsWith('first login: ')) loginCode = line.split(' ').at(-1);
    });
  });
}
