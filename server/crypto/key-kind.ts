import type { KeyObject } from 'node:crypto';
import {
  type AlgorithmName,
  algorithmNames,
  algorithms,
  type NodeKey,
  type SchemeName,
  type SchemeRow,
  schemes,
  supportsScheme,
} from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { type PrivateKey, requireRemoteScheme } from './private-key.ts';
import { isRemoteKey, type RemoteKey } from './remote-key.ts';

export type KeyType = 'public' | 'private' | 'secret';

// What a key object is cannot change, and asking OpenSSL for it on each use would cost more than
// the check. The entries live as long as the keys do.
const usableSchemes = new WeakMap<KeyObject, Set<SchemeName>>();

/** Whether the key has the kind and size of the algorithm. All secret keys of a size look alike. */
export function keyMatches(algorithm: AlgorithmName, key: KeyObject): boolean {
  const node: NodeKey = algorithms[algorithm].node;
  if (node.type === 'secret')
    return key.type === 'secret' && key.symmetricKeySize === node.bits / 8;
  if (key.type === 'secret') return false;
  if (node.type === 'octets') return key.asymmetricKeyType === node.name;
  if (key.asymmetricKeyType !== node.type) return false;
  const details = key.asymmetricKeyDetails;
  return node.type === 'rsa'
    ? details?.modulusLength === node.modulusBits
    : details?.namedCurve === node.curve;
}

/** The algorithm of a public or private key, or undefined where it is none of ours. */
export function algorithmOfKey(key: KeyObject): AlgorithmName | undefined {
  if (key.type === 'secret') return undefined;
  return algorithmNames.find((name) => keyMatches(name, key));
}

/**
 * The row of a scheme that must be for `act`. Errors: `unknown-scheme`, `scheme-not-allowed`.
 */
export function requireScheme<Act extends SchemeRow['act']>(
  scheme: SchemeName,
  act: Act,
): Extract<SchemeRow, { act: Act }> {
  if (!Object.hasOwn(schemes, scheme)) {
    throw new KeyreeveError('unknown-scheme', 'There is no scheme of this name.');
  }
  const row: SchemeRow = schemes[scheme];
  if (row.act !== act) {
    throw new KeyreeveError('scheme-not-allowed', `The scheme ${scheme} cannot ${act}.`);
  }
  return row as Extract<SchemeRow, { act: Act }>;
}

/**
 * Refuses a key that is not of an algorithm of this scheme (`scheme-not-allowed`), or a remote one
 * that lies where the scheme is not to be had (`capability-missing`).
 */
export function requireKey(scheme: SchemeName, key: PrivateKey, type: KeyType): void {
  if (isRemoteKey(key)) {
    requireRemoteKey(scheme, key, type);
    return;
  }
  if (key.type !== type) {
    throw new KeyreeveError('scheme-not-allowed', `The scheme ${scheme} takes a ${type} key here.`);
  }
  let usable = usableSchemes.get(key);
  if (usable?.has(scheme)) return;
  const matches = algorithmNames.some(
    (name) => supportsScheme(name, scheme) && keyMatches(name, key),
  );
  if (!matches) throw notForScheme(scheme);
  if (usable === undefined) {
    usable = new Set();
    usableSchemes.set(key, usable);
  }
  usable.add(scheme);
}

function requireRemoteKey(scheme: SchemeName, key: RemoteKey, type: KeyType): void {
  const own = algorithms[key.algorithm].kind === 'symmetric' ? 'secret' : 'private';
  if (own !== type) {
    throw new KeyreeveError('scheme-not-allowed', `The scheme ${scheme} takes a ${type} key here.`);
  }
  if (!supportsScheme(key.algorithm, scheme)) throw notForScheme(scheme);
  requireRemoteScheme(key, scheme);
}

function notForScheme(scheme: SchemeName): KeyreeveError {
  return new KeyreeveError('scheme-not-allowed', `The key is not for the scheme ${scheme}.`, {
    hint: 'Show the key to see its schemes.',
  });
}
