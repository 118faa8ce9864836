import {
  constants,
  createHash,
  sign as cryptoSign,
  type KeyObject,
  privateEncrypt,
  publicEncrypt,
} from 'node:crypto';
import type { EncryptionScheme, HashName, SignatureScheme } from '../../api/algorithms.ts';
import type { Refusal, RefusalContext } from '../refusals.ts';
import { modulusOf, toBytes, toNumber, xor } from './numbers.ts';

type RsaSignature = Extract<SignatureScheme, { form: 'rsa-pss' | 'rsa-pkcs1' | 'ecdsa' }>;
type Oaep = Extract<EncryptionScheme, { form: 'rsa-oaep' }>;

const { RSA_NO_PADDING, RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PKCS1_OAEP_PADDING } =
  constants;

/** DigestInfo without the digest, RFC 8017, 9.2 note 1. */
const digestInfos: Record<HashName, string> = {
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
};
/** The same with the NULL of the algorithm left out. */
const digestInfosWithoutNull: Record<HashName, string> = {
  sha256: '302f300b0609608648016503040201' + '0420',
  sha384: '303f300b0609608648016503040202' + '0430',
  sha512: '304f300b0609608648016503040203' + '0440',
};

export function rsaSignatureRefusals(row: RsaSignature): readonly Refusal[] {
  return [...edges, ...(row.form === 'rsa-pss' ? pssRefusals(row) : pkcs1Refusals(row))];
}

const edges: readonly Refusal[] = [
  // RFC 8017, 5.2.2: the representative is below the modulus.
  { name: 'the number plus the modulus', mutate: (valid, context) => plusModulus(valid, context) },
  {
    name: 'the modulus itself',
    mutate: (valid, { publicKey }) => toBytes(modulusOf(publicKey), valid.length),
  },
  { name: 'the number one', mutate: (valid) => toBytes(1n, valid.length) },
  {
    name: 'the modulus minus one',
    mutate: (valid, { publicKey }) => toBytes(modulusOf(publicKey) - 1n, valid.length),
  },
  {
    name: 'the modulus minus the number',
    mutate: (valid, { publicKey }) => toBytes(modulusOf(publicKey) - toNumber(valid), valid.length),
  },
];

function plusModulus(valid: Buffer, { publicKey }: RefusalContext): Buffer {
  const modulus = modulusOf(publicKey);
  const sum = toBytes(toNumber(valid) + modulus, valid.length);
  // Where it does not fit in as many bytes, the largest number that does.
  return sum.length > valid.length ? Buffer.alloc(valid.length, 0xff) : sum;
}

function pssRefusals(row: RsaSignature): readonly Refusal[] {
  const salts = [0, 20, row.hashBytes - 1, row.hashBytes + 1];
  return [
    ...salts.map((saltLength): Refusal => {
      return {
        name: `a salt of ${saltLength} bytes`,
        mutate: (_, { data, privateKey }) =>
          cryptoSign(row.hash, data, {
            key: privateKey,
            padding: RSA_PKCS1_PSS_PADDING,
            saltLength,
          }),
      };
    }),
    ...otherHashes(row.hash).map((hash): Refusal => {
      return {
        name: `PSS with ${hash}`,
        mutate: (_, { data, privateKey }) =>
          cryptoSign(hash, data, {
            ...{ key: privateKey, padding: RSA_PKCS1_PSS_PADDING },
            saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
          }),
      };
    }),
    { name: 'PKCS#1 v1.5 with the same hash', mutate: (_, context) => pkcs1(row.hash, context) },
    { name: 'MGF1 over another hash', mutate: pssWith(row, { maskHash: 'sha1' }) },
    { name: 'another trailer byte', mutate: pssWith(row, { trailer: 0xcc }) },
    { name: 'a padding that is not zero', mutate: pssWith(row, { padding: 1 }) },
    { name: 'another separator than 01', mutate: pssWith(row, { separator: 2 }) },
    {
      name: 'a signature of other data',
      mutate: (_, context) =>
        pssWith(row, {})(_, { ...context, data: Buffer.concat([context.data, Buffer.of(0)]) }),
    },
  ];
}

