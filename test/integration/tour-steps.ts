import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { freePort } from '../free-port.ts';
import { requireProgram } from '../tools.ts';

const project = dirname(dirname(import.meta.dirname));
const startLine = /^(?<settings>(?:\w+=\S+ )*)npm start$/;
const blockTimeoutMilliseconds = 180_000;

export interface TourOptions {
  /**
   * The daily run: the big file is the sixteenth part, and after a first command by npx, as the README
   * has it, the others start what npx would start. False: every word as it is written.
   */
  readonly isShort: boolean;
}

/** Runs the blocks of the README's tour, in order, in a clone. */
export async function takeTour(t: TestContext, { isShort }: TourOptions): Promise<void> {
  for (const program of ['openssl', 'git']) {
    if (requireProgram(t, program) === undefined) return;
  }
  const blocks = tourOf(readFileSync(join(project, 'README.md'), 'utf8'));
  assert.ok(blocks.length > 8, 'the tour was found');
  for (const part of [byNpx, `head -c ${bigBytes} `]) {
    assert.equal(blocks.filter((block) => block.includes(part)).length, 1, part);
  }
  const clone = cloneOf(t);
  const ports = new Map([
    ['8443', String(await freePort())],
    ['9443', String(await freePort())],
    ['9080', String(await freePort())],
  ]);
  const environment = cleanEnvironment(clone, ports.get('8443')!);
  let loginCode = '';
  const commands: string[] = [];
  for (const block of blocks) {
    const text = withPorts(block, ports);
    const start = startLine.exec(text.trim());
    if (start !== null) {
      const output = await startInBackground(t, clone, environment, start.groups!.settings!);
      loginCode = /--code (\S+)/.exec(output)?.[1] ?? loginCode;
      continue;
    }
    const filled = text.replace('--code CODE', `--code ${loginCode}`);
    commands.push(isShort ? shortened(filled) : filled);
    // Blocks share a shell as the reader's do: functions and exported variables live on.
    if (block.includes('login-code') || block === blocks.at(-1) || isBeforeStart(blocks, block)) {
      await runScript(clone, environment, commands);
    }
  }
}

const byNpx = 'keyreeve() { npx --no-install keyreeve "$@"; }';
const bigBytes = 1024 ** 3;

function shortened(text: string): string {
  const node = JSON.stringify(process.execPath);
  const directly = `keyreeve() { ${node} bin/keyreeve.mjs "$@"; }`;
  return text
    .replace(byNpx, `${byNpx}\nkeyreeve --version\n${directly}`)
    .replace(`head -c ${bigBytes} `, `head -c ${bigBytes / 16} `);
}

/** Whether the reader goes to another terminal after this block. */
function isBeforeStart(blocks: readonly string[], block: string): boolean {
  return startLine.test((blocks[blocks.indexOf(block) + 1] ?? '').trim());
}

/** The shell blocks between the two marks. */
function tourOf(readme: string): string[] {
  const tour = readme.slice(readme.indexOf('<!-- tour:'), readme.indexOf('<!-- end of the tour'));
  return [...tour.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1]!);
}

function withPorts(text: string, ports: ReadonlyMap<string, string>): string {
  let result = text;
  for (const [written, used] of ports) result = result.replaceAll(written, used);
  return result;
}

/** What git has, in a folder of its own, with the packages of this one. */
function cloneOf(t: TestContext): string {
  const clone = mkdtempSync(join(tmpdir(), 'keyreeve-tour-'));
  t.after(() => rm(clone, { recursive: true, force: true }));
  const files = execFileSync(
    'git',
    ['ls-files', '-z', '--cached', '--others', '--exclude-standard'],
    {
      cwd: project,
      encoding: 'utf8',
    },
  );
  for (const file of files.split('\0').filter((name) => name !== '')) {
    mkdirSync(dirname(join(clone, file)), { recursive: true });
    cpSync(join(project, file), join(clone, file));
  }
  symlinkSync(join(project, 'node_modules'), join(clone, 'node_modules'));
  return clone;
}

function cleanEnvironment(clone: string, port: string): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(KEYREEVE_|CRYPTO_|NODE_|npm_)/i.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    XDG_CONFIG_HOME: join(clone, 'config'),
    XDG_CACHE_HOME: join(clone, 'cache'),
    KEYREEVE_PORT: port,
    KEYREEVE_HTTP_PORT: '0',
    KEYREEVE_URL: `https://127.0.0.1:${port}`,
  };
}

/** Starts the service as the reader does, and resolves with what it printed once it is ready. */
function startInBackground(
  t: TestContext,
  clone: string,
  environment: NodeJS.ProcessEnv,
  settings: string,
): Promise<string> {
  const own = Object.fromEntries(
    settings
      .trim()
      .split(' ')
      .filter((setting) => setting !== '')
      .map((setting) => setting.split('=') as [string, string]),
  );
  const child = spawn('npm', ['start'], {
    cwd: clone,
    env: { ...environment, ...own },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    // npm, its shell and the service are one group.
    if (child.exitCode === null) process.kill(-child.pid!, 'SIGTERM');
    await exited;
  });
  return new Promise((resolve, reject) => {
    let output = '';
    const take = (bytes: Buffer) => {
      output += bytes.toString('utf8');
      if (/^ready /m.test(output)) setTimeout(() => resolve(output), 200);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    exited.then(() => reject(new Error(`npm start ended: ${output}`)));
  });
}

/** Runs the commands gathered so far in one shell, and forgets all but what a shell would keep. */
async function runScript(
  clone: string,
  environment: NodeJS.ProcessEnv,
  commands: string[],
): Promise<void> {
  const script = `set -eu\n${commands.join('\n')}`;
  // What the reader's shell keeps between blocks: its functions, and what was exported.
  const kept = script
    .split('\n')
    .filter((line) => /^(keyreeve\(\)|export )/.test(line))
    .join('\n');
  commands.splice(0, commands.length, kept);
  const output = await new Promise<string>((resolve, reject) => {
    const shell = spawn('sh', ['-c', script], { cwd: clone, env: environment });
    let text = '';
    const timer = setTimeout(() => shell.kill('SIGKILL'), blockTimeoutMilliseconds);
    shell.stdout.on('data', (bytes: Buffer) => {
      text += bytes.toString('utf8');
    });
    shell.stderr.on('data', (bytes: Buffer) => {
      text += bytes.toString('utf8');
    });
    shell.once('exit', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(text);
      else reject(new Error(`the tour ended with ${code}: ${text}`));
    });
  });
  assert.equal(/^error:/m.test(output), false, output);
}
