import type { KeyObject } from 'node:crypto';
import {
  type AlgorithmName,
  type AlgorithmRow,
  algorithms,
  type NodeKey,
  schemesFor,
} from '../../../api/algorithms.ts';
import type { Profile } from '../../../api/profiles.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { LruMap } from '../../base/lru-map.ts';
import { bigintFromBytes } from '../../der/der.ts';
import { spkiAlgorithm } from '../../x509/x509.ts';
import { type RsaWeakness, rsaWeakness } from './rsa-weakness.ts';

export type KeyKind = NodeKey['type'];

/** What the rules know of a public key that has passed them. */
export interface KeyFacts {
  readonly algorithm: AlgorithmName;
  readonly key: KeyObject;
  readonly kind: KeyKind;
}

// What a public key is cannot change. Planning, linting and signing ask for the same one within a
// moment, batches often for few; parsing it each time would cost more than all other rules.
const cacheEntriesMax = 512;
const known = new LruMap<string, KeyFacts>(cacheEntriesMax);

const weaknesses: Record<RsaWeakness, string> = {
  'small-factor': 'Its RSA modulus has a small factor.',
  fermat: 'The two primes of its RSA modulus are so close that Fermat\u2019s method finds them.',
  roca: 'It was made by a chip whose RSA keys can be broken (ROCA, CVE-2017-15361).',
};

/**
 * Refuses a public key that cannot be certified: of no algorithm that signs, not allowed by the
 * profile, of a wrong size, or known to be weak. Points of elliptic curves are checked where the
 * key is parsed. Error: `public-key-refused`, whose `check` in the data says by which test.
 */
export function checkPublicKey(spki: Buffer, profile: Profile): void {
  const { algorithm } = publicKeyFacts(spki);
  if (profile.algorithms !== undefined && !profile.algorithms.includes(algorithm)) {
    throw refused(
      'algorithm',
      `The profile ${profile.name} does not take the algorithm ${algorithm}.`,
      `It takes ${profile.algorithms.join(', ')}.`,
    );
  }
  const canSign = schemesFor(algorithm, profile.isAuthority ? 'ca' : 'sign').length > 0;
  if (!canSign) {
    throw refused(
      'algorithm',
      profile.isAuthority ? 'No CA can have a key of its kind.' : 'Its kind cannot sign.',
      'Make a key of another algorithm, such as p-256.',
    );
  }
}

/**
 * What the key is, once it has passed all tests but the profile's. `verifySigned` takes it in place
 * of the bytes. Error: `public-key-refused`.
 */
export function publicKeyFacts(spki: Buffer): KeyFacts {
  const cacheKey = spki.toString('latin1');
  const found = known.get(cacheKey);
  if (found !== undefined) return found;
  const { algorithm, key } = parsed(spki);
  if (algorithm === undefined) throw unknownKey(key);
  const { node }: AlgorithmRow = algorithms[algorithm];
  if (node.type === 'rsa') checkModulus(key);
  const facts: KeyFacts = { algorithm, key, kind: node.type };
  known.set(cacheKey, facts);
  return facts;
}

const keyHint = 'Make a new key, such as rsa-3072, p-256 or ed25519, and a new request with it.';

/**
 * What can be seen in the key by itself is checked where it is parsed: that its encoding is the
 * one there is, its point on the curve and of full order, its RSA numbers odd, its RSA exponent
 * from 65537 to 2^64 - 1. FIPS 186-5, section 5.4, allows exponents below 2^256; OpenSSL does not
 * take those above 64 bits with a modulus above 3072, and nobody makes them.
 */
function parsed(spki: Buffer): ReturnType<typeof spkiAlgorithm> {
  try {
    return spkiAlgorithm(spki);
  } catch (error) {
    if (!isKeyreeveError(error, 'public-key-refused')) throw error;
    throw new KeyreeveError('public-key-refused', error.message, {
      hint: keyHint,
      data: { ...error.data, check: 'well-formed' },
      cause: error,
    });
  }
}

function unknownKey(key: KeyObject): KeyreeveError {
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (key.asymmetricKeyType !== 'rsa' || bits === undefined) {
    return refused('algorithm', 'Its algorithm is not known here.');
  }
  return refused('size', `RSA keys have 2048, 3072 or 4096 bits here, this one has ${bits}.`);
}

function checkModulus(key: KeyObject): void {
  const modulus = Buffer.from(key.export({ format: 'jwk' }).n ?? '', 'base64url');
  const weakness = rsaWeakness(bigintFromBytes(modulus));
  if (weakness !== undefined) throw refused(weakness, weaknesses[weakness]);
}

function refused(check: string, reason: string, hint = keyHint): KeyreeveError {
  return new KeyreeveError('public-key-refused', `The public key is refused. ${reason}`, {
    hint,
    data: { check },
  });
}