function pkcs1Refusals(row: RsaSignature): readonly Refusal[] {
  const info = Buffer.from(digestInfos[row.hash], 'hex');
  const digest = (context: RefusalContext) => createHash(row.hash).update(context.data).digest();
  const raw = (make: (context: RefusalContext, size: number) => Buffer): Refusal['mutate'] => {
    return (valid, context) => rawSign(context.privateKey, make(context, valid.length));
  };
  return [
    ...otherHashes(row.hash).map((hash): Refusal => {
      return { name: `PKCS#1 v1.5 with ${hash}`, mutate: (_, context) => pkcs1(hash, context) };
    }),
    {
      name: 'PSS with the same hash',
      mutate: (_, { data, privateKey }) =>
        cryptoSign(row.hash, data, {
          ...{ key: privateKey, padding: RSA_PKCS1_PSS_PADDING },
          saltLength: row.hashBytes,
        }),
    },
    {
      name: 'no NULL in the DigestInfo',
      mutate: raw((context, size) =>
        block(size, 1, Buffer.from(digestInfosWithoutNull[row.hash], 'hex'), digest(context)),
      ),
    },
    {
      name: 'a bare digest without DigestInfo',
      mutate: raw((context, size) => block(size, 1, digest(context))),
    },
    {
      name: 'block type 2',
      mutate: raw((context, size) => block(size, 2, info, digest(context))),
    },
    {
      name: 'a DigestInfo with a long form of length',
      mutate: raw((context, size) =>
        block(size, 1, Buffer.of(0x30, 0x81), info.subarray(1), digest(context)),
      ),
    },
    {
      name: 'bytes behind the digest and a short padding',
      mutate: raw((context, size) => {
        const head = Buffer.concat([
          Buffer.from('0001ffffffffffffffff00', 'hex'),
          info,
          digest(context),
        ]);
        return Buffer.concat([head, Buffer.alloc(size - head.length, 0x41)]);
      }),
    },
    {
      name: 'a padding byte that is not ff',
      mutate: raw((context, size) => {
        const encoded = block(size, 1, info, digest(context));
        encoded[10] = 0xfe;
        return encoded;
      }),
    },
  ];
}

export function oaepRefusals(row: Oaep): readonly Refusal[] {
  const encrypted = (change: OaepChange) => oaepWith(row, change);
  return [
    ...edges,
    ...otherHashes(row.hash).map((oaepHash): Refusal => {
      return {
        name: `OAEP with ${oaepHash}`,
        mutate: (_, { data, publicKey }) =>
          publicEncrypt(
            { key: publicKey!, padding: RSA_PKCS1_OAEP_PADDING, oaepHash },
            short(data),
          ),
      };
    }),
    {
      name: 'a label',
      mutate: (_, { data, publicKey }) =>
        publicEncrypt(
          {
            ...{ key: publicKey!, padding: RSA_PKCS1_OAEP_PADDING, oaepHash: row.hash },
            oaepLabel: Buffer.from('label'),
          },
          short(data),
        ),
    },
    {
      name: 'PKCS#1 v1.5',
      mutate: (_, { data, publicKey }) =>
        publicEncrypt({ key: publicKey!, padding: RSA_PKCS1_PADDING }, short(data)),
    },
    { name: 'MGF1 over another hash', mutate: encrypted({ maskHash: 'sha1' }) },
    { name: 'a first byte that is not zero', mutate: encrypted({ first: 1 }) },
    { name: 'a separator that is not 01', mutate: encrypted({ separator: 2 }) },
    { name: 'no separator at all', mutate: encrypted({ separator: 0, empty: true }) },
    { name: 'the number zero', mutate: (valid) => Buffer.alloc(valid.length) },
  ];
}

