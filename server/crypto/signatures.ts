import {
  constants,
  sign as cryptoSign,
  verify as cryptoVerify,
  type KeyObject,
  type SignKeyObjectInput,
  type VerifyKeyObjectInput,
} from 'node:crypto';
import { algorithms, type SchemeName, type SignatureScheme } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { algorithmOfKey, requireKey, requireScheme } from './key-kind.ts';
import { Limiter, mapBatch } from './limiter.ts';
import { checkPoint } from './public-key.ts';

// The thread pool is the process's, shared with file access and name look-ups, so its guard is too.
const slowSignatures = new Limiter(1);

/**
 * Signs `data` itself, not a digest of it, in the thread pool. Bytes as the table of schemes says:
 * ECDSA in DER, everything else raw. Errors: `unknown-scheme`, `scheme-not-allowed`.
 */
export async function sign(scheme: SchemeName, key: KeyObject, data: Uint8Array): Promise<Buffer> {
  const row = requireScheme(scheme, 'sign');
  requireKey(scheme, key, 'private');
  const job = () => signInPool(row, key, data);
  return 'slow' in row && row.slow ? slowSignatures.run(job) : job();
}

/**
 * Whether the signature is one of these data under this scheme, in its one encoding and with its
 * one set of parameters. Anything else is `false`, whatever the cause. Errors: `unknown-scheme`,
 * `scheme-not-allowed`, `invalid-key-material` (an Ed25519 key of small order).
 */
export async function verify(
  scheme: SchemeName,
  publicKey: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const row = requireScheme(scheme, 'sign');
  requireKey(scheme, publicKey, 'public');
  const algorithm = algorithmOfKey(publicKey);
  if (algorithm !== undefined) checkPoint(publicKey, algorithms[algorithm].node);
  if (!hasRightLength(row, publicKey, signature)) return false;
  return verifyInPool(row, publicKey, data, signature);
}

/** Signs a list; the signatures come in its order. */
export function signMany(
  scheme: SchemeName,
  key: KeyObject,
  datas: readonly Uint8Array[],
): Promise<Buffer[]> {
  return mapBatch(datas, (data) => sign(scheme, key, data));
}

/**
 * What node:crypto wants to know beside the key. PSS: MGF1 over the same hash, which is OpenSSL's
 * default, and a salt of exactly the hash's length, on verifying too (RFC 8017, 8.1 and 9.1).
 */
function parametersOf(row: SignatureScheme, key: KeyObject): SignKeyObjectInput {
  switch (row.form) {
    case 'rsa-pss':
      return { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: row.hashBytes };
    case 'rsa-pkcs1':
      return { key, padding: constants.RSA_PKCS1_PADDING };
    case 'ecdsa':
      return { key, dsaEncoding: 'der' };
    case 'pure':
      return { key };
  }
}

function hashOf(row: SignatureScheme): string | null {
  return 'hash' in row ? row.hash : null;
}

// OpenSSL takes PSS signatures without their leading zero bytes; RFC 8017, 8.1.2 step 1 does not.
function hasRightLength(row: SignatureScheme, key: KeyObject, signature: Uint8Array): boolean {
  switch (row.form) {
    case 'rsa-pss':
    case 'rsa-pkcs1':
      return signature.length * 8 === key.asymmetricKeyDetails?.modulusLength;
    case 'pure':
      return signature.length === row.signatureBytes;
    case 'ecdsa':
      return true;
  }
}

function signInPool(row: SignatureScheme, key: KeyObject, data: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    cryptoSign(hashOf(row), data, parametersOf(row, key), (error, signature) => {
      if (error === null) resolve(signature);
      else reject(new KeyreeveError('internal', 'Signing failed.', { cause: error }));
    });
  });
}

function verifyInPool(
  row: SignatureScheme,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const parameters: VerifyKeyObjectInput = parametersOf(row, key);
  return new Promise((resolve) => {
    // An error means that OpenSSL could not read the signature: not one of these data.
    cryptoVerify(hashOf(row), data, parameters, signature, (error, valid) => {
      resolve(error === null && valid);
    });
  });
}
