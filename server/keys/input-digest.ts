import { createHmac } from 'node:crypto';
import { random } from '../crypto/crypto.ts';

/**
 * The digest of a call's inputs under a random key of its own, so that a short or guessable input
 * cannot be found from the record; whoever holds the key and the inputs can prove they were these.
 * Each input is preceded by its length in four bytes, big-endian.
 */
export function digestInputs(inputs: readonly Uint8Array[]): {
  inputDigest: string;
  digestKey: string;
} {
  const key = random(32);
  const hmac = createHmac('sha256', key);
  const length = Buffer.alloc(4);
  for (const input of inputs) {
    length.writeUInt32BE(input.length);
    hmac.update(length).update(input);
  }
  return { inputDigest: hmac.digest('hex'), digestKey: key.toString('hex') };
}
