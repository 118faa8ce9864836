import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKey,
  generateKeyPair,
  type KeyObject,
} from 'node:crypto';
import { promisify } from 'node:util';
import { type AlgorithmName, algorithms, type NodeKey } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { keyMatches } from './key-kind.ts';
import { type PrivateKey, requireLocalKey } from './private-key.ts';

/** A key, ready for use, and what identifies it. */
export interface KeyMaterial {
  readonly algorithm: AlgorithmName;
  /** The private key, or the secret one of a symmetric algorithm, wherever it lies. */
  readonly privateKey: PrivateKey;
  readonly publicKey: KeyObject | undefined;
  /** SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7). */
  readonly spki: Buffer | undefined;
  /**
   * Hex SHA-256 of the SPKI; for secret keys the key check value: the first 16 bytes of
   * HMAC-SHA-256 of a fixed text under the key.
   */
  readonly fingerprint: string;
}

const keyCheckText = 'keyreeve key check value';
const keyCheckBytes = 16;
const rsaPublicExponent = 65_537;

const generatePair = promisify(generateKeyPair) as (
  type: string,
  options: object,
) => Promise<{ publicKey: KeyObject; privateKey: KeyObject }>;
const generateSecret = promisify(generateKey);

/** Makes a fresh key in the thread pool. */
export async function generateKeyMaterial(algorithm: AlgorithmName): Promise<LocalKeyMaterial> {
  const node: NodeKey = algorithms[algorithm].node;
  switch (node.type) {
    case 'secret':
      return secretMaterial(algorithm, await generateSecret(node.generator, { length: node.bits }));
    case 'rsa':
      return pairMaterial(
        algorithm,
        await generatePair('rsa', {
          modulusLength: node.modulusBits,
          publicExponent: rsaPublicExponent,
        }),
      );
    case 'ec':
      return pairMaterial(algorithm, await generatePair('ec', { namedCurve: node.curve }));
    case 'octets':
      return pairMaterial(algorithm, await generatePair(node.name, {}));
  }
}

/** Key material whose bytes are in this process. */
export type LocalKeyMaterial = KeyMaterial & { readonly privateKey: KeyObject };

/**
 * The form that keystores keep: PKCS#8 in DER, or the bytes of a secret key. Error:
 * `capability-missing` for a key that never leaves its keystore.
 */
export function serializePrivate(material: KeyMaterial): SecretBytes {
  const key = requireLocalKey(material.privateKey, 'give away a private key');
  return new SecretBytes(
    key.type === 'secret' ? key.export() : key.export({ format: 'der', type: 'pkcs8' }),
  );
}

/**
 * Reads what `serializePrivate` wrote. The bytes are trusted to be ours, so this is fast: foreign
 * ones go through `importPrivate`. Error: `integrity-failed`.
 */
export function parsePrivate(algorithm: AlgorithmName, secret: SecretBytes): LocalKeyMaterial {
  let key: KeyObject;
  try {
    key =
      algorithms[algorithm].kind === 'symmetric'
        ? createSecretKey(secret.reveal())
        : createPrivateKey({ key: secret.reveal(), format: 'der', type: 'pkcs8' });
  } catch {
    throw new KeyreeveError('integrity-failed', 'A stored private key cannot be read.');
  }
  if (!keyMatches(algorithm, key)) {
    throw new KeyreeveError('integrity-failed', 'A stored private key has another algorithm.');
  }
  return materialOf(algorithm, key);
}

/** Reads a public key of ours from the database. Error: `integrity-failed`. */
export function parsePublic(algorithm: AlgorithmName, spki: Uint8Array): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch {
    throw new KeyreeveError('integrity-failed', 'A stored public key cannot be read.');
  }
  if (!keyMatches(algorithm, key)) {
    throw new KeyreeveError('integrity-failed', 'A stored public key has another algorithm.');
  }
  return key;
}

/** Hex SHA-256 of a SubjectPublicKeyInfo: how public keys are named everywhere. */
export function fingerprintOf(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex');
}

/** Completes a private or secret key that has been checked. */
export function materialOf(algorithm: AlgorithmName, key: KeyObject): LocalKeyMaterial {
  return key.type === 'secret'
    ? secretMaterial(algorithm, key)
    : pairMaterial(algorithm, { privateKey: key, publicKey: createPublicKey(key) });
}

function pairMaterial(
  algorithm: AlgorithmName,
  pair: { publicKey: KeyObject; privateKey: KeyObject },
): LocalKeyMaterial {
  const spki = pair.publicKey.export({ format: 'der', type: 'spki' });
  const { privateKey, publicKey } = pair;
  return { algorithm, privateKey, publicKey, spki, fingerprint: fingerprintOf(spki) };
}

function secretMaterial(algorithm: AlgorithmName, privateKey: KeyObject): LocalKeyMaterial {
  const check = createHmac('sha256', privateKey).update(keyCheckText).digest();
  const fingerprint = check.toString('hex', 0, keyCheckBytes);
  return { algorithm, privateKey, publicKey: undefined, spki: undefined, fingerprint };
}
