import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { digestInputs } from './input-digest.ts';

/** As docs/record-format.md says, in one line. */
function expected(inputs: readonly Buffer[], key: string): string {
  const framed = inputs.flatMap((input) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(input.length);
    return [length, input];
  });
  return createHmac('sha256', Buffer.from(key, 'hex')).update(Buffer.concat(framed)).digest('hex');
}

test('few and many, short and long inputs are digested the same way', () => {
  for (const [count, length] of [
    [0, 0],
    [1, 0],
    [1, 32],
    [50, 32],
    [8, 1020],
    [8, 1021],
    [50, 1024],
    [1, 100_000],
  ] as const) {
    const inputs = Array.from({ length: count }, () => randomBytes(length));
    const { inputDigest, digestKey } = digestInputs(inputs);
    assert.equal(inputDigest, expected(inputs, digestKey), `${count} of ${length}`);
  }
});

test('the same inputs give another digest each time', () => {
  const inputs = [Buffer.from('yes')];
  assert.notEqual(digestInputs(inputs).inputDigest, digestInputs(inputs).inputDigest);
});
