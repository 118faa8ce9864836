import type { KeyObject } from 'node:crypto';

/** Big-endian bytes as a number. */
export function toNumber(bytes: Uint8Array): bigint {
  return bytes.length === 0 ? 0n : BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

/** A number as so many big-endian bytes; longer where it does not fit. */
export function toBytes(value: bigint, length = 1): Buffer {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(Math.max(length * 2, hex.length + (hex.length % 2)), '0'), 'hex');
}

/** The modulus of an RSA key. */
export function modulusOf(key: KeyObject | undefined): bigint {
  return toNumber(Buffer.from(key!.export({ format: 'jwk' }).n as string, 'base64url'));
}

/** Bitwise difference of two strings of bytes of one length. */
export function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!));
}
