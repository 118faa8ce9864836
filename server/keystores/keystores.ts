import { KeyreeveError } from '../base/errors.ts';
import type { CapabilityName, Keystore } from './keystore.ts';

export { declareAssurance } from './assurance.ts';
export { createFileKeystore, keyFiles } from './file.ts';
export {
  KeystoreGroup,
  type MemberRole,
  type MemberSwitch,
  memberRoles,
} from './group/group.ts';
export { healthWithin } from './health.ts';
export type {
  AdoptedKey,
  KeyIdentity,
  KeyLocation,
  Keystore,
  KeystoreCapabilities,
  KeystoreDescription,
  KeystoreHealth,
  KeystoreObject,
  StoredKey,
} from './keystore.ts';
export { readPassphraseFile } from './passphrase-file.ts';
export {
  addressOf,
  type CheckedModule,
  createPkcs11Keystore,
  type Pkcs11Keystore,
  type Pkcs11Metrics,
  pinFileVersion,
  readSettings,
  type TokenAbility,
} from './pkcs11/pkcs11.ts';
export { createRefusedPins } from './refused-pins.ts';
export {
  isReviewOverdue,
  overdueReview,
  type ReviewFacts,
  readReviews,
  requireReviewed,
  reviewDueAt,
  reviewOverdue,
} from './reviews.ts';
export {
  createRootKey,
  formatSealLocation,
  nameSealLocation,
  openRootKey,
  parseSealLocation,
  sealLocation,
} from './root-key.ts';
export { makeRootKeyText, rootKeyFile } from './root-key-bytes.ts';
export type {
  RootKey,
  RootKeyGuard,
  RootKeySurroundings,
  SealLocation,
} from './root-key-kinds.ts';
export { RootKeys } from './root-keys.ts';
export {
  openStoreKeys,
  rewrapSteps,
  StoreKeys,
  sealedFingerprint,
  secretSealer,
  whereRootKeyIs,
} from './store-keys.ts';
export { createWrappedKeystore } from './wrapped.ts';

/** The keystores that are configured, by name. */
export class Keystores {
  readonly #byName: Map<string, Keystore>;

  constructor(keystores: readonly Keystore[]) {
    this.#byName = new Map(keystores.map((keystore) => [keystore.name, keystore]));
  }

  /** The keystore of that name. Error: `invalid-request`, naming those there are. */
  named(name: string): Keystore {
    const keystore = this.#byName.get(name);
    if (keystore !== undefined) return keystore;
    throw new KeyreeveError('invalid-request', `There is no keystore "${name}".`, {
      hint: `Configured are: ${[...this.#byName.keys()].join(', ')}.`,
    });
  }

  /**
   * The keystore that holds a key already. Error: `keystore-unavailable`, where it is not configured
   * any more: the caller is not the one to mend that.
   */
  holding(name: string): Keystore {
    const keystore = this.#byName.get(name);
    if (keystore !== undefined) return keystore;
    throw new KeyreeveError(
      'keystore-unavailable',
      `The key is in the keystore "${name}", which is not configured.`,
      { hint: 'Configure it again; for "file" that is CRYPTO_KEYS_PATH.' },
    );
  }

  /** Takes one into use, in the place of another of its name. */
  add(keystore: Keystore): void {
    this.#byName.set(keystore.name, keystore);
  }

  remove(name: string): void {
    this.#byName.delete(name);
  }

  all(): readonly Keystore[] {
    return [...this.#byName.values()];
  }
}

/** Refuses what the keystore does not declare, with a typed error. */
export function requireCapability(keystore: Keystore, capability: CapabilityName): void {
  if (keystore.capabilities[capability]) return;
  throw new KeyreeveError(
    'capability-missing',
    `The keystore "${keystore.name}" cannot ${capability}.`,
  );
}
