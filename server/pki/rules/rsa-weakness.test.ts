import assert from 'node:assert/strict';
import { checkPrimeSync, generateKeyPairSync, generatePrimeSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { bigintFromBytes } from '../../der/der.ts';
import { fermatRounds, rsaWeakness, smallPrimeMax } from './rsa-weakness.ts';

const prime = (bits: number): bigint => generatePrimeSync(bits, { bigint: true });

function nextPrime(from: bigint): bigint {
  let candidate = from | 1n;
  while (!checkPrimeSync(candidate)) candidate += 2n;
  return candidate;
}

test('the moduli that OpenSSL makes pass', () => {
  for (const modulusLength of [2048, 2048, 3072, 4096]) {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength });
    const { n = '' } = publicKey.export({ format: 'jwk' });
    assert.equal(rsaWeakness(bigintFromBytes(Buffer.from(n, 'base64url'))), undefined);
  }
});

test('a modulus with a small factor is found, up to the largest prime that is tried', () => {
  const large = prime(2040);
  for (const factor of [2n, 3n, 241n, 751n, 5987n]) {
    assert.equal(rsaWeakness(large * factor), 'small-factor', `${factor}`);
  }
  const beyond = nextPrime(BigInt(smallPrimeMax));
  assert.equal(rsaWeakness(large * beyond), undefined);
});

test('primes that are close to each other are found by Fermat\u2019s method', () => {
  const p = prime(1024);
  assert.equal(rsaWeakness(p * p), 'fermat');
  assert.equal(rsaWeakness(p * nextPrime(p + 2n)), 'fermat');
  assert.equal(rsaWeakness(p * nextPrime(p + 2n ** 500n)), 'fermat');
  // Some rounds further on.
  assert.equal(rsaWeakness(p * nextPrime(p + 2n ** 516n)), 'fermat');
});

test('Fermat\u2019s method ends after its rounds', () => {
  // a * a - b * b with a the k-th number from the root: found in round k, counted from 0.
  const p = prime(1024);
  const roundsOf = (q: bigint): bigint => {
    const a = (p + q) / 2n;
    let root = p;
    while (root * root < p * q) root = nextRoot(root, p * q);
    return a - root;
  };
  const far = nextPrime(p + 2n ** 518n);
  assert.ok(roundsOf(far) > BigInt(fermatRounds));
  assert.equal(rsaWeakness(p * far), undefined);
});

function nextRoot(low: bigint, value: bigint): bigint {
  let root = low;
  for (;;) {
    const next = (root + value / root) / 2n;
    if (next === root || next === root + 1n) return next * next < value ? next + 1n : next;
    root = next;
  }
}

// Primes of the form k * M + (65537^a mod M), M the product of the first 126 primes: Nemec and
// others, "The Return of Coppersmith's Attack", section 2.1.
function flawedPrime(): bigint {
  const primorial = firstPrimes(126).reduce((product, factor) => product * factor, 1n);
  for (;;) {
    const k = bigintFromBytes(randomBytes(6)) | (1n << 52n);
    const exponent = bigintFromBytes(randomBytes(8));
    const candidate = k * primorial + power(65_537n, exponent, primorial);
    if (checkPrimeSync(candidate)) return candidate;
  }
}

function firstPrimes(count: number): bigint[] {
  const primes: bigint[] = [];
  for (let candidate = 2n; primes.length < count; candidate++) {
    if (primes.every((factor) => candidate % factor !== 0n)) primes.push(candidate);
  }
  return primes;
}

function power(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

test('a modulus of the generator with the ROCA flaw is found', () => {
  assert.equal(rsaWeakness(flawedPrime() * flawedPrime()), 'roca');
});

test('one sound prime takes the fingerprint away', () => {
  assert.equal(rsaWeakness(flawedPrime() * prime(1024)), undefined);
});
