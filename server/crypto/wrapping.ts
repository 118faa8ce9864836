import {
  type CipherKey,
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import type { SchemeName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { invalidCiphertext } from './invalid-ciphertext.ts';
import { requireKey, requireScheme } from './key-kind.ts';
import { decryptOaep, modulusBytes } from './oaep.ts';
import { type PrivateKey, requireLocalKey, requireUse } from './private-key.ts';
import { isRemoteKey } from './remote-key.ts';

/** A wrapped key may be of any kind: the longest, an RSA-4096 PKCS#8, has 2.4 KB. */
const targetLengthMaximumBytes = 64 * 1024;

const kwpCipher = 'id-aes256-wrap-pad';
/** RFC 5649, 3: the fixed half of the alternative initial value. */
const kwpInitialValue = Buffer.from('a65959a6', 'hex');
const kwpWrappedMinimumBytes = 16;
const ephemeralKeyBytes = 32;

/**
 * Wraps a key. `aes-kwp` takes the secret key (RFC 5649); `rsa-aes-kwp` takes the public key and
 * gives the RSA-OAEP of a fresh AES-256 key followed by the target under it (PKCS#11 3.1, 6.1.21).
 * Errors: `unknown-scheme`, `scheme-not-allowed`, `invalid-request` (empty), `too-large`,
 * `capability-missing` (a secret key that never leaves its keystore).
 */
export function wrapKey(scheme: SchemeName, key: PrivateKey, target: SecretBytes): Buffer {
  const row = requireScheme(scheme, 'wrap');
  if (target.length === 0) throw new KeyreeveError('invalid-request', 'There is nothing to wrap.');
  if (target.length > targetLengthMaximumBytes) {
    throw new KeyreeveError('too-large', `Keys of ${targetLengthMaximumBytes} bytes at most.`);
  }
  if (row.form === 'aes-kwp') {
    requireKey(scheme, key, 'secret');
    return wrapPadded(requireLocalKey(key, 'wrap'), target);
  }
  requireKey(scheme, key, 'public');
  using ephemeral = new SecretBytes(randomBytes(ephemeralKeyBytes));
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const publicKey = requireLocalKey(key, 'wrap');
  const head = publicEncrypt({ key: publicKey, padding, oaepHash: row.hash }, ephemeral.reveal());
  return Buffer.concat([head, wrapPadded(ephemeral.reveal(), target)]);
}

/**
 * Opens what `wrapKey` made, with the secret or the private key. One error, `invalid-ciphertext`,
 * for every cause; of remote keys also `keystore-unavailable`, `capability-missing`.
 */
export async function unwrapKey(
  scheme: SchemeName,
  key: PrivateKey,
  wrapped: Uint8Array,
): Promise<SecretBytes> {
  const row = requireScheme(scheme, 'wrap');
  if (row.form === 'aes-kwp') {
    requireKey(scheme, key, 'secret');
    requireWrappedLength(wrapped, 0);
    if (isRemoteKey(key)) return requireUse(key, 'unwrap')(scheme, wrapped);
    return unwrapPadded(key, wrapped);
  }
  requireKey(scheme, key, 'private');
  const headBytes = modulusBytes(key);
  requireWrappedLength(wrapped, headBytes);
  if (isRemoteKey(key)) return requireUse(key, 'unwrap')(scheme, wrapped);
  using ephemeral = await openEphemeral(row, key, wrapped.subarray(0, headBytes));
  return unwrapPadded(ephemeral.reveal(), wrapped.subarray(headBytes));
}

// A head that does not open goes on with a random key, so that even the time taken does not tell
// whether the head or the tail was wrong.
async function openEphemeral(
  row: { readonly hash: 'sha256' | 'sha384' | 'sha512'; readonly hashBytes: number },
  key: KeyObject,
  head: Uint8Array,
): Promise<SecretBytes> {
  const substitute = randomBytes(ephemeralKeyBytes);
  try {
    const opened = await decryptOaep(row, key, head);
    if (opened.length === ephemeralKeyBytes) return new SecretBytes(opened);
  } catch {
    // Answered below, after the tail has been tried.
  }
  return new SecretBytes(substitute);
}

/** Lengths that no wrapped key has are refused before a keystore is asked. */
function requireWrappedLength(wrapped: Uint8Array, headBytes: number): void {
  const bytes = wrapped.length - headBytes;
  const isPossible = bytes >= kwpWrappedMinimumBytes && bytes % 8 === 0;
  if (!isPossible || bytes > targetLengthMaximumBytes + kwpWrappedMinimumBytes) {
    throw invalidCiphertext();
  }
}

function wrapPadded(key: CipherKey, target: SecretBytes): Buffer {
  const cipher = createCipheriv(kwpCipher, key, kwpInitialValue);
  return Buffer.concat([cipher.update(target.reveal()), cipher.final()]);
}

function unwrapPadded(key: CipherKey, wrapped: Uint8Array): SecretBytes {
  try {
    const decipher = createDecipheriv(kwpCipher, key, kwpInitialValue);
    const target = decipher.update(wrapped);
    decipher.final();
    return new SecretBytes(target);
  } catch {
    throw invalidCiphertext();
  }
}
