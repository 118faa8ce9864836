import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { type AlgorithmName, algorithms, type NodeKey } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { bigintFromBytes, DerReader } from '../der/der.ts';
import { keyMatches } from './key-kind.ts';

export const spkiLengthMaximumBytes = 16 * 1024;
export const rsaExponentMinimum = 65_537n;
/** OpenSSL refuses larger ones with moduli above 3072 bits, and they only make verifying slow. */
export const rsaExponentMaximum = 2n ** 64n - 1n;

/** SEC 1, section 2.3.3. */
const uncompressedPoint = 0x04;
const fieldPrime = 2n ** 255n - 19n;

// The y coordinates of the eight points of small order of edwards25519 (RFC 8032, 5.1): orders
// 1, 2, 4 (two points) and 8 (four points, two coordinates).
const edwardsY8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
const smallOrderY = new Set([1n, fieldPrime - 1n, 0n, edwardsY8, fieldPrime - edwardsY8]);

/** Keys of ours and of strangers whose point has been looked at, for as long as they live. */
const checkedPoints = new WeakSet<KeyObject>();

/**
 * Checks a public key from outside: a SubjectPublicKeyInfo of exactly this algorithm, size and
 * curve, in the one DER form that it has (so that one key has one fingerprint), with an RSA
 * exponent that is odd and 65537 or more, and no point of small order. Error:
 * `invalid-key-material`.
 */
export function checkPublic(algorithm: AlgorithmName, spki: Uint8Array): KeyObject {
  const input = Buffer.from(spki);
  if (input.length > spkiLengthMaximumBytes) throw invalid('It is too long.');
  let key: KeyObject;
  try {
    key = createPublicKey({ key: input, format: 'der', type: 'spki' });
  } catch {
    throw invalid('It cannot be read as a SubjectPublicKeyInfo in DER.');
  }
  if (!keyMatches(algorithm, key)) {
    throw invalid(`It is not a key of the algorithm ${algorithm}.`);
  }
  const node: NodeKey = algorithms[algorithm].node;
  if (!isCanonical(input, key, node)) throw invalid('Its encoding is not the canonical one.');
  if (node.type === 'rsa') checkRsaNumbers(key);
  checkPoint(key, node);
  return key;
}

/** Refuses Curve25519 points that no honest key has; once for each key object. */
export function checkPoint(key: KeyObject, node: NodeKey): void {
  if (node.type !== 'octets' || node.point === undefined || checkedPoints.has(key)) return;
  const raw = key.export({ format: 'raw-public' });
  if (node.point === 'edwards') checkEdwards(raw);
  else checkMontgomery(key, raw);
  checkedPoints.add(key);
}

// OpenSSL gives EC points back as it got them, so writing the key again would not tell. Nor is it
// asked for the coordinates: at the point at infinity Node leaves an error in OpenSSL's queue, and
// the next TLS connection that is read from takes it for its own and breaks.
function isCanonical(spki: Buffer, key: KeyObject, node: NodeKey): boolean {
  if (node.type === 'ec') return isPlainPoint(spki);
  return key.export({ format: 'der', type: 'spki' }).equals(spki);
}

// RFC 5480: the named curve and the uncompressed point, whose length OpenSSL has looked at.
function isPlainPoint(spki: Buffer): boolean {
  try {
    const outer = DerReader.over(spki, { bytesMaximum: spkiLengthMaximumBytes });
    const reader = outer.sequence();
    const algorithm = reader.sequence();
    algorithm.objectIdentifier();
    algorithm.objectIdentifier();
    algorithm.finish();
    const point = reader.bitStringBytes();
    reader.finish();
    return point[0] === uncompressedPoint;
  } catch {
    return false;
  }
}

function checkRsaNumbers(key: KeyObject): void {
  const { n = '', e = '' } = key.export({ format: 'jwk' });
  checkRsaPublic(
    bigintFromBytes(Buffer.from(n, 'base64url')),
    bigintFromBytes(Buffer.from(e, 'base64url')),
  );
}

/** Refuses an even modulus and exponents outside of what FIPS 186-5 and OpenSSL allow. */
export function checkRsaPublic(modulus: bigint, exponent: bigint): void {
  if (modulus % 2n === 0n) throw invalid('Its RSA modulus is even.');
  if (exponent % 2n === 0n) throw invalid('Its RSA public exponent is even.');
  if (exponent < rsaExponentMinimum) throw invalid('Its RSA public exponent is below 65537.');
  if (exponent > rsaExponentMaximum) throw invalid('Its RSA public exponent is above 64 bits.');
}

// RFC 8032, 5.1.3: y below the field prime. A key of small order verifies signatures that nobody
// made.
function checkEdwards(raw: Buffer): void {
  const y = bigintFromBytes(Buffer.from(raw).reverse()) & (2n ** 255n - 1n);
  if (y >= fieldPrime) throw invalid('Its point is not encoded canonically.');
  if (smallOrderY.has(y)) throw invalid('Its point has small order.');
}

// RFC 7748, 5 reads other spellings of u as well; no generator writes them, and with them one key
// would have several fingerprints. A point of small order gives the all-zero secret with every
// partner, which OpenSSL refuses (RFC 7748, 6.1).
function checkMontgomery(key: KeyObject, raw: Buffer): void {
  if (bigintFromBytes(Buffer.from(raw).reverse()) >= fieldPrime) {
    throw invalid('Its point is not encoded canonically.');
  }
  try {
    const { privateKey } = generateKeyPairSync('x25519');
    diffieHellman({ privateKey, publicKey: key }).fill(0);
  } catch {
    throw invalid('Its point has small order.');
  }
}

function invalid(reason: string): KeyreeveError {
  return new KeyreeveError('invalid-key-material', `The public key is refused. ${reason}`);
}
