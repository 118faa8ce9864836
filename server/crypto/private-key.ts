import type { KeyObject } from 'node:crypto';
import type { SchemeName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isRemoteKey, type RemoteKey } from './remote-key.ts';

/**
 * A private or secret key, wherever it lies: in this process, or in a keystore that it never leaves.
 * Nothing but this folder asks which of the two it is.
 */
export type PrivateKey = KeyObject | RemoteKey;

/** The uses of a remote key that not every token has. */
type OptionalUse = 'decrypt' | 'agree' | 'unwrap' | 'mac';

/**
 * The key itself, for what can be done in this process alone. Error: `capability-missing`, where it
 * never leaves its keystore; `act` completes "cannot ...".
 */
export function requireLocalKey(key: PrivateKey, act: string): KeyObject {
  if (isRemoteKey(key)) throw cannot(key, act);
  return key;
}

/** One use of a remote key, bound to it. Error: `capability-missing`. */
export function requireUse<Use extends OptionalUse>(
  key: RemoteKey,
  use: Use,
): NonNullable<RemoteKey[Use]> {
  const found = key[use];
  if (found === undefined) throw cannot(key, use);
  return found.bind(key) as NonNullable<RemoteKey[Use]>;
}

/** The error for what a keystore cannot do with a key: it names the keystore and what it can. */
export function cannot(key: RemoteKey, act: string): KeyreeveError {
  const can = [...key.schemes].join(', ');
  return new KeyreeveError(
    'capability-missing',
    `The keystore "${key.keystore}" cannot ${act} with this key (${key.algorithm}).`,
    { hint: can === '' ? 'It has no scheme for the key.' : `It has these schemes: ${can}.` },
  );
}

/** Refuses a scheme that the token does not have for the key. Error: `capability-missing`. */
export function requireRemoteScheme(key: RemoteKey, scheme: SchemeName): void {
  if (!key.schemes.has(scheme)) throw cannot(key, `use the scheme ${scheme}`);
}
