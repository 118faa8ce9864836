/** What is measured: each primitive as a key of ours, as calls, and as `openssl speed` knows it. */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import type { ApiClient } from '../client/api-client.ts';

/** Items of one batch call. */
export const batchItems = 50;

export interface Primitive {
  readonly title: string;
  readonly algorithm: string;
  readonly purpose: 'sign' | 'encrypt';
  readonly scheme: string;
  /** Parameters of `openssl speed`, without those that all share. */
  readonly openssl: readonly string[];
  /** Bytes of one operation where openssl answers in bytes a second; its first figure otherwise. */
  readonly opensslBlockBytes?: number;
  readonly item: (data: Buffer) => Readonly<Record<string, string>>;
  readonly inputBytes: number;
  /** Throws unless the answer is right, as somebody without the service would find. */
  readonly check: (call: CheckedCall) => Promise<void>;
}

export interface CheckedCall {
  readonly client: ApiClient;
  readonly key: string;
  readonly publicKey: string | null;
  readonly input: Buffer;
  /** The result of one item. */
  readonly result: Readonly<Record<string, unknown>>;
}

const signing = {
  purpose: 'sign',
  // As long as a digest: what openssl signs is 20 to 36 bytes.
  inputBytes: 32,
  item: (data: Buffer) => ({ data: data.toString('base64') }),
} as const;

function checkSignature(hash: string | null, options: object = {}) {
  return async ({ publicKey, input, result }: CheckedCall) => {
    const key = createPublicKey(publicKey ?? '');
    const signature = Buffer.from(String(result.signature), 'base64');
    if (!verify(hash, input, { key, ...options }, signature)) {
      throw new Error('a signature that was answered does not verify');
    }
  };
}

export const primitives: readonly Primitive[] = [
  {
    ...signing,
    title: 'RSA-2048 sign',
    algorithm: 'rsa-2048',
    scheme: 'rsa-pss-sha256',
    openssl: ['rsa2048'],
    // RSA_PKCS1_PSS_PADDING of OpenSSL's rsa.h, with a salt as long as the hash.
    check: checkSignature('sha256', { padding: 6, saltLength: 32 }),
  },
  {
    ...signing,
    title: 'P-256 sign',
    algorithm: 'p-256',
    scheme: 'ecdsa-sha256',
    openssl: ['ecdsap256'],
    check: checkSignature('sha256'),
  },
  {
    ...signing,
    title: 'Ed25519 sign',
    algorithm: 'ed25519',
    scheme: 'ed25519',
    openssl: ['ed25519'],
    check: checkSignature(null),
  },
  {
    title: 'AES-256 encrypt 1 KiB',
    algorithm: 'aes-256',
    purpose: 'encrypt',
    scheme: 'xaes-256-gcm',
    openssl: ['-bytes', '1024', '-evp', 'aes-256-gcm'],
    opensslBlockBytes: 1024,
    inputBytes: 1024,
    item: (data) => ({ plaintext: data.toString('base64') }),
    check: async ({ client, key, input, result }) => {
      const ciphertext = String(result.ciphertext);
      const answer = await client.call('key.decrypt', { params: { key }, body: { ciphertext } });
      if (answer.plaintext !== input.toString('base64')) {
        throw new Error('a ciphertext that was answered does not decrypt');
      }
    },
  },
];

/** Different inputs, so that nothing along the way can remember one. */
export function inputsOf(primitive: Primitive, count: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(primitive.inputBytes));
}
