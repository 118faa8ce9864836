/**
 * The one-time code of a login: a secret, and the hash of the key of the CA under which the service
 * shows itself, so that the very first connection is safe. Text: groups of lower-case base32
 * (Crockford's alphabet: no i, l, o, u) joined by `-`; of
 *
 *     version (1 byte) | secret (16) | first 16 bytes of SHA-256 of the CA's SPKI | CRC-16 (2)
 */
export const loginCodeSecretBytes = 16;
export const loginCodePinBytes = 16;
export const loginCodeTtlSeconds = 3600;

const version = 1;
const checksumBytes = 2;
const bodyBytes = 1 + loginCodeSecretBytes + loginCodePinBytes;
const textLetters = ((bodyBytes + checksumBytes) * 8) / 5;
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

export interface LoginCode {
  readonly secret: Uint8Array;
  /** The first `loginCodePinBytes` bytes of the SHA-256 of the CA's SPKI. */
  readonly caPin: Uint8Array;
}

/** The text of a code. `caFingerprint` is the SHA-256 of the CA's SPKI in hexadecimal. */
export function formatLoginCode(secret: Uint8Array, caFingerprint: string): string {
  if (secret.length !== loginCodeSecretBytes || !/^[0-9a-f]{64}$/i.test(caFingerprint)) {
    throw new RangeError('a login code holds 16 secret bytes and a SHA-256');
  }
  const bytes = new Uint8Array(bodyBytes + checksumBytes);
  bytes[0] = version;
  bytes.set(secret, 1);
  for (let index = 0; index < loginCodePinBytes; index++) {
    const pair = caFingerprint.slice(index * 2, index * 2 + 2);
    bytes[1 + loginCodeSecretBytes + index] = Number.parseInt(pair, 16);
  }
  const checksum = crc16(bytes.subarray(0, bodyBytes));
  bytes[bodyBytes] = checksum >> 8;
  bytes[bodyBytes + 1] = checksum & 0xff;
  return (toLetters(bytes).match(/.{7}/g) ?? []).join('-');
}

/**
 * Reads a code as people give it: any case, with or without hyphens and spaces, `o` for `0`, `i`
 * and `l` for `1`. Undefined where it is mistyped, cut, or of a version not known here.
 */
export function parseLoginCode(text: string): LoginCode | undefined {
  const letters = text.toLowerCase().replace(/[\s-]/g, '').replace(/o/g, '0').replace(/[il]/g, '1');
  if (letters.length !== textLetters) return undefined;
  const bytes = fromLetters(letters);
  if (bytes === undefined || bytes[0] !== version) return undefined;
  const checksum = (bytes[bodyBytes]! << 8) | bytes[bodyBytes + 1]!;
  if (checksum !== crc16(bytes.subarray(0, bodyBytes))) return undefined;
  return {
    secret: bytes.slice(1, 1 + loginCodeSecretBytes),
    caPin: bytes.slice(1 + loginCodeSecretBytes, bodyBytes),
  };
}

function toLetters(bytes: Uint8Array): string {
  let text = '';
  let bits = 0;
  let held = 0;
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(held >> (bits - 5)) & 31];
    held &= 31;
  }
  return text;
}

function fromLetters(letters: string): Uint8Array | undefined {
  const bytes = new Uint8Array((letters.length * 5) / 8);
  let bits = 0;
  let held = 0;
  let index = 0;
  for (const letter of letters) {
    const value = alphabet.indexOf(letter);
    if (value < 0) return undefined;
    held = ((held << 5) | value) & 0xfff;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[index++] = (held >> bits) & 0xff;
    }
  }
  return bytes;
}

/** CRC-16 with the polynomial 0x1021 from 0xffff: finds typing errors, protects nothing. */
function crc16(bytes: Uint8Array): number {
  let sum = 0xffff;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) sum = sum & 0x8000 ? (sum << 1) ^ 0x1021 : sum << 1;
    sum &= 0xffff;
  }
  return sum;
}
