import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/**
 * An API token: `krv_`, 32 random bytes as 43 letters of base62, and their CRC-32 as 6 more, so that
 * secret scanners recognise one and a mistyped or cut one is told from an unknown one without a
 * look into the database. The checksum protects nothing.
 */
export const tokenPrefix = 'krv_';
export const tokenSecretBytes = 32;
const secretLetters = 43;
const checksumLetters = 6;
export const tokenLengthLetters = tokenPrefix.length + secretLetters + checksumLetters;

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const pattern = /^krv_[0-9A-Za-z]{49}$/;

/** A fresh token. Shown once: only its hash is kept. */
export function makeToken(): string {
  const secret = randomBytes(tokenSecretBytes);
  const text = `${tokenPrefix}${base62(BigInt(`0x${secret.toString('hex')}`), secretLetters)}`;
  secret.fill(0);
  return text + checksumOf(text);
}

/** Whether the text has the form of a token and its checksum is right. */
export function isToken(text: string): boolean {
  if (text.length !== tokenLengthLetters || !pattern.test(text)) return false;
  return checksumOf(text.slice(0, -checksumLetters)) === text.slice(-checksumLetters);
}

/** What is stored of a token: SHA-256 of its text. 256 random bits need no slow hash. */
export function tokenHash(token: string): Buffer {
  return hash('sha256', token, 'buffer');
}

function checksumOf(text: string): string {
  return base62(BigInt(crc32(text)), checksumLetters);
}

function base62(value: bigint, letters: number): string {
  let text = '';
  let rest = value;
  for (let index = 0; index < letters; index++) {
    text = alphabet[Number(rest % 62n)] + text;
    rest /= 62n;
  }
  return text;
}
