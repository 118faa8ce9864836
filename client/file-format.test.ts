import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import { SecretBytes } from '../server/base/secret-bytes.ts';
import {
  chunkBytes,
  collect,
  contentOf,
  damagedFiles,
  decryptBytes,
  encryptBytes,
  pieceBytes,
  streamOf,
  testDataKey,
  testFileKey,
} from '../test/file-format-cases.ts';
import {
  decodeHeader,
  decryptStream,
  encodeHeader,
  encryptStream,
  readHeader,
  refusalReasons,
} from './file-format.ts';
import { chunkNonce, deriveFileKeys, openChunk, sealChunk } from './file-format-chunks.ts';

const salt = Buffer.alloc(32, 5);

function refuses(reason: string) {
  return (error: unknown) =>
    isKeyreeveError(error, 'invalid-ciphertext') && error.data.reason === reason;
}

describe('round trips', () => {
  const lengths = [0, 1, 15, 16, 17, pieceBytes - 1, pieceBytes, pieceBytes + 1];
  for (const length of [...lengths, 2 * pieceBytes, 2 * pieceBytes + 1, 200_000]) {
    test(`content of ${length} bytes comes back, in a file of the stated length`, async () => {
      const content = contentOf(length);
      const file = await encryptBytes(content);
      const chunks = Math.max(1, Math.ceil(length / pieceBytes));
      assert.equal(file.length, 83 + 72 + 32 + length + 16 * chunks);
      assert.deepEqual(await decryptBytes(file), content);
    });
  }

  for (const length of [1, 7, 65_535, 65_536, 65_537, 65_552, 65_553, 300_000]) {
    test(`the source may give pieces of ${length} bytes`, async () => {
      const content = contentOf(length === 1 ? 70_000 : 200_000);
      const whole = await encryptBytes(content, salt);
      const file = await collect(
        encryptStream(testFileKey(), streamOf(content, length), () => salt),
      );
      assert.ok(file.equals(whole), 'the file does not depend on how the content arrives');
      const { header, rest } = await readHeader(streamOf(file, length));
      const found = await collect(decryptStream(header, testDataKey(), rest));
      assert.ok(found.equals(content));
    });
  }

  test('empty pieces of the source are nothing', async () => {
    async function* source() {
      yield Buffer.alloc(0);
      yield contentOf(3);
      yield Buffer.alloc(0);
    }
    const file = await collect(encryptStream(testFileKey(), source(), () => salt));
    assert.ok(file.equals(await encryptBytes(contentOf(3), salt)));
  });

  test('the same content twice under one data key has no chunk in common', async () => {
    const first = await encryptBytes(contentOf(pieceBytes));
    const second = await encryptBytes(contentOf(pieceBytes));
    const body = decodeHeader(first).lengthBytes + 32;
    assert.ok(!first.subarray(body, body + 64).equals(second.subarray(body, body + 64)));
  });

  test('the data key may be disposed of as soon as the call returns', async () => {
    const key = testFileKey();
    const encrypted = encryptStream(key, streamOf(contentOf(10)));
    key.dataKey[Symbol.dispose]();
    const { header, rest } = await readHeader(encrypted);
    const dataKey = testDataKey();
    const decrypted = decryptStream(header, dataKey, rest);
    dataKey[Symbol.dispose]();
    assert.deepEqual(await collect(decrypted), contentOf(10));
  });
});

describe('refusals', async () => {
  const damaged = await damagedFiles();
  for (const { name, bytes, reason } of damaged) {
    test(`${name}: ${reason}`, async () => {
      await assert.rejects(decryptBytes(bytes), refuses(reason));
    });
  }

  test('every reason has a case here', () => {
    const shown = new Set<string>(damaged.map(({ reason }) => reason));
    // No file of sensible size has too many chunks: the limits below show that one.
    shown.add('too-many-chunks');
    assert.deepEqual([...shown].sort(), Object.keys(refusalReasons).sort());
  });

  test('every reason is in the documented table', () => {
    const page = readFileSync(join(import.meta.dirname, '../docs/file-format.md'), 'utf8');
    for (const reason of Object.keys(refusalReasons)) assert.ok(page.includes(`| \`${reason}\` |`));
  });

  test('another data key is refused before any chunk is opened', async () => {
    const file = await encryptBytes(contentOf(10));
    const wrong = new SecretBytes(Buffer.alloc(32, 1));
    await assert.rejects(decryptBytes(file, wrong), refuses('key-check'));
  });

  test('a data key of another length is refused', async () => {
    for (const length of [0, 16, 31, 33]) {
      const dataKey = new SecretBytes(Buffer.alloc(length));
      const invalid = (error: unknown) => isKeyreeveError(error, 'invalid-key-material');
      assert.throws(() => encryptStream({ ...testFileKey(), dataKey }, streamOf(salt)), invalid);
      await assert.rejects(decryptBytes(await encryptBytes(salt), dataKey), invalid);
    }
  });

  test('what has no place in a header is refused before anything is written', () => {
    const good = { ...testFileKey(), salt };
    const bad = [
      { keyId: 'key_ABCDEFGHIJKLMNOPQRSTUVWXYZ' },
      { keyId: 'prn_abcdefghijklmnopqrstuvwxyz' },
      { keyId: 'key_abcdefghijklmnopqrstuvwxyz\n' },
      { keyVersion: 0 },
      { keyVersion: 2 ** 32 },
      { keyVersion: 1.5 },
      { wrappedDataKey: Buffer.alloc(0) },
      { wrappedDataKey: Buffer.alloc(4097) },
      { salt: Buffer.alloc(31) },
    ];
    for (const change of bad) {
      const header = { ...good, ...change };
      assert.throws(
        () => encodeHeader(header),
        (error) => isKeyreeveError(error, 'invalid-request'),
        JSON.stringify(change),
      );
    }
  });

  test('a failing source gives its own error, in the header and in the body', async () => {
    const file = await encryptBytes(contentOf(100_000));
    async function* failing(length: number) {
      yield file.subarray(0, length);
      throw new Error('the disk broke');
    }
    await assert.rejects(readHeader(failing(40)), /the disk broke/);
    const { header, rest } = await readHeader(failing(80_000));
    await assert.rejects(collect(decryptStream(header, testDataKey(), rest)), /the disk broke/);
    const encrypted = collect(encryptStream(testFileKey(), failing(80_000)));
    await assert.rejects(encrypted, /the disk broke/);
  });
});

