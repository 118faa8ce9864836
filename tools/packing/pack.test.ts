import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeTree } from '../testing/tree.ts';
import { buildDistribution } from './build.ts';

const project = dirname(dirname(import.meta.dirname));

/** A clone of two modules, a worker and a page, in the way the real one is made. */
const clone = {
  'package.json': '{"name": "small", "version": "1.2.3", "type": "module", "private": true}',
  'cli/keyreeve.ts': `
    import { readFileSync } from 'node:fs';
    import { answer } from '../server/worker-owner.ts';
    const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    console.log(manifest.version, await answer(20 as number));`,
  'server/worker-owner.ts': `
    import { Worker } from 'node:worker_threads';
    import type { Unused } from './types.ts';
    export function answer(input: number): Promise<Unused> {
      const workerData = { input };
      const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData });
      return new Promise((resolve) => worker.once('message', resolve));
    }`,
  'server/worker.ts': `
    import { parentPort, workerData } from 'node:worker_threads';
    parentPort!.postMessage((workerData as { input: number }).input + 1);`,
  'server/types.ts': 'export type Unused = number;',
  'server/pages/page.html': '<p>page</p>',
  'server/worker.test.ts': `throw new Error('no test belongs into the package');`,
};

test('a built distribution runs under node_modules, where Node strips no types', (t) => {
  const root = makeTree(t, clone);
  const installed = join(root, 'elsewhere/node_modules/small');
  mkdirSync(dirname(installed), { recursive: true });
  assert.equal(buildDistribution(root, installed), 6);
  const program = join(installed, 'cli/keyreeve.js');
  assert.equal(execFileSync(process.execPath, [program]).toString(), '1.2.3 21\n');
  assert.equal(readFileSync(join(installed, 'server/pages/page.html'), 'utf8'), '<p>page</p>');
  assert.ok(!existsSync(join(installed, 'server/worker.test.js')));
});

test('the packed package installs, and its service becomes ready', async (t) => {
  const folder = makeTree(t, {});
  const installed = unpack(folder);
  const files = globSync('**/*', { cwd: installed });
  assert.ok(files.includes('LICENSE'));
  assert.ok(files.includes('bin/keyreeve.mjs'));
  assert.ok(files.includes('dist/api/error-codes.js'));
  assert.deepEqual(
    files.filter((file) => /\.ts$|\.test\.|(^|\/)(test|data|node_modules)(\/|$)/.test(file)),
    [],
  );
  checkVersion(t, installed);
  await checkService(folder, installed);
});

/** Starts the service of the package, and ends it once it is ready. */
async function checkService(folder: string, installed: string): Promise<void> {
  const kept = Object.entries(process.env).filter(([name]) => !/^(KEYREEVE|NODE)_/.test(name));
  const data = join(folder, 'data');
  const service = spawn(process.execPath, [join(installed, 'bin/keyreeve.mjs'), 'serve'], {
    env: {
      ...Object.fromEntries(kept),
      KEYREEVE_DATA: data,
      KEYREEVE_PORT: '0',
      KEYREEVE_HTTP_PORT: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const take = (bytes: Buffer) => {
    output += bytes.toString('utf8');
    // A second signal would end it at once.
    if (/^ready /m.test(output) && !service.killed) service.kill('SIGTERM');
  };
  service.stdout.on('data', take);
  service.stderr.on('data', take);
  const [code] = await once(service, 'close');
  assert.match(output, /^ready https:/m, output);
  assert.equal(code, 0, output);
}

/** Makes the tarball and puts it where an installation would, beside the packages it needs. */
function unpack(folder: string): string {
  execFileSync('npm', ['pack', '--pack-destination', folder], { cwd: project, stdio: 'pipe' });
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  const modules = join(folder, 'node_modules');
  mkdirSync(modules);
  execFileSync('tar', ['-xzf', join(folder, tarball), '-C', folder]);
  renameSync(join(folder, 'package'), join(modules, 'keyreeve'));
  for (const name of readdirSync(join(project, 'node_modules'))) {
    if (name.startsWith('.') || name === 'keyreeve') continue;
    symlinkSync(join(project, 'node_modules', name), join(modules, name));
  }
  return join(modules, 'keyreeve');
}

function checkVersion(t: TestContext, installed: string): void {
  const { version, bin } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const env = { ...process.env, XDG_CACHE_HOME: makeTree(t, {}) };
  const program = join(installed, bin.keyreeve);
  const answer = execFileSync(process.execPath, [program, '--version'], { env }).toString();
  assert.ok(answer.includes(version), answer);
}
