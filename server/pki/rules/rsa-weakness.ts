/**
 * What is known to make an RSA modulus easy to factor. Every test here runs on the public modulus
 * alone and takes tens of microseconds.
 */

/** Which test a modulus failed. */
export type RsaWeakness = 'small-factor' | 'fermat' | 'roca';

/**
 * Primes up to here are tried as factors; the Baseline Requirements (section 6.1.6, after NIST SP
 * 800-89, section 5.3.3) ask for those below 752.
 */
export const smallPrimeMax = 6000;
/** Rounds of Fermat's method: Baseline Requirements, section 6.1.1.3. */
export const fermatRounds = 100;
/**
 * The largest prime that always divides the primorial of the flawed generator where the modulus
 * has 1984 bits or more: the 126th prime (Nemec and others, "The Return of Coppersmith's Attack",
 * ACM CCS 2017, table 1). Shorter moduli are refused before.
 */
const rocaPrimeMax = 701;
const rocaGenerator = 65_537;

const smallPrimes = primesUpTo(smallPrimeMax);
const primeGroups = groupPrimes(smallPrimes);
const rocaResidues = new Map(
  smallPrimes.filter((prime) => prime <= rocaPrimeMax).map((prime) => [prime, powersOf(prime)]),
);

/** The first weakness that is found in a modulus of at least 1984 bits. */
export function rsaWeakness(modulus: bigint): RsaWeakness | undefined {
  const remainders = smallRemainders(modulus);
  for (const remainder of remainders.values()) if (remainder === 0) return 'small-factor';
  if (looksLikeRoca(remainders)) return 'roca';
  return fermatFactors(modulus) ? 'fermat' : undefined;
}

function smallRemainders(modulus: bigint): Map<number, number> {
  const remainders = new Map<number, number>();
  for (const { product, primes } of primeGroups) {
    // One long division for several primes; what is left fits a double exactly.
    const rest = Number(modulus % product);
    for (const prime of primes) remainders.set(prime, rest % prime);
  }
  return remainders;
}

/**
 * The generator (CVE-2017-15361) made primes k * M + (65537^a mod M), M a primorial. So the modulus
 * is a power of 65537 to every prime of M. Of other moduli one in 10^50 is.
 */
function looksLikeRoca(remainders: ReadonlyMap<number, number>): boolean {
  for (const [prime, powers] of rocaResidues) {
    if (!powers.has(remainders.get(prime)!)) return false;
  }
  return true;
}

/**
 * Two primes that are too close to each other: with a = (p + q) / 2 and b = (p - q) / 2 the modulus
 * is a^2 - b^2, and a is found by counting up from the square root.
 */
function fermatFactors(modulus: bigint): boolean {
  let a = squareRoot(modulus);
  if (a * a < modulus) a++;
  let rest = a * a - modulus;
  for (let round = 0; round < fermatRounds; round++) {
    if (isSquare(rest)) return true;
    rest += 2n * a + 1n;
    a++;
  }
  return false;
}

/** Squares leave 12 of 64 remainders of 64, and 288 of 3465 = 9 * 5 * 7 * 11: a cheap sieve. */
const squaresOf64 = squaresOf(64);
const squaresOf3465 = squaresOf(3465);

function isSquare(value: bigint): boolean {
  if (!squaresOf64.has(Number(value & 63n))) return false;
  if (!squaresOf3465.has(Number(value % 3465n))) return false;
  const root = squareRoot(value);
  return root * root === value;
}

/** The integer part of the root, by Newton's method from above. */
function squareRoot(value: bigint): bigint {
  if (value < 2n) return value;
  const bits = value.toString(16).length * 4;
  let root = 1n << BigInt((bits + 1) >> 1);
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function squaresOf(modulus: number): ReadonlySet<number> {
  return new Set(Array.from({ length: modulus }, (_, value) => (value * value) % modulus));
}

function powersOf(prime: number): ReadonlySet<number> {
  const powers = new Set<number>();
  let power = 1 % prime;
  while (!powers.has(power)) {
    powers.add(power);
    power = (power * rocaGenerator) % prime;
  }
  return powers;
}

function primesUpTo(limit: number): readonly number[] {
  const composite = new Uint8Array(limit + 1);
  const primes: number[] = [];
  for (let candidate = 2; candidate <= limit; candidate++) {
    if (composite[candidate] === 1) continue;
    primes.push(candidate);
    for (let multiple = candidate ** 2; multiple <= limit; multiple += candidate) {
      composite[multiple] = 1;
    }
  }
  return primes;
}

interface PrimeGroup {
  readonly product: bigint;
  readonly primes: readonly number[];
}

/** Groups whose products doubles hold exactly. */
function groupPrimes(primes: readonly number[]): readonly PrimeGroup[] {
  const groups: PrimeGroup[] = [];
  let product = 1;
  let members: number[] = [];
  for (const prime of primes) {
    if (product * prime > Number.MAX_SAFE_INTEGER) {
      groups.push({ product: BigInt(product), primes: members });
      product = 1;
      members = [];
    }
    product *= prime;
    members.push(prime);
  }
  groups.push({ product: BigInt(product), primes: members });
  return groups;
}
