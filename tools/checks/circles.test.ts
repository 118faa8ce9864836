import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeTree } from '../testing/tree.ts';
import { checkCircles } from './circles.ts';

test('a circle of files is found and its way is shown', (t) => {
  const root = makeTree(t, {
    'server/keys/keys.ts': `import { rule } from './rule.ts';\n`,
    'server/keys/rule.ts': `import { policy } from './policy.ts';\n`,
    'server/keys/policy.ts': `import type { Key } from './keys.ts';\n`,
    'server/keys/names.ts': `import { rule } from './rule.ts';\n`,
  });
  assert.deepEqual(checkCircles(root), [
    'circle of files: server/keys/keys.ts -> server/keys/rule.ts -> server/keys/policy.ts -> server/keys/keys.ts',
  ]);
});

test('a file that imports itself is a circle', (t) => {
  const root = makeTree(t, { 'api/a.ts': `export { a } from './a.ts';\n` });
  assert.deepEqual(checkCircles(root), ['circle of files: api/a.ts -> api/a.ts']);
});

test('folders that import each other through different files are a circle', (t) => {
  const root = makeTree(t, {
    'server/pki/pki.ts': `import { people } from '../people/people.ts';\n`,
    'server/people/people.ts': '',
    'server/people/cards.ts': `import { pki } from '../pki/pki.ts';\n`,
  });
  assert.deepEqual(checkCircles(root), [
    'circle of folders: server/people -> server/pki -> server/people',
  ]);
});

test('two separate circles are two findings', (t) => {
  const root = makeTree(t, {
    'api/a.ts': `import './b.ts';\n`,
    'api/b.ts': `import './a.ts';\n`,
    'cli/c.ts': `import './d.ts';\n`,
    'cli/d.ts': `const c = await import('./c.ts');\n`,
  });
  assert.deepEqual(checkCircles(root), [
    'circle of files: api/a.ts -> api/b.ts -> api/a.ts',
    'circle of files: cli/c.ts -> cli/d.ts -> cli/c.ts',
  ]);
});

test('a tree without circles, and tests that close one, are fine', (t) => {
  const root = makeTree(t, {
    'server/keys/keys.ts': `import './rule.ts';\nimport '../base/a.ts';\n`,
    'server/keys/rule.ts': `import '../base/a.ts';\n`,
    'server/base/a.ts': '',
    'server/base/a.test.ts': `import '../keys/keys.ts';\nimport './a.ts';\n`,
  });
  assert.deepEqual(checkCircles(root), []);
});
