/**
 * The encrypted-file format of docs/file-format.md, as streams. Bytes in, bytes out: nothing here
 * knows of files or the server. `encrypted-file.ts` is the safe way to handle whole files.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { SecretBytes } from '../server/base/secret-bytes.ts';
import { rechunk, StreamStart } from './file-format-bytes.ts';
import {
  chunkBytes,
  deriveFileKeys,
  type FileKeys,
  keyCheckBytes,
  openChunk,
  pieceBytes,
  sealChunk,
} from './file-format-chunks.ts';
import {
  decodeHeader,
  encodeHeader,
  type FileHeader,
  fixedPartBytes,
  headerLength,
  saltBytes,
} from './file-format-header.ts';
import { refusal } from './file-format-refusal.ts';

export { dataKeyBytes } from './file-format-chunks.ts';
export {
  decodeHeader,
  encodeHeader,
  type FileHeader,
  startsAsEncryptedFile,
  wrappedDataKeyMaximumBytes,
} from './file-format-header.ts';
export { type RefusalReason, refusalReasons } from './file-format-refusal.ts';

/** A data key as the server gives it: for one file. */
export interface FileDataKey {
  readonly keyId: string;
  readonly keyVersion: number;
  readonly wrappedDataKey: Buffer;
  /** 32 bytes. Used while the call lasts; the caller disposes of it afterwards. */
  readonly dataKey: SecretBytes;
}

/** Where the salt comes from: `randomBytes` of node:crypto but in tests. */
export type RandomSource = (count: number) => Buffer;

/**
 * Encrypts a stream of any size in constant memory. The source may give pieces of any length and use
 * its memory again; nothing is read ahead of the consumer. The data key may be disposed of when the
 * call returns. Throws `invalid-request` or `invalid-key-material` at once, `too-large` after 2^48
 * bytes; errors of the source pass through.
 */
export function encryptStream(
  key: FileDataKey,
  source: AsyncIterable<Buffer>,
  random: RandomSource = randomBytes,
): AsyncIterable<Buffer> {
  const { keyId, keyVersion, wrappedDataKey, dataKey } = key;
  const salt = random(saltBytes);
  const header = encodeHeader({ keyId, keyVersion, wrappedDataKey, salt });
  const keys = deriveFileKeys(dataKey, header, salt);
  return sealAll(Buffer.concat([header, keys.keyCheck]), keys, source);
}

/**
 * Reads the header from the start of a stream; `rest` is what follows, for `decryptStream`. Reads and
 * holds no more than a header may have, beyond what the source gives at once. Throws
 * `invalid-ciphertext`, and closes the source then. The header is not authenticated yet: it tells
 * whom to ask for the data key, nothing else.
 */
export async function readHeader(
  source: AsyncIterable<Buffer>,
): Promise<{ header: FileHeader; rest: AsyncIterable<Buffer> }> {
  const start = new StreamStart(source);
  try {
    const length = headerLength(await start.peek(fixedPartBytes));
    const { header } = decodeHeader(await start.take(length));
    return { header, rest: start.rest() };
  } catch (error) {
    await start.close();
    throw error;
  }
}

/**
 * Decrypts what follows a header. Each piece given out is genuine and in its place, but only the end of
 * the iteration says that the content is whole: release nothing before. The data key may be disposed
 * of when the call returns. Throws `invalid-ciphertext`, with a reason of `refusalReasons` in the
 * error's data; errors of the source pass through.
 */
export function decryptStream(
  header: FileHeader,
  dataKey: SecretBytes,
  rest: AsyncIterable<Buffer>,
): AsyncIterable<Buffer> {
  const keys = deriveFileKeys(dataKey, encodeHeader(header), header.salt);
  return openAll(keys, rest);
}

async function* sealAll(
  start: Buffer,
  keys: FileKeys,
  source: AsyncIterable<Buffer>,
): AsyncGenerator<Buffer> {
  yield start;
  let number = 0;
  for await (const { bytes, final } of rechunk(source, pieceBytes)) {
    yield sealChunk(keys, number, final, bytes);
    number += 1;
  }
}

async function* openAll(keys: FileKeys, rest: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const start = new StreamStart(rest);
  try {
    const keyCheck = await start.take(keyCheckBytes);
    if (keyCheck.length < keyCheckBytes) throw refusal('header-cut');
    if (!timingSafeEqual(keyCheck, keys.keyCheck)) throw refusal('key-check');
    let number = 0;
    for await (const { bytes, final } of rechunk(start.rest(), chunkBytes)) {
      const piece = openChunk(keys, number, final, bytes);
      if (piece.length > 0) yield piece;
      number += 1;
    }
  } finally {
    await start.close();
  }
}
