/** Encrypted files for the tests of the format: whole ones, and each way to damage one. */

import {
  decodeHeader,
  decryptStream,
  encodeHeader,
  encryptStream,
  type FileDataKey,
  type RefusalReason,
  readHeader,
} from '../client/file-format.ts';
import { deriveFileKeys, sealChunk } from '../client/file-format-chunks.ts';
import { SecretBytes } from '../server/base/secret-bytes.ts';

export const pieceBytes = 65_536;
export const chunkBytes = pieceBytes + 16;
export const keyCheckBytes = 32;
export const dataKeyHex = '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f';

export interface DamagedFile {
  readonly name: string;
  readonly bytes: Buffer;
  readonly reason: RefusalReason;
}

/** The content of that length that the vectors hold. */
export function contentOf(length: number): Buffer {
  const content = Buffer.alloc(length);
  for (let index = 0; index < length; index++) content[index] = index * 7 + (index >> 8);
  return content;
}

export function testDataKey(): SecretBytes {
  return new SecretBytes(Buffer.from(dataKeyHex, 'hex'));
}

export function testFileKey(): FileDataKey {
  return {
    keyId: 'key_abcdefghijklmnopqrstuvwxyz',
    keyVersion: 3,
    wrappedDataKey: Buffer.alloc(72, 0xa5),
    dataKey: testDataKey(),
  };
}

/** A stream of these bytes in pieces of that length, all in the same memory. */
export async function* streamOf(bytes: Buffer, length = 10_000): AsyncGenerator<Buffer> {
  const memory = Buffer.alloc(length);
  for (let offset = 0; offset < bytes.length; offset += length) {
    const copied = bytes.copy(memory, 0, offset, offset + length);
    yield memory.subarray(0, copied);
    memory.fill(0xee);
  }
}

export async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

export async function encryptBytes(content: Buffer, salt?: Buffer): Promise<Buffer> {
  const random = salt === undefined ? undefined : () => salt;
  return await collect(encryptStream(testFileKey(), streamOf(content), random));
}

export async function decryptBytes(file: Buffer, dataKey = testDataKey()): Promise<Buffer> {
  const { header, rest } = await readHeader(streamOf(file));
  return await collect(decryptStream(header, dataKey, rest));
}

/** A file whose chunks are sealed as told, which no writer of ours would make. */
export function forgeFile(chunks: readonly { number: number; final: boolean; piece: Buffer }[]) {
  const { keyId, keyVersion, wrappedDataKey, dataKey } = testFileKey();
  const salt = Buffer.alloc(32, 9);
  const header = encodeHeader({ keyId, keyVersion, wrappedDataKey, salt });
  const keys = deriveFileKeys(dataKey, header, salt);
  const sealed = chunks.map(({ number, final, piece }) => sealChunk(keys, number, final, piece));
  return Buffer.concat([header, keys.keyCheck, ...sealed]);
}

/** Every way in docs/file-format.md to be refused that a file of sensible size can show. */
export async function damagedFiles(): Promise<DamagedFile[]> {
  // Two full chunks and one of 1,000 bytes.
  const file = await encryptBytes(contentOf(2 * pieceBytes + 1000), Buffer.alloc(32, 1));
  const other = await encryptBytes(contentOf(2 * pieceBytes + 1000), Buffer.alloc(32, 2));
  return [
    ...cutFiles(file),
    ...alteredHeaders(file),
    ...mangledFiles(file),
    ...rearrangedFiles(file, other),
    ...(await alteredEnds(file)),
  ];
}

