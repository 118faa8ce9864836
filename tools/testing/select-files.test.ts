import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectTestFiles } from './select-files.ts';
import { makeTree } from './tree.ts';

const tree = {
  'server/keys/keys.test.ts': '',
  'server/keys/rotation.test.ts': '',
  'server/keys/keys.ts': '',
  'server/storage/crash.long.test.ts': '',
  'server/storage/storage.test.ts': '',
  'cli/keys.test.ts': '',
  'docs/x.test.ts': '',
  'tools/node_modules/a/a.test.ts': '',
};

test('without words all tests are meant, long ones only when asked for', (t) => {
  const root = makeTree(t, tree);
  const usual = [
    'cli/keys.test.ts',
    'server/keys/keys.test.ts',
    'server/keys/rotation.test.ts',
    'server/storage/storage.test.ts',
  ];
  assert.deepEqual(selectTestFiles({ root, wanted: [], long: false }), usual);
  const long = selectTestFiles({ root, wanted: [], long: true });
  assert.deepEqual(long, [...usual, 'server/storage/crash.long.test.ts'].sort());
});

test('a word names a folder under server, a path, or a part of paths', (t) => {
  const root = makeTree(t, tree);
  const select = (...wanted: string[]) => selectTestFiles({ root, wanted, long: false });
  const keys = ['server/keys/keys.test.ts', 'server/keys/rotation.test.ts'];
  assert.deepEqual(select('keys'), keys);
  assert.deepEqual(select('server/keys/'), keys);
  assert.deepEqual(select('cli', 'rotation'), ['cli/keys.test.ts', 'server/keys/rotation.test.ts']);
  assert.deepEqual(select('server/keys/keys.test.ts'), ['server/keys/keys.test.ts']);
});

test('a long test that is named by its path is meant', (t) => {
  const root = makeTree(t, tree);
  const file = 'server/storage/crash.long.test.ts';
  assert.deepEqual(selectTestFiles({ root, wanted: [file], long: false }), [file]);
});

test('a word that selects nothing is refused', (t) => {
  const root = makeTree(t, tree);
  assert.throws(() => selectTestFiles({ root, wanted: ['kees'], long: false }), /"kees" names no/);
});
