import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { KeyreeveError } from '../server/base/errors.ts';
import type { SecretBytes } from '../server/base/secret-bytes.ts';
import { refusal } from './file-format-refusal.ts';

export const dataKeyBytes = 32;
/** Content in every chunk but the last. */
export const pieceBytes = 65_536;
export const tagBytes = 16;
export const chunkBytes = pieceBytes + tagBytes;
export const keyCheckBytes = 32;
/** The number of a chunk has four bytes, so that content ends at 2^48 bytes. */
export const chunksMaximum = 2 ** 32;

const chunkKeyBytes = 32;
const noncePrefixBytes = 7;
const cipherName = 'aes-256-gcm';
const infoLabel = Buffer.from('keyreeve file 1', 'latin1');

/** What follows from data key and header, for one file. */
export interface FileKeys {
  readonly chunkKey: KeyObject;
  readonly keyCheck: Buffer;
  readonly noncePrefix: Buffer;
}

/**
 * Derives the keys of a file (HKDF-SHA-256, RFC 5869; docs/file-format.md, "Algorithm 1"). `header` is
 * its bytes, magic to salt. Throws `invalid-key-material` unless the data key has 32 bytes.
 */
export function deriveFileKeys(dataKey: SecretBytes, header: Buffer, salt: Buffer): FileKeys {
  if (dataKey.length !== dataKeyBytes) {
    throw new KeyreeveError('invalid-key-material', `A data key has ${dataKeyBytes} bytes.`);
  }
  const info = Buffer.concat([infoLabel, createHash('sha256').update(header).digest()]);
  const length = chunkKeyBytes + keyCheckBytes + noncePrefixBytes;
  const output = Buffer.from(hkdfSync('sha256', dataKey.reveal(), salt, info, length));
  const chunkKey = createSecretKey(output.subarray(0, chunkKeyBytes));
  output.fill(0, 0, chunkKeyBytes);
  return {
    chunkKey,
    keyCheck: output.subarray(chunkKeyBytes, chunkKeyBytes + keyCheckBytes),
    noncePrefix: output.subarray(chunkKeyBytes + keyCheckBytes),
  };
}

/** The 12 bytes of a STREAM nonce: prefix, number of the chunk, flag of the final one. */
export function chunkNonce(prefix: Buffer, number: number, final: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  prefix.copy(nonce);
  nonce.writeUInt32BE(number, noncePrefixBytes);
  nonce[11] = final ? 1 : 0;
  return nonce;
}

/** Encrypts a piece; throws `too-large` when the numbers of chunks are used up. */
export function sealChunk(keys: FileKeys, number: number, final: boolean, piece: Buffer): Buffer {
  if (number >= chunksMaximum) {
    throw new KeyreeveError('too-large', 'An encrypted file holds at most 2^48 bytes.', {
      hint: 'Split the content into several files.',
    });
  }
  const nonce = chunkNonce(keys.noncePrefix, number, final);
  const cipher = createCipheriv(cipherName, keys.chunkKey, nonce, { authTagLength: tagBytes });
  const ciphertext = cipher.update(piece);
  cipher.final();
  return Buffer.concat([ciphertext, cipher.getAuthTag()]);
}

/** Decrypts a chunk; throws `invalid-ciphertext` unless it is genuine and in its place. */
export function openChunk(keys: FileKeys, number: number, final: boolean, chunk: Buffer): Buffer {
  if (number >= chunksMaximum) throw refusal('too-many-chunks', number);
  const length = chunk.length - tagBytes;
  // One division of each content into chunks: an empty one stands only for empty content.
  if (final && length === 0 && number > 0) throw refusal('empty-final-chunk', number);
  const reason = final ? 'final-chunk' : 'chunk';
  if (length < 0) throw refusal(reason, number);
  const nonce = chunkNonce(keys.noncePrefix, number, final);
  const decipher = createDecipheriv(cipherName, keys.chunkKey, nonce, { authTagLength: tagBytes });
  decipher.setAuthTag(chunk.subarray(length));
  const piece = decipher.update(chunk.subarray(0, length));
  try {
    decipher.final();
  } catch {
    piece.fill(0);
    throw refusal(reason, number);
  }
  return piece;
}
