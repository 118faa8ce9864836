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
import { startInPool } from './pool-starts.ts';
import type { PrivateKey } from './private-key.ts';
import { checkPoint } from './public-key.ts';
import { isRemoteKey, type RemoteKey } from './remote-key.ts';

// The thread pool is the process's, shared with file access and name look-ups, so its guard is too.
const slowSignatures = new Limiter(1);

/**
 * Signs `data` itself, not a digest of it, in the thread pool or where the key lies. Bytes as the
 * table of schemes says: ECDSA in DER, everything else raw. What a remote key signed is verified
 * before it leaves: a faulty module could give a signature of other data, or one that tells of the
 * key (RFC 8017, section 8 and Boneh, DeMillo, Lipton). Errors: `unknown-scheme`,
 * `scheme-not-allowed`, and of remote keys `keystore-unavailable`, `capability-missing`,
 * `integrity-failed`.
 */
export async function sign(scheme: SchemeName, key: PrivateKey, data: Uint8Array): Promise<Buffer> {
  const row = requireScheme(scheme, 'sign');
  requireKey(scheme, key, 'private');
  if (isRemoteKey(key)) {
    return requireOwnSignature(scheme, key, data, await key.sign(scheme, data));
  }
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

/** Signs a list; the signatures come in its order. Errors: those of `sign`. */
export async function signMany(
  scheme: SchemeName,
  key: PrivateKey,
  datas: readonly Uint8Array[],
): Promise<Buffer[]> {
  if (!isRemoteKey(key) || key.signMany === undefined) {
    return mapBatch(datas, (data) => sign(scheme, key, data));
  }
  requireScheme(scheme, 'sign');
  requireKey(scheme, key, 'private');
  const signatures = await key.signMany(scheme, datas);
  if (signatures.length !== datas.length) throw wrongSignature(key);
  const pairs = datas.map((data, index) => ({ data, signature: signatures[index]! }));
  return mapBatch(pairs, ({ data, signature }) =>
    requireOwnSignature(scheme, key, data, signature),
  );
}

async function requireOwnSignature(
  scheme: SchemeName,
  key: RemoteKey,
  data: Uint8Array,
  signature: Buffer,
): Promise<Buffer> {
  if (key.publicKey !== undefined && (await verify(scheme, key.publicKey, data, signature))) {
    return signature;
  }
  throw wrongSignature(key);
}

function wrongSignature({ keystore }: RemoteKey): KeyreeveError {
  return new KeyreeveError(
    'integrity-failed',
    `The keystore "${keystore}" gave a signature that is not one of its key over these data. It was thrown away.`,
    { hint: 'Look at the token and its module before you use the key again.' },
  );
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
  return startInPool((resolve, reject) => {
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
  return startInPool((resolve) => {
    // An error means that OpenSSL could not read the signature: not one of these data.
    cryptoVerify(hashOf(row), data, parameters, signature, (error, valid) => {
      resolve(error === null && valid);
    });
  });
}
