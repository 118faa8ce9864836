import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { nodePackages, pinnedNode } from '../../bin/runtime.mjs';
import { makeTree } from '../testing/tree.ts';
import { withFolderLock } from './folder-lock.mjs';
import { isInstalled } from './install.mjs';

const project = dirname(dirname(import.meta.dirname));

const service = `
  import { greeting } from 'greeter';
  if (process.argv[2] === 'wait') {
    process.on('SIGTERM', () => { console.log('stopping'); process.exit(7); });
    setTimeout(() => process.exit(9), 30_000);
  }
  console.log(greeting, process.cwd(), process.execArgv.join(), process.argv.slice(2).join());
  if (process.argv[2] === 'fail') process.exit(3);
`;

/** A clone with one package to install, which needs no network, and without node_modules. */
function makeClone(t: TestContext): string {
  const root = makeTree(t, {
    'server/main.ts': service,
    'greeter/package.json': '{"name": "greeter", "version": "1.0.0", "exports": "./index.js"}',
    'greeter/index.js': `exports.greeting = 'hello';`,
    'package.json': JSON.stringify({
      type: 'module',
      dependencies: { greeter: 'file:greeter-1.0.0.tgz' },
    }),
  });
  for (const path of ['bin', 'tools/run.mjs', 'tools/bootstrap']) {
    cpSync(join(project, path), join(root, path), { recursive: true });
  }
  npm(root, ['pack', './greeter', '--offline']);
  npm(root, ['install', '--package-lock-only', '--offline']);
  return root;
}

function npm(root: string, parameters: readonly string[]): void {
  execFileSync('npm', parameters, { cwd: root, stdio: 'pipe', env: cleanEnvironment() });
}

/** Without what the npm around this test has set, and with this Node first on PATH. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_/i.test(name));
  const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`;
  return { ...Object.fromEntries(kept), PATH: path };
}

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(root: string, parameters: readonly string[], node = process.execPath) {
  const child = spawn(node, [join(root, 'tools/run.mjs'), 'start', ...parameters], {
    env: cleanEnvironment(),
  });
  return { child, outcome: outcomeOf(child) };
}

function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let stdout = '';
  let stderr = '';
  child.stdout!.on('data', (bytes) => {
    stdout += bytes;
  });
  child.stderr!.on('data', (bytes) => {
    stderr += bytes;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
}

test('a start on a bare clone installs first, says so, and passes arguments and status on', async (t) => {
  const root = makeClone(t);
  const first = await start(root, ['a', 'b']).outcome;
  assert.equal(first.code, 0, first.stderr);
  assert.equal(first.stdout, `hello ${root} --disable-sigusr1 a,b\n`);
  assert.match(first.stderr, /installing up to 1 packages/);
  const second = await start(root, ['fail']).outcome;
  assert.equal(second.code, 3);
  assert.doesNotMatch(second.stderr, /installing/);
});

test('it installs again when the lock file has changed, not when npm ci was run by hand', async (t) => {
  const root = makeClone(t);
  npm(root, ['ci', '--offline']);
  assert.doesNotMatch((await start(root, []).outcome).stderr, /installing/);
  assert.ok(isInstalled(root));
  const lock = join(root, 'package-lock.json');
  const text = readFileSync(lock, 'utf8');
  writeFileSync(lock, text.replace('"lockfileVersion"', '"requires": true, "lockfileVersion"'));
  rmSync(join(root, 'node_modules/greeter'), { recursive: true });
  assert.ok(!isInstalled(root));
  const again = await start(root, []).outcome;
  assert.match(again.stderr, /installing up to 1 packages/);
  assert.equal(again.code, 0, again.stderr);
});

test('two starts at once on a bare clone install once and both run', async (t) => {
  const root = makeClone(t);
  const outcomes = await Promise.all([start(root, []).outcome, start(root, []).outcome]);
  assert.deepEqual(
    outcomes.map(({ code }) => code),
    [0, 0],
    outcomes.map(({ stderr }) => stderr).join('\n'),
  );
  const installing = outcomes.filter(({ stderr }) => /installing up to/.test(stderr));
  assert.equal(installing.length, 1);
  assert.ok(!existsSync(join(root, '.install-lock')));
});

test('a failed installation ends with an error and a hint, and is tried again', async (t) => {
  const root = makeClone(t);
  const lock = join(root, 'package-lock.json');
  const good = readFileSync(lock, 'utf8');
  writeFileSync(lock, good.replace(/sha512-[^"]+/, `sha512-${'A'.repeat(86)}==`));
  const bad = await start(root, []).outcome;
  assert.equal(bad.code, 1);
  assert.match(
    bad.stderr,
    /error: the packages could not be installed: npm ci ended with 1\nhint: /,
  );
  writeFileSync(lock, good);
  assert.equal((await start(root, []).outcome).code, 0);
});

test('a signal reaches the service and its status comes back', async (t) => {
  const root = makeClone(t);
  linkPinnedNode(root);
  const systemNode = process.env
    .PATH!.split(delimiter)
    .filter((folder) => !folder.includes('node_modules'))
    .map((folder) => join(folder, 'node'))
    .find((path) => existsSync(path));
  for (const node of new Set([process.execPath, systemNode ?? process.execPath])) {
    const { child, outcome } = start(root, ['wait'], node);
    await new Promise((resolve) => child.stdout!.once('data', resolve));
    child.kill('SIGTERM');
    assert.equal((await outcome).code, 7, node);
    assert.match((await outcome).stdout, /stopping/);
  }
});

/** Puts this Node where npm puts the pinned one, for a system whose own Node is too old. */
function linkPinnedNode(root: string): void {
  npm(root, ['ci', '--offline']);
  const folder = join(root, 'node_modules', nodePackages[`${process.platform}-${process.arch}`]!);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ bin: { node: 'node' } }));
  symlinkSync(process.execPath, join(folder, 'node'));
}