function cutFiles(file: Buffer): DamagedFile[] {
  const header = decodeHeader(file).lengthBytes;
  const body = header + keyCheckBytes;
  const cuts: [number, RefusalReason][] = [
    [0, 'not-this-format'],
    [12, 'not-this-format'],
    [13, 'header-cut'],
    [50, 'header-cut'],
    [51, 'header-cut'],
    [header - 1, 'header-cut'],
    [header, 'header-cut'],
    [body - 1, 'header-cut'],
    [body, 'final-chunk'],
    [body + 15, 'final-chunk'],
    [body + 16, 'final-chunk'],
    [body + chunkBytes - 1, 'final-chunk'],
    [body + chunkBytes, 'final-chunk'],
    [body + chunkBytes + 1, 'final-chunk'],
    [body + chunkBytes + 16, 'empty-final-chunk'],
    [body + 2 * chunkBytes, 'final-chunk'],
    [body + 2 * chunkBytes + 15, 'final-chunk'],
    [body + 2 * chunkBytes + 16, 'empty-final-chunk'],
    [file.length - 1, 'final-chunk'],
  ];
  return cuts.map(([length, reason]) => ({
    name: `cut to ${length} bytes`,
    bytes: file.subarray(0, length),
    reason,
  }));
}

function alteredHeaders(file: Buffer): DamagedFile[] {
  const header = decodeHeader(file).lengthBytes;
  const changes: [string, number, number[], RefusalReason][] = [
    ['first byte', 0, [0x8a], 'text-mode'],
    ['name in the magic', 3, [0x00], 'not-this-format'],
    ['format version 0', 13, [0], 'format-version'],
    ['format version 2', 13, [2], 'format-version'],
    ['algorithm 0', 14, [0], 'algorithm'],
    ['algorithm 2', 14, [2], 'algorithm'],
    ['prefix of the key id', 17, [0x7a], 'key-id'],
    ['capital letter in the key id', 20, [0x41], 'key-id'],
    ['line feed at the end of the key id', 44, [0x0a], 'key-id'],
    ['byte of no ASCII in the key id', 30, [0xe9], 'key-id'],
    ['another key id', 20, [0x7a], 'key-check'],
    ['key version 0', 45, [0, 0, 0, 0], 'key-version'],
    ['another key version', 45, [0, 0, 0, 4], 'key-check'],
    ['no wrapped data key', 49, [0, 0], 'wrapped-key-length'],
    ['too long a wrapped data key', 49, [0x10, 0x01], 'wrapped-key-length'],
    ['longest length of all', 49, [0xff, 0xff], 'wrapped-key-length'],
    ['longest wrapped data key', 49, [0x10, 0x00], 'key-check'],
    ['wrapped data key longer by one', 49, [0, 73], 'key-check'],
    ['wrapped data key shorter by one', 49, [0, 71], 'key-check'],
    ['wrapped data key', 51, [0], 'key-check'],
    ['salt', header - 1, [0], 'key-check'],
    ['first byte of the key check', header, [file[header]! ^ 1], 'key-check'],
    ['last byte of the key check', header + 31, [file[header + 31]! ^ 0x80], 'key-check'],
  ];
  return changes.map(([name, offset, bytes, reason]) => {
    const altered = Buffer.from(file);
    altered.set(bytes, offset);
    return { name: `altered: ${name}`, bytes: altered, reason };
  });
}

function mangledFiles(file: Buffer): DamagedFile[] {
  const text = file.toString('latin1');
  const replaced = (name: string, changed: string, reason: RefusalReason) => ({
    name: `transfer in text mode: ${name}`,
    bytes: Buffer.from(changed, 'latin1'),
    reason,
  });
  return [
    replaced('CR LF to LF', text.replaceAll('\r\n', '\n'), 'text-mode'),
    replaced('LF to CR LF', text.replaceAll('\n', '\r\n'), 'text-mode'),
    replaced('LF to CR', text.replaceAll('\n', '\r'), 'text-mode'),
    replaced('first byte lost', text.slice(1), 'text-mode'),
    {
      name: 'transfer in text mode: seven bits',
      bytes: file.map((byte) => byte & 0x7f) as Buffer,
      reason: 'text-mode',
    },
    {
      name: 'transfer in text mode: read as UTF-8',
      bytes: Buffer.from(file.toString('utf8'), 'utf8'),
      reason: 'text-mode',
    },
    {
      name: 'another kind of file',
      bytes: Buffer.from('-----BEGIN PGP MESSAGE-----\n'),
      reason: 'not-this-format',
    },
  ];
}

