import { createHash } from 'node:crypto';
import type { HashName } from '../../../api/algorithms.ts';

/**
 * Takes the padding of RSAES-OAEP off (RFC 8017, 7.1.2 step 3) with an empty label and MGF1 over
 * the same hash, for tokens that decrypt raw. `block` is as long as the modulus and is wiped.
 *
 * Undefined for every cause. All bytes are gone through whatever they are, and what is wrong is
 * gathered without branching on it, so that the time taken does not tell causes apart (Manger's
 * attack; RFC 8017, 7.1.2, note). Only whether it opened, and how long the message is, shows.
 */
export function unpadOaep(block: Buffer, hash: HashName, hashBytes: number): Buffer | undefined {
  const databaseBytes = block.length - hashBytes - 1;
  // The length of the modulus and of the hash are public.
  if (databaseBytes < hashBytes + 1) return undefined;
  const seed = block.subarray(1, 1 + hashBytes);
  const database = block.subarray(1 + hashBytes);
  maskWith(seed, database, hash);
  maskWith(database, seed, hash);

  let wrong = block[0]!;
  const labelHash = createHash(hash).digest();
  for (let index = 0; index < hashBytes; index++) wrong |= database[index]! ^ labelHash[index]!;
  // Zeros, then a one, then the message: `looking` is 1 until the one has been seen.
  let looking = 1;
  let messageStart = 0;
  for (let index = hashBytes; index < databaseBytes; index++) {
    const byte = database[index]!;
    const one = isZero(byte ^ 1);
    messageStart |= -(looking & one) & (index + 1);
    wrong |= looking & (1 ^ one) & (1 ^ isZero(byte));
    looking &= 1 ^ one;
  }
  wrong |= looking;
  const message = wrong === 0 ? Buffer.from(database.subarray(messageStart)) : undefined;
  block.fill(0);
  return message;
}

/** 1 for zero, 0 for any other byte, without a branch. */
function isZero(byte: number): number {
  return ((byte - 1) >>> 31) & 1;
}

/** XORs MGF1 of the seed onto the target (RFC 8017, B.2.1). */
function maskWith(target: Buffer, seed: Buffer, hash: HashName): void {
  const counter = Buffer.alloc(4);
  for (let offset = 0, round = 0; offset < target.length; round++) {
    counter.writeUInt32BE(round);
    const mask = createHash(hash).update(seed).update(counter).digest();
    for (let index = 0; index < mask.length && offset < target.length; index++, offset++) {
      target[offset]! ^= mask[index]!;
    }
    mask.fill(0);
  }
}
