import { randomBytes } from 'node:crypto';
import { KeyreeveError } from '../base/errors.ts';

export const randomLengthMaximumBytes = 1024 * 1024;

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