describe('limits', () => {
  const keys = deriveFileKeys(testDataKey(), Buffer.from('header'), salt);

  test('headers at their limits are written and read back', () => {
    for (const keyVersion of [1, 2 ** 32 - 1]) {
      for (const length of [1, 4096]) {
        const header = {
          keyId: 'key_234567abcdefghijklmnopqrst',
          keyVersion,
          wrappedDataKey: Buffer.alloc(length, 7),
          salt,
        };
        const bytes = encodeHeader(header);
        assert.equal(bytes.length, 83 + length);
        assert.deepEqual(decodeHeader(bytes), { header, lengthBytes: bytes.length });
      }
    }
  });

  test('the last number of a chunk is 2^32 - 1, for writer and reader', () => {
    const piece = Buffer.from('the last one');
    const chunk = sealChunk(keys, 2 ** 32 - 1, true, piece);
    assert.deepEqual(openChunk(keys, 2 ** 32 - 1, true, chunk), piece);
    assert.throws(
      () => sealChunk(keys, 2 ** 32, true, piece),
      (error) => isKeyreeveError(error, 'too-large'),
    );
    assert.throws(() => openChunk(keys, 2 ** 32, true, chunk), refuses('too-many-chunks'));
  });

  test('the nonce is prefix, number, flag', () => {
    const prefix = Buffer.from('01020304050607', 'hex');
    assert.equal(chunkNonce(prefix, 0, false).toString('hex'), '010203040506070000000000');
    assert.equal(chunkNonce(prefix, 0xfffefdfc, true).toString('hex'), '01020304050607fffefdfc01');
  });

  test('a length that is too large is refused without reading on', async () => {
    const file = await encryptBytes(contentOf(10));
    file.writeUInt16BE(0xffff, 49);
    let asked = 0;
    async function* source() {
      yield file.subarray(0, 60);
      for (;;) {
        asked += 1;
        yield Buffer.alloc(1024);
      }
    }
    await assert.rejects(readHeader(source()), refuses('wrapped-key-length'));
    assert.equal(asked, 0);
  });

  test('an endless file of another kind is refused without reading on', async () => {
    let given = 0;
    async function* source() {
      for (;;) {
        given += 16;
        yield Buffer.alloc(16);
      }
    }
    await assert.rejects(readHeader(source()), refuses('not-this-format'));
    assert.ok(given <= 64);
  });
});

describe('flow', () => {
  test('nothing is read ahead of the consumer, but the byte that tells the end', async () => {
    let given = 0;
    async function* source() {
      for (let count = 0; count < 100; count++) {
        given += 1;
        yield contentOf(pieceBytes);
      }
    }
    const encrypted = encryptStream(testFileKey(), source())[Symbol.asyncIterator]();
    await encrypted.next();
    assert.equal(given, 0, 'the header needs no content');
    await encrypted.next();
    assert.equal(given, 2);
    await encrypted.next();
    assert.equal(given, 3);
    await encrypted.return?.();
  });

  test('a consumer that leaves early closes the source, writing and reading', async () => {
    const closed: string[] = [];
    async function* watched(name: string, bytes: Buffer) {
      try {
        yield* streamOf(bytes);
      } finally {
        closed.push(name);
      }
    }
    const content = contentOf(3 * pieceBytes);
    let count = 0;
    for await (const _ of encryptStream(testFileKey(), watched('encrypt', content))) {
      count += 1;
      if (count === 2) break;
    }
    const file = await encryptBytes(content);
    const { header, rest } = await readHeader(watched('decrypt', file));
    for await (const _ of decryptStream(header, testDataKey(), rest)) break;
    await assert.rejects(readHeader(watched('header', content)));
    const unread = await readHeader(watched('rest', file));
    await unread.rest[Symbol.asyncIterator]().return?.();
    const damaged = Buffer.from(file);
    damaged[file.length - chunkBytes]! ^= 1;
    const opened = await readHeader(watched('damaged', damaged));
    await assert.rejects(collect(decryptStream(opened.header, testDataKey(), opened.rest)));
    assert.deepEqual(closed, ['encrypt', 'decrypt', 'header', 'rest', 'damaged']);
  });
});
