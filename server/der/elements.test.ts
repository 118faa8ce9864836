import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bitLength,
  derChildren,
  derUnsigned,
  encodeDer,
  encodeDerUnsigned,
  readDer,
  readWholeDer,
} from './elements.ts';

test('numbers and lengths of every size come back as they were written', () => {
  for (const bits of [0n, 1n, 7n, 8n, 15n, 63n, 64n, 65n, 1023n, 2048n, 600_000n]) {
    for (const value of [2n ** bits - 1n, 2n ** bits, 2n ** bits + 1n]) {
      assert.equal(derUnsigned(readWholeDer(encodeDerUnsigned(value))), value);
    }
  }
  assert.equal(encodeDerUnsigned(127n).toString('hex'), '02017f');
  assert.equal(encodeDerUnsigned(128n).toString('hex'), '02020080');
  assert.equal(encodeDer(0x04, Buffer.alloc(128)).toString('hex', 0, 3), '048180');
  assert.equal(bitLength(1n), 1);
  assert.equal(bitLength(2n ** 2047n), 2048);
});

test('anything but DER is refused', () => {
  for (const hex of [
    ...[
      '',
      '02',
      '0201',
      '020200',
      '3080020101',
      '1f0100',
      '02810101',
      '0282000101',
      '0285000000000101',
    ],
    ...['3003020101ff', '02017f00'],
  ]) {
    assert.throws(() => readWholeDer(Buffer.from(hex, 'hex')), RangeError, hex);
  }
  assert.throws(() => derUnsigned(readDer(Buffer.from('0201ff', 'hex'))), RangeError);
  assert.throws(() => derUnsigned(readDer(Buffer.from('0200', 'hex'))), RangeError);
  assert.throws(() => derUnsigned(readDer(Buffer.from('040101', 'hex'))), RangeError);
  assert.throws(() => derUnsigned(undefined), RangeError);
  assert.throws(() => derChildren(readDer(Buffer.from('3003020201', 'hex'))), RangeError);
});

test('any bytes are read or refused, and never break the reader', () => {
  let seed = 1;
  const next = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed >>> 16;
  };
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(Array.from({ length: next() % 12 }, next));
    if (round % 2 === 0 && bytes.length > 1) bytes.set([0x30, bytes.length - 2]);
    try {
      for (const child of derChildren(readWholeDer(bytes))) assert.ok(child.end <= bytes.length);
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error));
    }
  }
});
