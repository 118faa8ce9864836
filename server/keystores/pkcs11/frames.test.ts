import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameReader, FrameWriter } from './frames.ts';

test('the list of a token with many keys travels like any other answer', () => {
  const writer = new FrameWriter();
  const head = Buffer.alloc(300_000, 'x');
  writer.write(7, 3, head, [Buffer.from('item')]);
  writer.write(8, 1, Buffer.alloc(0), []);
  const bytes = writer.take();
  const reader = new FrameReader();
  const frames = [bytes.subarray(0, 70_000), bytes.subarray(70_000)].flatMap((chunk) => [
    ...reader.read(Buffer.from(chunk)),
  ]);
  assert.deepEqual(
    frames.map(({ id, code, head, items }) => [id, code, head.length, items.map(String)]),
    [
      [7, 3, head.length, ['item']],
      [8, 1, 0, []],
    ],
  );
});

test('a frame whose lengths do not fit each other is refused', () => {
  const writer = new FrameWriter();
  writer.write(1, 1, Buffer.from('head'), []);
  const bytes = writer.take();
  bytes.writeUInt32LE(100_000, 9);
  assert.throws(() => [...new FrameReader().read(bytes)]);
});
