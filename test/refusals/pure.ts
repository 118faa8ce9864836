import { createHash, sign as cryptoSign } from 'node:crypto';
import type { SignatureScheme } from '../../api/algorithms.ts';
import type { Refusal } from '../refusals.ts';
import { toBytes, toNumber } from './numbers.ts';

type Pure = Extract<SignatureScheme, { form: 'pure' }>;

/** The order of the base point of edwards25519, RFC 8032, 5.1. */
const edwardsOrder = 2n ** 252n + 27742317777372353535851937790883648493n;

/** For signatures that are one string of octets: Ed25519, ML-DSA, SLH-DSA. */
export function pureRefusals(row: Pure): readonly Refusal[] {
  const general: Refusal[] = [
    {
      name: 'a signature of the SHA-512 digest of the data',
      mutate: (_, { data, privateKey }) =>
        cryptoSign(null, createHash('sha512').update(data).digest(), privateKey),
    },
  ];
  // One more signature of a slow kind would cost seconds and show nothing new.
  if (row.slow === true) return [];
  return [...general, ...(row.signatureBytes === 64 ? edwardsRefusals : contextRefusals)];
}

const edwardsRefusals: readonly Refusal[] = [
  // RFC 8032, 5.1.7 step 1: S is below L, or every signature has a second form.
  { name: 'S + L', mutate: (valid) => withScalar(valid, (s) => s + edwardsOrder) },
  { name: 'S + 2 L', mutate: (valid) => withScalar(valid, (s) => s + 2n * edwardsOrder) },
  { name: 'S = L', mutate: (valid) => withScalar(valid, () => edwardsOrder) },
  { name: 'S = 0', mutate: (valid) => withScalar(valid, () => 0n) },
  { name: 'L - S', mutate: (valid) => withScalar(valid, (s) => edwardsOrder - s) },
  {
    name: 'R and S exchanged',
    mutate: (valid) => Buffer.concat([valid.subarray(32), valid.subarray(0, 32)]),
  },
  {
    name: 'R the neutral point and S = 0',
    mutate: () => Buffer.concat([Buffer.of(1), Buffer.alloc(63)]),
  },
  {
    name: 'R with its sign bit changed',
    mutate: (valid) => {
      const changed = Buffer.from(valid);
      changed[31]! ^= 0x80;
      return changed;
    },
  },
];

const contextRefusals: readonly Refusal[] = [
  {
    // FIPS 204, 5.2 and FIPS 205, 10.2: the context is signed; ours is empty.
    name: 'a signature under another context',
    mutate: (_, { data, privateKey }) =>
      cryptoSign(null, data, { key: privateKey, context: Buffer.from('other') }),
  },
  {
    // The form in which the context begins the message, given as the message itself.
    name: 'a signature of the data with the empty context before it',
    mutate: (_, { data, privateKey }) =>
      cryptoSign(null, Buffer.concat([Buffer.of(0, 0), data]), privateKey),
  },
];

function withScalar(valid: Buffer, change: (s: bigint) => bigint): Buffer {
  const s = toNumber(Buffer.from(valid.subarray(32)).reverse());
  return Buffer.concat([valid.subarray(0, 32), toBytes(change(s), 32).reverse()]);
}
