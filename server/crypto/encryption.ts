import { type CipherKey, createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import type { EncryptionScheme, SchemeName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { invalidCiphertext } from './invalid-ciphertext.ts';
import { requireKey, requireScheme } from './key-kind.ts';
import { decryptOaep, encryptOaep, modulusBytes } from './oaep.ts';
import { type PrivateKey, requireLocalKey, requireUse } from './private-key.ts';
import { randomNonce } from './random.ts';
import { isRemoteKey } from './remote-key.ts';
import { deriveXaes } from './xaes.ts';

const tagBytes = 16;
const noBytes = new Uint8Array(0);

type GcmScheme = Exclude<EncryptionScheme, { form: 'rsa-oaep' }>;

/**
 * Encrypts. `xaes-256-gcm` and `aes-256-gcm` take the secret key and give nonce, ciphertext, tag,
 * with a fresh random nonce; `aad` is authenticated and not sent. `rsa-oaep-*` take the public key
 * and no `aad`. Errors: `unknown-scheme`, `scheme-not-allowed`, `too-large` (more than the modulus
 * holds), `invalid-request` (`aad` with RSA), `capability-missing` (a secret key that never leaves
 * its keystore).
 */
export async function encrypt(
  scheme: SchemeName,
  key: PrivateKey,
  plaintext: Uint8Array,
  aad: Uint8Array = noBytes,
): Promise<Buffer> {
  const row = requireScheme(scheme, 'encrypt');
  if (row.form === 'rsa-oaep') {
    requireKey(scheme, key, 'public');
    refuseAad(aad);
    return encryptOaep(row, requireLocalKey(key, 'encrypt'), plaintext);
  }
  requireKey(scheme, key, 'secret');
  const secret = requireLocalKey(key, 'encrypt');
  return sealWithNonce(row, secret, randomNonce(row.nonceBytes), plaintext, aad);
}

/**
 * Decrypts what `encrypt` wrote. Every cause of failure is the one error `invalid-ciphertext`, with
 * one message, so that no caller learns which part was wrong. RSA runs in the thread pool, or where
 * the key lies. Errors of remote keys besides: `keystore-unavailable`, `capability-missing`.
 */
export async function decrypt(
  scheme: SchemeName,
  key: PrivateKey,
  ciphertext: Uint8Array,
  aad: Uint8Array = noBytes,
): Promise<Buffer> {
  const row = requireScheme(scheme, 'encrypt');
  if (row.form === 'rsa-oaep') {
    requireKey(scheme, key, 'private');
    refuseAad(aad);
    if (!isRemoteKey(key)) return decryptOaep(row, key, ciphertext);
    if (ciphertext.length !== modulusBytes(key)) throw invalidCiphertext();
    return requireUse(key, 'decrypt')(scheme, ciphertext);
  }
  requireKey(scheme, key, 'secret');
  return open(row, requireLocalKey(key, 'decrypt'), ciphertext, aad);
}

/**
 * Encrypts with the nonce given. Only for `encrypt` and for standards' test vectors: a nonce used
 * twice gives the messages and the key away.
 */
export function sealWithNonce(
  row: GcmScheme,
  key: KeyObject,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
): Buffer {
  const inner = innerKey(row, key, nonce);
  const cipher = createCipheriv('aes-256-gcm', inner.key, inner.nonce);
  if (aad.length > 0) cipher.setAAD(aad);
  const body = cipher.update(plaintext);
  cipher.final();
  return Buffer.concat([nonce, body, cipher.getAuthTag()]);
}

/** Opens what `sealWithNonce` made, at once. */
export function open(row: GcmScheme, key: KeyObject, sealed: Uint8Array, aad: Uint8Array): Buffer {
  if (sealed.length < row.nonceBytes + tagBytes) throw invalidCiphertext();
  const inner = innerKey(row, key, sealed.subarray(0, row.nonceBytes));
  const decipher = createDecipheriv('aes-256-gcm', inner.key, inner.nonce, {
    authTagLength: tagBytes,
  });
  if (aad.length > 0) decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - tagBytes));
  const plaintext = decipher.update(sealed.subarray(row.nonceBytes, sealed.length - tagBytes));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    throw invalidCiphertext();
  }
  return plaintext;
}

function innerKey(
  row: GcmScheme,
  key: KeyObject,
  nonce: Uint8Array,
): { key: CipherKey; nonce: Uint8Array } {
  return row.form === 'xaes-gcm' ? deriveXaes(key, nonce) : { key, nonce };
}

// RFC 8017's label would be the place, but it authenticates nothing: anyone can encrypt.
function refuseAad(aad: Uint8Array): void {
  if (aad.length === 0) return;
  throw new KeyreeveError('invalid-request', 'RSA encryption takes no additional data.', {
    hint: 'Use an aes-256 key where additional data must be authenticated.',
  });
}