test('a signal to npm ends the service too', async (t) => {
  const root = makeClone(t);
  const manifest = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8'));
  const script = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  writeFileSync(
    join(root, 'package.json'),
    JSON.stringify({ ...script, scripts: manifest.scripts }),
  );
  npm(root, ['ci', '--offline']);
  const child = spawn('npm', ['start', '--silent', '--', 'wait'], {
    cwd: root,
    env: cleanEnvironment(),
  });
  const outcome = outcomeOf(child);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  child.kill('SIGTERM');
  // The output ends only when no process holds it open any more.
  assert.match((await outcome).stdout, /stopping/);
});

test('a Node that does not run on this system is named, with what to install', async (t) => {
  const root = makeClone(t);
  linkPinnedNode(root);
  const node = pinnedNode(root)!;
  rmSync(node);
  const loader = 'error while loading shared libraries: libatomic.so.1';
  writeFileSync(node, `#!/bin/sh\necho '${loader}' >&2\nexit 127\n`, { mode: 0o755 });
  mkdirSync(join(root, 'node_modules/.bin'), { recursive: true });
  symlinkSync(node, join(root, 'node_modules/.bin/node'));
  const { code, stderr } = await start(root, []).outcome;
  assert.equal(code, 1);
  assert.match(stderr, /does not run here: .*libatomic.*\nhint: .*apt-get install libatomic1/);
  assert.ok(!existsSync(join(root, 'node_modules/.bin/node')), 'npm scripts find the system Node');
});

test('an unknown task is refused with the list of tasks', async (t) => {
  const root = makeClone(t);
  const child = spawn(process.execPath, [join(root, 'tools/run.mjs'), 'fly'], {
    env: cleanEnvironment(),
  });
  const { code, stderr } = await outcomeOf(child);
  assert.equal(code, 1);
  assert.match(stderr, /error: there is no task "fly"\nhint: choose one of: start, test/);
  assert.ok(!existsSync(join(root, 'node_modules')));
});

test('the lock of a killed process is taken over, that of a living one is not', async (t) => {
  const folder = join(makeTree(t, {}), 'lock');
  mkdirSync(folder);
  writeFileSync(join(folder, 'owner'), 'someone killed');
  const seconds = { beat: 0.05, stale: 0.5 };
  const order: string[] = [];
  const hold = (name: string) =>
    withFolderLock(
      folder,
      () => {},
      async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 1000));
        order.push(`${name} ends`);
      },
      seconds,
    );
  await Promise.all([hold('one'), hold('other')]);
  const [first, second] = order[0] === 'one begins' ? ['one', 'other'] : ['other', 'one'];
  assert.deepEqual(order, [
    `${first} begins`,
    `${first} ends`,
    `${second} begins`,
    `${second} ends`,
  ]);
});
