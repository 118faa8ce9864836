import type { KeyObject } from 'node:crypto';
import { type SchemeName, type SchemeRow, schemes } from '../api/algorithms.ts';
import { ecdsaRefusals } from './refusals/ecdsa.ts';
import { encryptionRefusals, macRefusals, wrapRefusals } from './refusals/encryption.ts';
import { pureRefusals } from './refusals/pure.ts';
import { oaepRefusals, rsaSignatureRefusals } from './refusals/rsa.ts';

/** What a refusal may need to make its value; the test made or imported the key itself. */
export interface RefusalContext {
  readonly scheme: SchemeName;
  /** What was signed, authenticated, encrypted or wrapped. */
  readonly data: Buffer;
  /** The private key, or the secret one. */
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject | undefined;
}

/** One value that the scheme's standard calls invalid. */
export interface Refusal {
  readonly name: string;
  /** Makes it from a valid signature, MAC, ciphertext or wrapped key. */
  readonly mutate: (valid: Buffer, context: RefusalContext) => Buffer;
}

/**
 * Everything that must be refused under the scheme: altered, truncated, extended, in another
 * encoding, with other parameters, at the edges. The same list serves the tests of the functions
 * and those of the HTTP API. For ML-KEM only the lengths: an altered ciphertext of the right length
 * gives another secret (FIPS 203, 6.3).
 */
export function refusalsFor(scheme: SchemeName): readonly Refusal[] {
  const row: SchemeRow = schemes[scheme];
  if (row.act === 'encapsulate') return lengths;
  return [...lengths, ...alterations, ...particular(row)];
}

function particular(row: SchemeRow): readonly Refusal[] {
  switch (row.form) {
    case 'rsa-pss':
    case 'rsa-pkcs1':
      return rsaSignatureRefusals(row);
    case 'ecdsa':
      return ecdsaRefusals(row);
    case 'pure':
      return pureRefusals(row);
    case 'rsa-oaep':
      return oaepRefusals(row);
    case 'xaes-gcm':
    case 'aes-gcm':
      return encryptionRefusals(row);
    case 'hmac':
      return macRefusals(row);
    case 'aes-kwp':
    case 'rsa-aes-kwp':
      return wrapRefusals(row);
    case 'ecdh':
    case 'ml-kem':
      return [];
  }
}

const lengths: readonly Refusal[] = [
  { name: 'nothing at all', mutate: () => Buffer.alloc(0) },
  { name: 'a single byte', mutate: (valid) => valid.subarray(0, 1) },
  { name: 'the first half', mutate: (valid) => valid.subarray(0, valid.length >> 1) },
  { name: 'the last byte cut off', mutate: (valid) => valid.subarray(0, -1) },
  { name: 'the last eight bytes cut off', mutate: (valid) => valid.subarray(0, -8) },
  { name: 'the first byte cut off', mutate: (valid) => valid.subarray(1) },
  { name: 'a zero byte behind it', mutate: (valid) => Buffer.concat([valid, Buffer.of(0)]) },
  {
    name: 'eight zero bytes behind it',
    mutate: (valid) => Buffer.concat([valid, Buffer.alloc(8)]),
  },
  { name: 'a zero byte before it', mutate: (valid) => Buffer.concat([Buffer.of(0), valid]) },
  { name: 'itself twice', mutate: (valid) => Buffer.concat([valid, valid]) },
];

const alterations: readonly Refusal[] = [
  { name: 'one bit changed in the first byte', mutate: (valid) => flip(valid, 0, 1) },
  { name: 'the top bit changed in the first byte', mutate: (valid) => flip(valid, 0, 0x80) },
  { name: 'one bit changed in the middle', mutate: (valid) => flip(valid, valid.length >> 1, 1) },
  { name: 'one bit changed in the last byte', mutate: (valid) => flip(valid, -1, 1) },
  { name: 'the top bit changed in the last byte', mutate: (valid) => flip(valid, -1, 0x80) },
  { name: 'all bytes zero', mutate: (valid) => Buffer.alloc(valid.length) },
  { name: 'all bits set', mutate: (valid) => Buffer.alloc(valid.length, 0xff) },
  { name: 'the bytes in reverse', mutate: (valid) => Buffer.from(valid).reverse() },
];

function flip(valid: Buffer, index: number, mask: number): Buffer {
  const changed = Buffer.from(valid);
  const at = index < 0 ? changed.length + index : index;
  changed[at]! ^= mask;
  return changed;
}
