import { type KeyObject, webcrypto } from 'node:crypto';
import { algorithms, type EncryptionScheme, type NodeKey } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { invalidCiphertext } from './invalid-ciphertext.ts';
import type { PrivateKey } from './private-key.ts';
import { isRemoteKey } from './remote-key.ts';

type OaepScheme = Extract<EncryptionScheme, { form: 'rsa-oaep' }>;
type OaepParameters = Pick<OaepScheme, 'hash' | 'hashBytes'>;

// Web Crypto is the way to RSA decryption off the event loop; it wants its own form of the key,
// one for each hash. The entries live as long as the key objects do.
const cryptoKeys = new WeakMap<KeyObject, Map<string, webcrypto.CryptoKey>>();

const webHashNames = { sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const;

/** RSAES-OAEP (RFC 8017, 7.1) with an empty label, MGF1 over the same hash. Error: `too-large`. */
export async function encryptOaep(
  row: OaepParameters,
  key: KeyObject,
  plaintext: Uint8Array,
): Promise<Buffer> {
  const limitBytes = modulusBytes(key) - 2 * row.hashBytes - 2;
  if (plaintext.length > limitBytes) {
    throw new KeyreeveError(
      'too-large',
      `This key and scheme encrypt ${limitBytes} bytes at most.`,
      { hint: 'Encrypt the data with a data key of an aes-256 key.', data: { limitBytes } },
    );
  }
  const cryptoKey = webKey(row, key, 'encrypt');
  return Buffer.from(await webcrypto.subtle.encrypt('RSA-OAEP', cryptoKey, Buffer.from(plaintext)));
}

/** Its inverse, in the thread pool. One error, `invalid-ciphertext`, for every cause. */
export async function decryptOaep(
  row: OaepParameters,
  key: KeyObject,
  ciphertext: Uint8Array,
): Promise<Buffer> {
  if (ciphertext.length !== modulusBytes(key)) throw invalidCiphertext();
  const cryptoKey = webKey(row, key, 'decrypt');
  try {
    return Buffer.from(
      await webcrypto.subtle.decrypt('RSA-OAEP', cryptoKey, Buffer.from(ciphertext)),
    );
  } catch {
    throw invalidCiphertext();
  }
}

/** Length of the modulus, and so of every ciphertext and signature. */
export function modulusBytes(key: PrivateKey): number {
  if (isRemoteKey(key)) {
    const node: NodeKey = algorithms[key.algorithm].node;
    return node.type === 'rsa' ? node.modulusBits / 8 : 0;
  }
  return (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
}

function webKey(
  row: OaepParameters,
  key: KeyObject,
  usage: 'encrypt' | 'decrypt',
): webcrypto.CryptoKey {
  let forms = cryptoKeys.get(key);
  if (forms === undefined) {
    forms = new Map();
    cryptoKeys.set(key, forms);
  }
  let form = forms.get(row.hash);
  if (form === undefined) {
    form = key.toCryptoKey({ name: 'RSA-OAEP', hash: webHashNames[row.hash] }, false, [usage]);
    forms.set(row.hash, form);
  }
  return form;
}
