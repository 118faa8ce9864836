import {
  decapsulate as cryptoDecapsulate,
  encapsulate as cryptoEncapsulate,
  diffieHellman,
  hkdfSync,
  type KeyObject,
} from 'node:crypto';
import { type AlgorithmName, algorithms, type SchemeName, schemes } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { invalidCiphertext } from './invalid-ciphertext.ts';
import { algorithmOfKey, requireKey } from './key-kind.ts';
import { type PrivateKey, requireLocalKey, requireUse } from './private-key.ts';
import { checkPublic } from './public-key.ts';
import { isRemoteKey } from './remote-key.ts';

export interface AgreementParameters {
  /** What the derived key is for (RFC 5869, 3.2): both sides give the same. */
  readonly info: Uint8Array;
  /** Bytes to derive. */
  readonly length: number;
}

export interface Encapsulated {
  readonly ciphertext: Buffer;
  readonly sharedSecret: SecretBytes;
}

const agreementScheme = 'ecdh';
const derivedLengthMaximumBytes = 255 * schemes[agreementScheme].hashBytes;
const infoLengthMaximumBytes = 1024;

/**
 * Agrees on a secret with the holder of another key of the same algorithm: ECDH (NIST SP 800-56A,
 * RFC 7748), then HKDF-SHA-256 with an empty salt. Errors: `scheme-not-allowed`, `invalid-request`,
 * `invalid-key-material` (another curve, a point off the curve or of small order), and of remote
 * keys `keystore-unavailable`, `capability-missing`.
 */
export async function agree(
  key: PrivateKey,
  peerSpki: Uint8Array,
  { info, length }: AgreementParameters,
): Promise<SecretBytes> {
  requireKey(agreementScheme, key, 'private');
  if (!Number.isInteger(length) || length < 1 || length > derivedLengthMaximumBytes) {
    throw new KeyreeveError(
      'invalid-request',
      `The length is between 1 and ${derivedLengthMaximumBytes} bytes.`,
    );
  }
  if (info.length > infoLengthMaximumBytes) {
    throw new KeyreeveError('invalid-request', `Info has ${infoLengthMaximumBytes} bytes at most.`);
  }
  const peer = checkPublic(knownAlgorithm(key), peerSpki);
  using shared = await sharedSecretOf(key, peer);
  const { hash } = schemes[agreementScheme];
  return new SecretBytes(new Uint8Array(hkdfSync(hash, shared.reveal(), '', info, length)));
}

/** Makes a shared secret for the holder of the key: ML-KEM (FIPS 203). */
export async function encapsulate(publicKey: KeyObject): Promise<Encapsulated> {
  requireKey(encapsulationScheme(publicKey), publicKey, 'public');
  const { sharedKey, ciphertext } = await new Promise<{ sharedKey: Buffer; ciphertext: Buffer }>(
    (resolve, reject) => {
      cryptoEncapsulate(publicKey, (error, result) => (error ? reject(error) : resolve(result)));
    },
  );
  return { ciphertext, sharedSecret: new SecretBytes(sharedKey) };
}

/**
 * Opens a shared secret. A ciphertext of another length is refused (`invalid-ciphertext`); a
 * changed one of the right length gives another secret, as FIPS 203, 6.3 wants it: what is done
 * with the secret must be authenticated.
 */
export async function decapsulate(
  privateKey: PrivateKey,
  ciphertext: Uint8Array,
): Promise<SecretBytes> {
  const key = requireLocalKey(privateKey, 'decapsulate');
  const scheme = encapsulationScheme(key);
  requireKey(scheme, key, 'private');
  const row = schemes[scheme];
  if (!('ciphertextBytes' in row) || ciphertext.length !== row.ciphertextBytes) {
    throw invalidCiphertext();
  }
  return new Promise((resolve, reject) => {
    cryptoDecapsulate(key, ciphertext, (error, sharedKey) => {
      if (error) reject(invalidCiphertext());
      else resolve(new SecretBytes(sharedKey));
    });
  });
}

function encapsulationScheme(key: KeyObject): SchemeName {
  const { purposes } = algorithms[knownAlgorithm(key)];
  if (!('encapsulate' in purposes)) {
    throw new KeyreeveError('scheme-not-allowed', 'The key is not for encapsulation.');
  }
  return purposes.encapsulate.default[0];
}

function knownAlgorithm(key: PrivateKey): AlgorithmName {
  const algorithm = isRemoteKey(key) ? key.algorithm : algorithmOfKey(key);
  if (algorithm === undefined) {
    throw new KeyreeveError('scheme-not-allowed', 'The key is of no algorithm that can do this.');
  }
  return algorithm;
}

// RFC 7748, 6.1: an all-zero secret means that the peer had no part in it. OpenSSL refuses it; the
// check stays in case another build of it does not.
async function sharedSecretOf(key: PrivateKey, publicKey: KeyObject): Promise<SecretBytes> {
  if (isRemoteKey(key)) {
    const spki = publicKey.export({ format: 'der', type: 'spki' });
    const secret = await requireUse(key, 'agree')(spki);
    if (secret.reveal().some((byte) => byte !== 0)) return secret;
    secret[Symbol.dispose]();
    throw noSecret();
  }
  const shared = await new Promise<Buffer | undefined>((resolve) => {
    diffieHellman({ privateKey: key, publicKey }, (error, secret) =>
      resolve(error ? undefined : secret),
    );
  });
  if (shared === undefined || shared.every((byte) => byte === 0)) throw noSecret();
  return new SecretBytes(shared);
}

function noSecret(): KeyreeveError {
  return new KeyreeveError('invalid-key-material', 'No secret can be agreed on with this key.');
}
