import type { AlgorithmName } from '../../api/algorithms.ts';
import { isHardware } from '../../api/storage-classes.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { isRemoteKey, type KeyMaterial } from '../crypto/crypto.ts';
import {
  type AdoptedKey,
  type KeyIdentity,
  type KeyLocation,
  type Keystore,
  requireCapability,
  type StoredKey,
} from '../keystores/keystores.ts';
import type { KeyRecord } from './key-record.ts';
import { requireAssurance, requireStorage } from './storage-rules.ts';

/** Where a private half comes from: it is made, it came in, or it lies in the keystore already. */
export type KeySource = AlgorithmName | KeyMaterial | AdoptedKey;

/** The version that is made, and which making of it this is. */
export interface Making {
  readonly version: number;
  readonly attempt?: string | undefined;
}

/** Whether the private half lies in the keystore already, and is not ours to remove. */
export function isAdopted(from: KeySource): from is AdoptedKey {
  return typeof from !== 'string' && 'stored' in from;
}

/**
 * Makes, takes in or takes over the private half in its keystore. Whatever makes a version comes
 * through here: what the key demands of its place is asked each time. Errors: `storage-not-allowed`,
 * `capability-missing`, `keystore-unavailable`.
 */
export async function store(
  keystore: Keystore,
  key: Pick<KeyRecord, 'id' | 'name' | 'purpose' | 'policy' | 'schemes'>,
  { version, attempt }: Making,
  from: KeySource,
): Promise<StoredKey> {
  requireStorage('default', key, keystore);
  await requireAssurance(key.policy, keystore);
  const identity = { keyId: key.id, version, name: key.name, attempt };
  if (isAdopted(from)) {
    requireGuarded(keystore, key, from);
    const { algorithm, stored } = from;
    await requireSchemesThere(keystore, key, { ...identity, ...stored, algorithm });
    return stored;
  }
  if (typeof from !== 'string') requireCapability(keystore, 'import');
  try {
    const stored =
      typeof from === 'string'
        ? await keystore.generate(identity, from)
        : await keystore.import(identity, from);
    const algorithm = typeof from === 'string' ? from : from.algorithm;
    await requireSchemesThere(keystore, key, { ...identity, ...stored, algorithm });
    return stored;
  } catch (error) {
    throw await withoutRest(keystore, identity, error);
  }
}

/** A device that would give the key away does not keep what the lock of the key promises. */
function requireGuarded(
  keystore: Keystore,
  key: Pick<KeyRecord, 'name' | 'policy'>,
  { extractable }: AdoptedKey,
): void {
  if (!extractable || !isHardware(keystore.kind) || key.policy.exportLocked !== true) return;
  throw new KeyreeveError(
    'storage-not-allowed',
    `The keystore "${keystore.name}" would give the private half away: in it, the key is extractable or not sensitive.`,
    {
      hint: 'Set CKA_SENSITIVE and take CKA_EXTRACTABLE away in the token, or leave the lock open: --export-lock off',
    },
  );
}

/**
 * Refuses a key that its keystore cannot use in all the ways that it is for: better now than at the
 * first use. Error: `capability-missing`.
 */
async function requireSchemesThere(
  keystore: Keystore,
  key: Pick<KeyRecord, 'schemes'>,
  location: KeyLocation,
): Promise<void> {
  if (!isHardware(keystore.kind)) return;
  const { privateKey } = await keystore.open(location);
  if (!isRemoteKey(privateKey)) return;
  const can = [...privateKey.schemes];
  const missing = key.schemes.filter((scheme) => !privateKey.schemes.has(scheme));
  if (missing.length === 0) return;
  throw new KeyreeveError(
    'capability-missing',
    `The keystore "${keystore.name}" has no ${missing.join(', ')} for a key of ${location.algorithm}.`,
    {
      hint:
        can.length === 0
          ? 'Choose another algorithm, or another keystore.'
          : `It has: ${can.join(', ')}. Name those that the key is for: --scheme ${can[0]}`,
    },
  );
}

/**
 * What failed halfway may have left a key in a token that no row will name: it is removed, and where
 * that fails too, the error says that the intent has to stay. A key that was there before is not
 * ours to remove: another process may be about to write its row.
 */
async function withoutRest(
  keystore: Keystore,
  identity: KeyIdentity,
  error: unknown,
): Promise<unknown> {
  if (!keystore.capabilities.external || isKeyreeveError(error, 'already-exists')) return error;
  try {
    await keystore.discard(identity);
    return error;
  } catch {
    return isKeyreeveError(error) ? error.leavingBehind() : error;
  }
}
