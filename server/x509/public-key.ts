import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { type AlgorithmName, type AlgorithmRow, algorithms } from '../../api/algorithms.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { algorithmOfKey, checkPublic, spkiLengthMaximumBytes } from '../crypto/crypto.ts';
import { bitLength, DerError, DerReader } from '../der/der.ts';
import { keyAlgorithmOf, readAlgorithm, rsaKeyAlgorithm } from './algorithms.ts';
import { reading } from './malformed.ts';

/** RFC 7093, section 2, method 1. */
const keyIdentifierBytes = 20;

interface PublicKeyInfo {
  readonly algorithm: Buffer;
  readonly key: Buffer;
}

/**
 * The algorithm and the key of a SubjectPublicKeyInfo in strict DER; the algorithm is undefined
 * where the key is well-formed and none of ours (RSA of 1024 bits, another curve). Keys of ours are
 * held to everything that can be known of them: points on the curve, the one encoding, sound
 * exponents. Error: `public-key-refused`.
 */
export function spkiAlgorithm(spki: Buffer): {
  algorithm: AlgorithmName | undefined;
  key: KeyObject;
} {
  const info = publicKeyInfoOf(spki);
  const algorithm = algorithmOf(info);
  if (algorithm !== undefined) return { algorithm, key: checkOwn(algorithm, spki) };
  const key = readOther(spki);
  if (algorithmOfKey(key) === undefined) return { algorithm, key };
  throw refused('Its algorithm has other parameters than its standard gives it.');
}

/** Leftmost 160 bits of the SHA-256 of the key itself (RFC 7093). Error: `public-key-refused`. */
export function keyIdentifier(spki: Buffer): Buffer {
  const { key } = publicKeyInfoOf(spki);
  return hash('sha256', key, 'buffer').subarray(0, keyIdentifierBytes);
}

/** Reads what is inside a SubjectPublicKeyInfo that was entered. Error: DerError. */
export function readPublicKeyInfo(reader: DerReader): PublicKeyInfo {
  const algorithm = readAlgorithm(reader);
  const key = reader.bitStringBytes();
  reader.finish();
  return { algorithm, key };
}

function publicKeyInfoOf(spki: Buffer): PublicKeyInfo {
  return reading('publicKey', () =>
    readPublicKeyInfo(DerReader.over(spki, { bytesMaximum: spkiLengthMaximumBytes }).sequence()),
  );
}

function algorithmOf({ algorithm, key }: PublicKeyInfo): AlgorithmName | undefined {
  if (!algorithm.equals(rsaKeyAlgorithm)) return keyAlgorithmOf(algorithm);
  const bits = reading('publicKey', () => rsaModulusBits(key));
  return (Object.keys(algorithms) as AlgorithmName[]).find((name) => {
    const { node }: AlgorithmRow = algorithms[name];
    return node.type === 'rsa' && node.modulusBits === bits;
  });
}

// RFC 8017, A.1.1: modulus, exponent.
function rsaModulusBits(key: Buffer): number {
  const reader = DerReader.over(key, { bytesMaximum: spkiLengthMaximumBytes }).sequence();
  const modulus = reader.unsigned(spkiLengthMaximumBytes);
  const exponent = reader.unsigned(spkiLengthMaximumBytes);
  reader.finish();
  if (modulus === 0n || exponent === 0n) throw new DerError('value');
  return bitLength(modulus);
}

function checkOwn(algorithm: AlgorithmName, spki: Buffer): KeyObject {
  try {
    return checkPublic(algorithm, spki);
  } catch (error) {
    if (!isKeyreeveError(error, 'invalid-key-material')) throw error;
    throw new KeyreeveError('public-key-refused', error.message, { cause: error });
  }
}

function readOther(spki: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch {
    throw refused('It is of a kind that is not known here.');
  }
}

function refused(reason: string): KeyreeveError {
  return new KeyreeveError('public-key-refused', `The public key is refused. ${reason}`);
}
