import { sign as cryptoSign } from 'node:crypto';
import type { SignatureScheme } from '../../api/algorithms.ts';
import type { Refusal, RefusalContext } from '../refusals.ts';
import { toBytes, toNumber } from './numbers.ts';

type Ecdsa = Extract<SignatureScheme, { form: 'rsa-pss' | 'rsa-pkcs1' | 'ecdsa' }>;

/** Orders of the groups: NIST SP 800-186, 3.2.1, and SEC 2, 2.4.1 for secp256k1. */
const orders: Record<string, bigint> = {
  prime256v1: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  secp384r1:
    0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  secp521r1:
    0x1fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  secp256k1: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
};

interface Numbers {
  readonly r: bigint;
  readonly s: bigint;
  readonly n: bigint;
}

/** What X.690's DER and ANSI X9.62, 7.4.1 (r and s between 1 and n - 1) refuse. */
export function ecdsaRefusals(row: Ecdsa): readonly Refusal[] {
  return [...edges, ...encodings, ...otherHashes(row)];
}

const edges: readonly Refusal[] = [
  { name: 'r = 0', mutate: numbers(({ s }) => signature(integer(0n), integer(s))) },
  { name: 's = 0', mutate: numbers(({ r }) => signature(integer(r), integer(0n))) },
  { name: 'r = s = 0', mutate: () => signature(integer(0n), integer(0n)) },
  { name: 'r = s = 1', mutate: () => signature(integer(1n), integer(1n)) },
  { name: 'r = n', mutate: numbers(({ n, s }) => signature(integer(n), integer(s))) },
  { name: 's = n', mutate: numbers(({ n, r }) => signature(integer(r), integer(n))) },
  { name: 'r + n', mutate: numbers(({ r, n, s }) => signature(integer(r + n), integer(s))) },
  { name: 's + n', mutate: numbers(({ r, n, s }) => signature(integer(r), integer(s + n))) },
  { name: 'n - r', mutate: numbers(({ r, n, s }) => signature(integer(n - r), integer(s))) },
  { name: 'r and s exchanged', mutate: numbers(({ r, s }) => signature(integer(s), integer(r))) },
  { name: '-r', mutate: numbers(({ r, s }) => signature(negative(r), integer(s))) },
  { name: '-s', mutate: numbers(({ r, s }) => signature(integer(r), negative(s))) },
];

const encodings: readonly Refusal[] = [
  {
    name: 'a leading zero byte in r',
    mutate: numbers(({ r, s }) => signature(padded(r), integer(s))),
  },
  {
    name: 'a leading zero byte in s',
    mutate: numbers(({ r, s }) => signature(integer(r), padded(s))),
  },
  {
    name: 'a length of two bytes too many in the sequence',
    mutate: numbers(({ r, s }) => longForm(0x30, Buffer.concat([integer(r), integer(s)]), 2)),
  },
  {
    name: 'a long form of length in r',
    mutate: numbers(({ r, s }) => signature(longForm(2, signed(r), 2), integer(s))),
  },
  {
    name: 'an indefinite length',
    mutate: numbers(({ r, s }) =>
      Buffer.concat([Buffer.of(0x30, 0x80), integer(r), integer(s), Buffer.of(0, 0)]),
    ),
  },
  {
    name: 'a NULL behind s',
    mutate: numbers(({ r, s }) => signature(integer(r), integer(s), Buffer.of(5, 0))),
  },
  {
    name: 'a third number',
    mutate: numbers(({ r, s }) => signature(integer(r), integer(s), integer(1n))),
  },
  { name: 'r alone', mutate: numbers(({ r }) => signature(integer(r))) },
  {
    name: 'a SET in place of the SEQUENCE',
    mutate: numbers(({ r, s }) => element(0x31, Buffer.concat([integer(r), integer(s)]))),
  },
  {
    name: 'an OCTET STRING in place of r',
    mutate: numbers(({ r, s }) => signature(element(4, signed(r)), integer(s))),
  },
  {
    name: 'the two numbers bare (IEEE P1363)',
    mutate: (_, { data, privateKey, scheme }) =>
      cryptoSign(scheme.replace('ecdsa-', ''), data, {
        key: privateKey,
        dsaEncoding: 'ieee-p1363',
      }),
  },
];

function otherHashes(row: Ecdsa): Refusal[] {
  return ['sha1', 'sha256', 'sha384', 'sha512']
    .filter((hash) => hash !== row.hash)
    .map((hash) => ({
      name: `ECDSA with ${hash}`,
      mutate: (_, { data, privateKey }) => cryptoSign(hash, data, privateKey),
    }));
}

function numbers(make: (numbers: Numbers) => Buffer): Refusal['mutate'] {
  return (valid, { privateKey }: RefusalContext) => {
    const n = orders[privateKey.asymmetricKeyDetails!.namedCurve!]!;
    const start = valid[1]! >= 0x80 ? 3 : 2;
    const rEnd = start + 2 + valid[start + 1]!;
    const r = toNumber(valid.subarray(start + 2, rEnd));
    const s = toNumber(valid.subarray(rEnd + 2));
    return make({ r, s, n });
  };
}

function signature(...parts: Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts));
}

function integer(value: bigint): Buffer {
  return element(2, signed(value));
}

function padded(value: bigint): Buffer {
  return element(2, Buffer.concat([Buffer.of(0), signed(value)]));
}

function negative(value: bigint): Buffer {
  const bytes = signed(value).length;
  return element(2, toBytes(256n ** BigInt(bytes) - value, bytes));
}

/** The contents of a DER INTEGER. */
function signed(value: bigint): Buffer {
  const bytes = toBytes(value);
  return bytes[0]! >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
}

function element(tag: number, content: Buffer): Buffer {
  if (content.length >= 0x80) return longForm(tag, content, 1);
  return Buffer.concat([Buffer.of(tag, content.length), content]);
}

function longForm(tag: number, content: Buffer, lengthBytes: number): Buffer {
  const length = toBytes(BigInt(content.length), lengthBytes);
  return Buffer.concat([Buffer.of(tag, 0x80 + length.length), length, content]);
}
