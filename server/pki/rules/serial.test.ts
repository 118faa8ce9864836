import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newSerial, serialLengthBytes } from './serial.ts';

test('serial numbers are positive, of one length, without a leading zero, and never twice', () => {
  const seen = new Set<string>();
  for (let count = 0; count < 2000; count++) {
    const serial = newSerial();
    assert.equal(serial.length, serialLengthBytes);
    assert.ok(serial.length <= 20);
    assert.ok(serial[0]! >= 0x40 && serial[0]! <= 0x7f);
    seen.add(serial.toString('hex'));
  }
  assert.equal(seen.size, 2000);
});

test('each bit behind the first byte takes both values', () => {
  const ones = Buffer.alloc(serialLengthBytes);
  const zeros = Buffer.alloc(serialLengthBytes);
  for (let count = 0; count < 200; count++) {
    for (const [index, byte] of newSerial().entries()) {
      ones[index] = ones[index]! | byte;
      zeros[index] = zeros[index]! | ~byte;
    }
  }
  assert.equal(ones.subarray(1).toString('hex'), 'ff'.repeat(serialLengthBytes - 1));
  assert.equal(zeros.subarray(1).toString('hex'), 'ff'.repeat(serialLengthBytes - 1));
});

test('with the time the front counts it, so that numbers of one moment lie together', () => {
  const moment = Date.UTC(2030, 0, 1);
  const [before, first, second, after] = [moment - 1, moment, moment, moment + 1].map(newSerial);
  assert.ok(before!.compare(first!) < 0 && first!.compare(after!) < 0);
  assert.deepEqual(first!.subarray(0, 4), second!.subarray(0, 4));
  assert.notDeepEqual(first!.subarray(4), second!.subarray(4));
  assert.ok(first![0]! >= 0x40 && first![0]! <= 0x7f);
});
