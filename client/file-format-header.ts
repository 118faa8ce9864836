import { KeyreeveError } from '../server/base/errors.ts';
import { refusal } from './file-format-refusal.ts';

/** `KEYREEVE` between bytes that a transfer in text mode damages; see docs/file-format.md. */
export const magic = Buffer.from('8b4b455952454556450d0a1a0a', 'hex');
export const formatVersion = 1;
/** AES-256-GCM in 64 KiB chunks after STREAM, under a key from HKDF-SHA-256. */
export const algorithmId = 1;
export const wrappedDataKeyMaximumBytes = 4096;
export const saltBytes = 32;
/** From the magic to the length of the wrapped data key. */
export const fixedPartBytes = 51;

const versionOffset = magic.length;
const algorithmOffset = versionOffset + 1;
const keyIdOffset = algorithmOffset + 1;
const keyIdBytes = 30;
const keyVersionOffset = keyIdOffset + keyIdBytes;
const wrappedLengthOffset = keyVersionOffset + 4;
// Its own pattern and not that of server/base/ids.ts: what ids look like may grow, this may not.
const keyIdPattern = /^key_[a-z2-7]{26}$/;
const keyVersionMaximum = 0xffff_ffff;

/** What the header of an encrypted file says. None of it is secret. */
export interface FileHeader {
  /** `key_` and 26 characters. */
  readonly keyId: string;
  /** The version that wrapped the data key, 1 to 2^32 - 1. */
  readonly keyVersion: number;
  /** Opaque bytes from the server, 1 to 4,096. */
  readonly wrappedDataKey: Buffer;
  /** 32 random bytes, fresh for each file. */
  readonly salt: Buffer;
}

/**
 * The bytes of a header, magic to salt (docs/file-format.md, "Header"). Throws `invalid-request` for
 * what has no place in one.
 */
export function encodeHeader(header: FileHeader): Buffer {
  const { keyId, keyVersion, wrappedDataKey, salt } = header;
  if (!keyIdPattern.test(keyId)) throw unfit('the key id has not the form of one');
  if (!Number.isInteger(keyVersion) || keyVersion < 1 || keyVersion > keyVersionMaximum) {
    throw unfit('the key version is not between 1 and 2^32 - 1');
  }
  if (wrappedDataKey.length < 1 || wrappedDataKey.length > wrappedDataKeyMaximumBytes) {
    throw unfit(`the wrapped data key has not 1 to ${wrappedDataKeyMaximumBytes} bytes`);
  }
  if (salt.length !== saltBytes) throw unfit(`the salt has not ${saltBytes} bytes`);
  const fixed = Buffer.alloc(fixedPartBytes);
  magic.copy(fixed);
  fixed[versionOffset] = formatVersion;
  fixed[algorithmOffset] = algorithmId;
  fixed.write(keyId, keyIdOffset, 'latin1');
  fixed.writeUInt32BE(keyVersion, keyVersionOffset);
  fixed.writeUInt16BE(wrappedDataKey.length, wrappedLengthOffset);
  return Buffer.concat([fixed, wrappedDataKey, salt]);
}

/**
 * The length in bytes of the header that begins so, from its first 51 bytes (fewer if the file ends
 * before). Checks them, so that nothing more is read of a file that is refused; throws
 * `invalid-ciphertext`.
 */
export function headerLength(start: Buffer): number {
  checkMagic(start);
  if (start.length < fixedPartBytes) throw refusal('header-cut');
  if (start[versionOffset] !== formatVersion) throw refusal('format-version');
  if (start[algorithmOffset] !== algorithmId) throw refusal('algorithm');
  if (!keyIdPattern.test(keyIdIn(start))) throw refusal('key-id');
  if (start.readUInt32BE(keyVersionOffset) === 0) throw refusal('key-version');
  const wrappedLength = start.readUInt16BE(wrappedLengthOffset);
  if (wrappedLength === 0 || wrappedLength > wrappedDataKeyMaximumBytes) {
    throw refusal('wrapped-key-length');
  }
  return fixedPartBytes + wrappedLength + saltBytes;
}

/**
 * Reads a header from the start of `bytes`; what follows it is ignored. The fields are copies. Throws
 * `invalid-ciphertext`. The header is authenticated only by the key check that follows it.
 */
export function decodeHeader(bytes: Buffer): { header: FileHeader; lengthBytes: number } {
  const lengthBytes = headerLength(bytes);
  if (bytes.length < lengthBytes) throw refusal('header-cut');
  const saltOffset = lengthBytes - saltBytes;
  return {
    lengthBytes,
    header: {
      keyId: keyIdIn(bytes),
      keyVersion: bytes.readUInt32BE(keyVersionOffset),
      wrappedDataKey: Buffer.from(bytes.subarray(fixedPartBytes, saltOffset)),
      salt: Buffer.from(bytes.subarray(saltOffset, lengthBytes)),
    },
  };
}

/** Whether bytes begin as a file of this format does. */
export function startsAsEncryptedFile(bytes: Uint8Array): boolean {
  return magic.equals(bytes.subarray(0, magic.length));
}

function checkMagic(start: Buffer): void {
  const found = start.subarray(0, magic.length);
  if (found.equals(magic)) return;
  const mangled = found.length === magic.length && found.includes('KEYREEVE', 0, 'latin1');
  throw refusal(mangled ? 'text-mode' : 'not-this-format');
}

function keyIdIn(bytes: Buffer): string {
  return bytes.toString('latin1', keyIdOffset, keyIdOffset + keyIdBytes);
}

function unfit(what: string): KeyreeveError {
  return new KeyreeveError('invalid-request', `The file cannot be encrypted: ${what}.`);
}
