import { randomFillSync } from 'node:crypto';

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
const pool = Buffer.alloc(4096);
let offset = pool.length;

function randomBytesFromPool(count: number): Buffer {
  if (offset + count > pool.length) {
    randomFillSync(pool);
    offset = 0;
  }
  offset += count;
  return pool.subarray(offset - count, offset);
}

export type IdPrefix =
  | 'key'
  | 'prn'
  | 'tok'
  | 'ent'
  | 'int'
  | 'sto'
  | 'req'
  | 'ins'
  | 'apr'
  | 'bak'
  | 'crt'
  | 'bnd'
  | 'nod'
  | 'alt';

/**
 * A fresh opaque id: prefix, underscore, 26 characters of lower-case base32 (130 bits, of which
 * 128 and more are random). Not a secret.
 */
export function newId(prefix: IdPrefix): string {
  const bytes = randomBytesFromPool(26);
  let text = `${prefix}_`;
  for (let index = 0; index < 26; index++) text += alphabet[bytes[index]! & 31];
  return text;
}

// In the order of their bytes, so that text sorts as time does.
const timeAlphabet = '234567abcdefghijklmnopqrstuvwxyz';
const timeLetters = 10;

/**
 * A fresh id that sorts by the time it was made at (milliseconds since 1970): 50 bits of time, 80
 * random ones. For rows of which there are millions: neighbours in time are neighbours on disk.
 */
export function newTimedId(prefix: IdPrefix, now: number): string {
  let text = newId(prefix).slice(prefix.length + 1 + timeLetters);
  let rest = now;
  for (let index = 0; index < timeLetters; index++) {
    text = timeAlphabet[rest % 32]! + text;
    rest = Math.floor(rest / 32);
  }
  return `${prefix}_${text}`;
}

const idPattern = /^(key|prn|tok|ent|int|sto|req|ins|apr|bak|crt|bnd)_[a-z2-7]{26}$/;

/** Whether the text has the form of an id of ours. */
export function isId(text: string, prefix?: IdPrefix): boolean {
  return idPattern.test(text) && (prefix === undefined || text.startsWith(`${prefix}_`));
}
