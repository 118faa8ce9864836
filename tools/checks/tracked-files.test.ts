import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { makeTree } from '../testing/tree.ts';
import { checkFileLength, checkLinks, checkMachineTraces, thisMachine } from './tracked-files.ts';

function makeClone(t: TestContext, files: Record<string, string>): string {
  const root = makeTree(t, files);
  execFileSync('git', ['init', '--quiet', root]);
  return root;
}

test('paths and hosts of one machine are found in files that git knows', (t) => {
  const home = ['', 'home', 'ada', 'keys'].join('/');
  const root = makeClone(t, {
    'a.ts': `// one\nconst folder = '/srv/build/clone/x';\n`,
    'b.md': `see ${home}\n`,
    'c.json': `{"from": "https://${['registry', 'example', 'com'].join('.')}/a"}`,
    'd.txt': `built on builder-17\n`,
    'ignored/e.ts': '/srv/build/clone',
    '.gitignore': 'ignored/\n',
    'fine.md': `keys ca/root/1 live under /var/lib; /srv/build/clones is another folder\n`,
  });
  const machine = { folders: ['/srv/build/clone', '/root'], hosts: ['builder-17'] };
  assert.deepEqual(checkMachineTraces(root, machine), [
    'a.ts:2 holds /srv/build/clone',
    `b.md:1 holds ${home.slice(0, -4)}`,
    `c.json:1 holds ${['registry', 'example', 'com'].join('.')}`,
    'd.txt:1 holds builder-17',
  ]);
});

test('this machine is known by its clone, home folder and registry', () => {
  const env = { npm_config_registry: 'https://packages.example.com/npm/' };
  const machine = thisMachine('/srv/build/clone', env);
  assert.ok(machine.folders.includes('/srv/build/clone'));
  assert.ok(machine.hosts.includes('packages.example.com'));
  assert.ok(!thisMachine('/app', {}).folders.includes('/app'));
});

test('a file is too long from the line after its limit on', (t) => {
  const lines = (count: number) => 'a;\n'.repeat(count);
  const root = makeClone(t, {
    'server/fits.ts': lines(400),
    'server/long.ts': lines(401),
    'server/fits.test.ts': lines(600),
    'server/long.test.ts': lines(601),
    'test/vectors/table.ts': lines(1000),
    'data.json': lines(1000),
  });
  assert.deepEqual(checkFileLength(root), [
    'server/long.test.ts has 601 lines: 600 is the limit',
    'server/long.ts has 401 lines: 400 is the limit',
  ]);
});

test('links that lead to no file or heading are found', (t) => {
  const root = makeClone(t, {
    'README.md': [
      '[guide](docs/guide.md) [part](docs/guide.md#the-first-start) [web](https://example.com)',
      '[gone](docs/gone.md) [no such part](docs/guide.md#the-end) [here](#top)',
      '```sh',
      '# top',
      'echo [not a link](nowhere.md)',
      '```',
      '',
    ].join('\n'),
    'docs/guide.md': '# Guide\n\n## The first start\n\n[back](../README.md)\n',
  });
  assert.deepEqual(checkLinks(root), [
    'README.md links to docs/gone.md, which is not there',
    'README.md links to docs/guide.md#the-end, which is not there',
    'README.md links to #top, which is not there',
  ]);
});