function otherHashes(hash: HashName): string[] {
  return ['sha1', 'sha256', 'sha384', 'sha512'].filter((other) => other !== hash);
}

function pkcs1(hash: string, { data, privateKey }: RefusalContext): Buffer {
  return cryptoSign(hash, data, { key: privateKey, padding: RSA_PKCS1_PADDING });
}

function rawSign(key: KeyObject, encoded: Buffer): Buffer {
  return privateEncrypt({ key, padding: RSA_NO_PADDING }, encoded);
}

/** RFC 8017, 9.2: 00, block type, padding, 00, the rest. */
function block(size: number, type: number, ...rest: Buffer[]): Buffer {
  const tail = Buffer.concat(rest);
  const padding = Buffer.alloc(size - tail.length - 3, 0xff);
  return Buffer.concat([Buffer.of(0, type), padding, Buffer.of(0), tail]);
}

interface PssChange {
  readonly maskHash?: string;
  readonly trailer?: number;
  readonly padding?: number;
  readonly separator?: number;
}

/** EMSA-PSS (RFC 8017, 9.1.1) with one thing changed, signed without further padding. */
export function pssWith(row: RsaSignature, change: PssChange): Refusal['mutate'] {
  return (valid, { data, privateKey }) => {
    const size = valid.length;
    const salt = Buffer.alloc(row.hashBytes, 7);
    const digest = createHash(row.hash).update(data).digest();
    const hash = createHash(row.hash)
      .update(Buffer.concat([Buffer.alloc(8), digest, salt]))
      .digest();
    const padding = Buffer.alloc(size - 2 * row.hashBytes - 2);
    padding[padding.length - 1] = change.padding ?? 0;
    const database = Buffer.concat([padding, Buffer.of(change.separator ?? 1), salt]);
    const masked = xor(database, mask(change.maskHash ?? row.hash, hash, database.length));
    masked[0]! &= 0x7f;
    const encoded = Buffer.concat([masked, hash, Buffer.of(change.trailer ?? 0xbc)]);
    return rawSign(privateKey, encoded);
  };
}

interface OaepChange {
  readonly maskHash?: string;
  readonly first?: number;
  readonly separator?: number;
  readonly empty?: boolean;
}

/** EME-OAEP (RFC 8017, 7.1.1) with one thing changed, encrypted without further padding. */
export function oaepWith(row: Oaep, change: OaepChange): Refusal['mutate'] {
  return (valid, { data, publicKey }) => {
    const maskHash = change.maskHash ?? row.hash;
    const labelHash = createHash(row.hash).digest();
    const message = change.empty === true ? Buffer.alloc(0) : short(data);
    const seed = Buffer.alloc(labelHash.length, 9);
    const padding = Buffer.alloc(valid.length - message.length - 2 * labelHash.length - 2);
    const database = Buffer.concat([labelHash, padding, Buffer.of(change.separator ?? 1), message]);
    const maskedDatabase = xor(database, mask(maskHash, seed, database.length));
    const maskedSeed = xor(seed, mask(maskHash, maskedDatabase, seed.length));
    const encoded = Buffer.concat([Buffer.of(change.first ?? 0), maskedSeed, maskedDatabase]);
    return publicEncrypt({ key: publicKey!, padding: RSA_NO_PADDING }, encoded);
  };
}

/** MGF1, RFC 8017, B.2.1. */
function mask(hash: string, seed: Buffer, length: number): Buffer {
  const parts: Buffer[] = [];
  for (let counter = 0, made = 0; made < length; counter++) {
    const part = createHash(hash)
      .update(seed)
      .update(toBytes(BigInt(counter), 4))
      .digest();
    parts.push(part);
    made += part.length;
  }
  return Buffer.concat(parts).subarray(0, length);
}

function short(data: Buffer): Buffer {
  return data.subarray(0, 16);
}
