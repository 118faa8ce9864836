import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomNonce } from './random.ts';

test('nonces are as long as asked for, and none is given out twice', () => {
  const seen = new Set<string>();
  for (let count = 0; count < 2000; count++) {
    for (const length of [12, 24, 32]) {
      const nonce = randomNonce(length);
      assert.equal(nonce.length, length);
      // Half of it tells already: pieces of a stock that overlap would show.
      seen.add(nonce.toString('hex', 0, 6)).add(nonce.toString('hex', length - 6));
    }
  }
  assert.equal(seen.size, 2000 * 3 * 2);
});

test('a nonce that was given out does not change when more are', () => {
  const nonce = randomNonce(24);
  const before = nonce.toString('hex');
  for (let count = 0; count < 2000; count++) randomNonce(24);
  assert.equal(nonce.toString('hex'), before);
});
