import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import { parseKeyAndVersion, parseLabels, parseWhole } from './arguments.ts';

const refused = (error: unknown) => isKeyreeveError(error, 'invalid-request');

test('a key may be named with a version', () => {
  assert.deepEqual(parseKeyAndVersion('a/b'), { key: 'a/b', version: undefined });
  assert.deepEqual(parseKeyAndVersion('a/b@12'), { key: 'a/b', version: 12 });
  for (const text of ['', '@1', 'a@', 'a@0', 'a@x', 'a@1@2', 'a@-1']) {
    assert.throws(() => parseKeyAndVersion(text), refused, text);
  }
});

test('labels are pairs, each name once', () => {
  assert.deepEqual(parseLabels(['team=a', 'note=x=y', 'empty=']), {
    team: 'a',
    note: 'x=y',
    empty: '',
  });
  for (const pairs of [['team'], ['=a'], ['a=1', 'a=2']]) {
    assert.throws(() => parseLabels(pairs), refused, pairs.join());
  }
});

test('whole numbers keep to their limits', () => {
  assert.equal(parseWhole('1', 'n', 1, 5), 1);
  assert.equal(parseWhole('5', 'n', 1, 5), 5);
  for (const text of ['0', '6', '', '1.0', '0x1', '-1', ' 1']) {
    assert.throws(() => parseWhole(text, 'n', 1, 5), refused, text);
  }
});
