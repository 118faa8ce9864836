import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamOf, testDataKey, testFileKey } from '../test/file-format-cases.ts';
import { decryptStream, encryptStream, readHeader } from './file-format.ts';

// In a file of its own, and so in a process of its own: other tests would disturb the measure.
const contentMiB = 512;
const growthLimitMiB = 192;
const mebibyte = 1024 * 1024;

/** Content of any length from one piece of memory. */
async function* generated(totalBytes: number): AsyncGenerator<Buffer> {
  const piece = Buffer.alloc(65_536);
  for (let done = 0; done < totalBytes; done += piece.length) {
    piece.writeUInt32BE(done / piece.length);
    yield piece;
  }
}

/** Encrypts and decrypts that much in one go; checks the content; gives the peak of resident memory. */
async function peakMiB(totalBytes: number): Promise<number> {
  const { header, rest } = await readHeader(encryptStream(testFileKey(), generated(totalBytes)));
  let peak = 0;
  let count = 0;
  for await (const piece of decryptStream(header, testDataKey(), rest)) {
    assert.equal(piece.readUInt32BE(), count);
    if (count % 64 === 0) peak = Math.max(peak, process.memoryUsage.rss());
    count += 1;
  }
  assert.equal(count * 65_536, totalBytes);
  return peak / mebibyte;
}

test(`${contentMiB} MiB there and back take less than ${growthLimitMiB} MiB of memory`, async (t) => {
  // The first run fills caches and heap to what any run needs.
  await peakMiB(16 * mebibyte);
  const before = process.memoryUsage.rss() / mebibyte;
  const start = performance.now();
  const growth = (await peakMiB(contentMiB * mebibyte)) - before;
  const seconds = (performance.now() - start) / 1000;
  t.diagnostic(`grew by ${growth.toFixed()} MiB; ${(contentMiB / seconds).toFixed()} MiB/s`);
  assert.ok(growth < growthLimitMiB, `grew by ${growth.toFixed()} MiB`);
});

test('a header in pieces of one byte is read in bounded steps', async () => {
  const key = { ...testFileKey(), wrappedDataKey: Buffer.alloc(4096, 1) };
  const pieces: Buffer[] = [];
  for await (const piece of encryptStream(key, generated(0))) pieces.push(piece);
  const { header } = await readHeader(streamOf(Buffer.concat(pieces), 1));
  assert.deepEqual(header.wrappedDataKey, key.wrappedDataKey);
});
