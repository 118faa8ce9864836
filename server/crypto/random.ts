import { randomBytes } from 'node:crypto';
import { KeyreeveError } from '../base/errors.ts';

export const randomLengthMaximumBytes = 1024 * 1024;

/** Drawn ahead for nonces: a draw has a price of its own, whatever its length. */
const nonceStockBytes = 4096;

// Never written again: what was given out lives on as a part of its stock.
let nonceStock = Buffer.alloc(0);
let nonceStockOffset = 0;

/** Fresh random bytes from OpenSSL's generator. Error: `invalid-request` outside of 1 to 1 MiB. */
export function random(length: number): Buffer {
  if (!Number.isInteger(length) || length < 1 || length > randomLengthMaximumBytes) {
    throw new KeyreeveError(
      'invalid-request',
      `The length is between 1 and ${randomLengthMaximumBytes} bytes.`,
    );
  }
  return randomBytes(length);
}

/**
 * Fresh random bytes, each given out once, from a stock drawn ahead. For nonces
 * and salts, which end up beside what they protect; key material is drawn by itself, by `random`,
 * so that it lies nowhere before it is wanted.
 */
export function randomNonce(length: number): Buffer {
  if (nonceStockOffset + length > nonceStock.length) {
    nonceStock = randomBytes(nonceStockBytes);
    nonceStockOffset = 0;
  }
  nonceStockOffset += length;
  return nonceStock.subarray(nonceStockOffset - length, nonceStockOffset);
}