function rearrangedFiles(file: Buffer, other: Buffer): DamagedFile[] {
  const body = decodeHeader(file).lengthBytes + keyCheckBytes;
  const start = file.subarray(0, body);
  const first = file.subarray(body, body + chunkBytes);
  const second = file.subarray(body + chunkBytes, body + 2 * chunkBytes);
  const last = file.subarray(body + 2 * chunkBytes);
  const foreign = other.subarray(body, body + chunkBytes);
  const of = (name: string, chunks: Buffer[], reason: RefusalReason) => ({
    name: `rearranged: ${name}`,
    bytes: Buffer.concat([start, ...chunks]),
    reason,
  });
  return [
    of('two chunks exchanged', [second, first, last], 'chunk'),
    of('chunk repeated', [first, first, second, last], 'chunk'),
    of('first chunk missing', [second, last], 'chunk'),
    of('middle chunk missing', [first, last], 'final-chunk'),
    of('final chunk twice', [first, second, last, last], 'final-chunk'),
    of('final chunk first', [last, first, second], 'chunk'),
    of('all chunks twice', [first, second, last, first, second, last], 'chunk'),
    of('chunk of another file under the same data key', [foreign, second, last], 'chunk'),
    of('one byte after the end', [first, second, last, Buffer.alloc(1)], 'final-chunk'),
    of('a file after the file', [first, second, last, file], 'chunk'),
    {
      name: 'rearranged: body under the header of another file',
      bytes: Buffer.concat([other.subarray(0, body), first, second, last]),
      reason: 'chunk',
    },
    {
      name: 'rearranged: byte in the middle missing',
      bytes: Buffer.concat([file.subarray(0, body + 500), file.subarray(body + 501)]),
      reason: 'chunk',
    },
  ];
}

async function alteredEnds(file: Buffer): Promise<DamagedFile[]> {
  const full = contentOf(pieceBytes);
  const empty = Buffer.alloc(0);
  const exact = await encryptBytes(full);
  const nothing = await encryptBytes(empty);
  const flip = (bytes: Buffer, offset: number) => {
    const altered = Buffer.from(bytes);
    altered[offset]! ^= 1;
    return altered;
  };
  const body = decodeHeader(file).lengthBytes + keyCheckBytes;
  const cases: [string, Buffer, RefusalReason][] = [
    ['byte of the first chunk', flip(file, body), 'chunk'],
    ['tag of the first chunk', flip(file, body + chunkBytes - 1), 'chunk'],
    ['byte of the final chunk', flip(file, body + 2 * chunkBytes), 'final-chunk'],
    ['tag of the final chunk', flip(file, file.length - 1), 'final-chunk'],
    ['tag of the empty chunk', flip(nothing, nothing.length - 1), 'final-chunk'],
    ['byte after a full final chunk', Buffer.concat([exact, Buffer.alloc(1)]), 'chunk'],
    ['byte after an empty chunk', Buffer.concat([nothing, Buffer.alloc(1)]), 'final-chunk'],
    ['no chunk at all', forgeFile([]), 'final-chunk'],
    [
      'final chunk sealed as one of the middle',
      forgeFile([{ number: 0, final: false, piece: Buffer.from('cut') }]),
      'final-chunk',
    ],
    [
      'chunk of the middle sealed as final',
      forgeFile([
        { number: 0, final: true, piece: full },
        { number: 1, final: true, piece: full },
      ]),
      'chunk',
    ],
    [
      'empty final chunk after a full one',
      forgeFile([
        { number: 0, final: false, piece: full },
        { number: 1, final: true, piece: empty },
      ]),
      'empty-final-chunk',
    ],
    [
      'numbers from one',
      forgeFile([{ number: 1, final: true, piece: Buffer.from('x') }]),
      'final-chunk',
    ],
  ];
  return cases.map(([name, bytes, reason]) => ({ name: `end: ${name}`, bytes, reason }));
}
