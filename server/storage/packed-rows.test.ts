import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packRows, unpackRows } from './packed-rows.ts';

const made = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    id: index,
    leaf: new Uint8Array(index).fill(index),
    opening: index % 3 === 0 ? null : Uint8Array.of(index, 1, 2),
    name: `row ${index}`,
  }));

/** As from one thread to another: the buffer is handed over, not copied. */
function sent(rows: unknown[]): unknown[] {
  const packed = packRows(rows);
  const transfer = packed.bytes === undefined ? [] : [packed.bytes.buffer];
  return unpackRows(structuredClone(packed, { transfer }));
}

test('rows arrive as they were, with blobs that are empty, null and of any length', () => {
  assert.deepEqual(sent(made(100)), made(100));
  assert.equal(packRows(made(100)).blobs?.join(), 'leaf,opening');
});

test('few rows, and rows without blobs, are left as they are', () => {
  assert.equal(packRows(made(3)).bytes, undefined);
  assert.deepEqual(sent(made(3)), made(3));
  const plain = Array.from({ length: 50 }, (_, id) => ({ id, nothing: null }));
  assert.equal(packRows(plain).bytes, undefined);
  assert.deepEqual(sent([]), []);
});

test('a column that holds something else than blobs in one row is not packed', () => {
  const mixed = () => [
    ...made(20).map(({ id, leaf }) => ({ id, leaf: leaf as unknown })),
    { id: 20, leaf: 7 },
    { id: 21, leaf: 'text' },
  ];
  assert.equal(packRows(mixed()).bytes, undefined);
  assert.deepEqual(sent(mixed()), mixed());
});
