import { checkPrime, createPrivateKey, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import {
  bitLength,
  derChildren,
  derTags,
  derUnsigned,
  encodeDer,
  encodeDerUnsigned,
  readWholeDer,
} from '../der/der.ts';
import { invalidPrivate } from './private-input.ts';
import { checkRsaPublic } from './public-key.ts';

/** FIPS 186-5, A.1.3: the primes differ in their first hundred bits, or Fermat finds them. */
const primeDistanceBits = 100;

const isProbablePrime = promisify(checkPrime) as (candidate: bigint) => Promise<boolean>;

interface RsaNumbers {
  readonly n: bigint;
  readonly e: bigint;
  readonly d: bigint;
  readonly p: bigint;
  readonly q: bigint;
  readonly dp: bigint;
  readonly dq: bigint;
  readonly qi: bigint;
}

/**
 * Rebuilds an RSA private key from its primes and its public exponent, and refuses it where any
 * other number in it is not the one that follows from them. The primes are tested in the thread
 * pool. Error: `invalid-key-material`.
 */
export async function rebuildRsa(key: KeyObject, modulusBits: number): Promise<KeyObject> {
  const given = readNumbers(key);
  const { n, e, p, q } = given;
  if (bitLength(n) !== modulusBits) throw invalidPrivate('Its modulus has another size.');
  checkRsaPublic(n, e);
  if (p * q !== n) throw invalidPrivate('Its primes are not those of its modulus.');
  checkPrimeSizes(p, q, modulusBits / 2);
  const probable = await Promise.all([isProbablePrime(p), isProbablePrime(q)]);
  if (!probable.every(Boolean)) throw invalidPrivate('One of its primes is not prime.');

  const lambda = ((p - 1n) * (q - 1n)) / greatestCommonDivisor(p - 1n, q - 1n);
  const d = inverse(e, lambda);
  // FIPS 186-5, A.1.1: a short exponent gives itself away (Wiener).
  if (d === undefined || bitLength(d) <= modulusBits / 2) {
    throw invalidPrivate('Its public exponent does not fit its primes.');
  }
  const numbers: RsaNumbers = {
    ...{ n, e, d, p, q },
    dp: d % (p - 1n),
    dq: d % (q - 1n),
    qi: inverse(q, p) ?? 0n,
  };
  // RFC 8017, 3.2 allows a private exponent modulo phi as well: the same modulo lambda.
  const sameExponent = given.d > 0n && given.d < n && (given.d - d) % lambda === 0n;
  const sameRest = given.dp === numbers.dp && given.dq === numbers.dq && given.qi === numbers.qi;
  if (!sameExponent || !sameRest) {
    throw invalidPrivate('Its private numbers do not belong to its primes.');
  }
  return writeNumbers(numbers);
}

function checkPrimeSizes(p: bigint, q: bigint, primeBits: number): void {
  if (bitLength(p) !== primeBits || bitLength(q) !== primeBits) {
    throw invalidPrivate('Its primes are not half as long as its modulus.');
  }
  const distance = p > q ? p - q : q - p;
  if (distance <= 2n ** BigInt(primeBits - primeDistanceBits)) {
    throw invalidPrivate('Its primes are too close to each other.');
  }
}

// RFC 8017, A.1.2: version, n, e, d, p, q, dp, dq, qi; version 1 has more primes behind them.
function readNumbers(key: KeyObject): RsaNumbers {
  const encoded = key.export({ format: 'der', type: 'pkcs1' });
  try {
    const elements = derChildren(readWholeDer(encoded, derTags.sequence));
    if (elements.length !== 9 || derUnsigned(elements[0]) !== 0n) {
      throw invalidPrivate('It has more than two primes.');
    }
    const [n, e, d, p, q, dp, dq, qi] = elements.slice(1).map(derUnsigned) as [
      ...[bigint, bigint, bigint, bigint],
      ...[bigint, bigint, bigint, bigint],
    ];
    return { n, e, d, p, q, dp, dq, qi };
  } finally {
    encoded.fill(0);
  }
}

function writeNumbers({ n, e, d, p, q, dp, dq, qi }: RsaNumbers): KeyObject {
  const parts = [0n, n, e, d, p, q, dp, dq, qi].map(encodeDerUnsigned);
  const encoded = encodeDer(derTags.sequence, ...parts);
  try {
    return createPrivateKey({ key: encoded, format: 'der', type: 'pkcs1' });
  } finally {
    for (const part of [...parts, encoded]) part.fill(0);
  }
}

function greatestCommonDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y > 0n) [x, y] = [y, x % y];
  return x;
}

/** The inverse of `value` modulo `modulus`, or undefined where there is none. */
function inverse(value: bigint, modulus: bigint): bigint | undefined {
  let [r0, r1] = [modulus, value % modulus];
  let [t0, t1] = [0n, 1n];
  while (r1 > 0n) {
    const quotient = r0 / r1;
    [r0, r1] = [r1, r0 - quotient * r1];
    [t0, t1] = [t1, t0 - quotient * t1];
  }
  if (r0 !== 1n) return undefined;
  return t0 < 0n ? t0 + modulus : t0;
}
