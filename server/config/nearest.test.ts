import assert from 'node:assert/strict';
import { test } from 'node:test';
import { editDistance, nearest } from './nearest.ts';

test('distances count inserts, removals, replacements and swaps', () => {
  assert.equal(editDistance('', 'abc'), 3);
  assert.equal(editDistance('abc', 'abc'), 0);
  assert.equal(editDistance('abc', 'acb'), 1);
  assert.equal(editDistance('kitten', 'sitting'), 3);
});

test('the nearest is found within the limit, at its edge too', () => {
  assert.equal(nearest('PROT', ['PORT', 'DATA'], 1), 'PORT');
  assert.equal(nearest('XXXX', ['PORT', 'DATA'], 3), undefined);
  assert.equal(nearest('XXXT', ['PORT', 'DATA'], 3), 'PORT');
});
