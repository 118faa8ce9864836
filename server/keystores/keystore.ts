import type { AlgorithmName } from '../../api/algorithms.ts';
import type { KeyMaterial } from '../crypto/crypto.ts';

/**
 * Where a private key lives, as its keystore needs it. `uri` is parsed once by the keystore.
 * `privateBlob` and `storeKeyId` are there where the keystore keeps keys in the database.
 */
export interface KeyLocation {
  readonly keyId: string;
  readonly version: number;
  readonly algorithm: AlgorithmName;
  readonly uri: string;
  readonly privateBlob: Uint8Array | null;
  readonly storeKeyId: string | null;
}

/** What a keystore gives back for a key it made or took in: goes into `key_version`. */
export interface StoredKey {
  readonly uri: string;
  readonly privateBlob: Uint8Array | null;
  readonly storeKeyId: string | null;
  /** SPKI in DER; null for secret keys. */
  readonly publicKey: Uint8Array | null;
  readonly fingerprint: string;
}

/** What a kind of keystore can do beyond generate, use and destroy. Asked before a call. */
export interface KeystoreCapabilities {
  readonly import: boolean;
  readonly export: boolean;
  readonly list: boolean;
  readonly attest: boolean;
  /** True where generate leaves something outside the database: an intent goes first. */
  readonly external: boolean;
}

export interface KeystoreHealth {
  readonly ready: boolean;
  readonly reason: string | undefined;
}

/** The identity that a new key gets: chosen before the act, so that an orphan can be found. */
export interface KeyIdentity {
  readonly keyId: string;
  readonly version: number;
  readonly name: string;
}

/** A key that was there before. */
export interface AdoptedKey {
  readonly algorithm: AlgorithmName;
  readonly stored: StoredKey;
}

/**
 * A place for private keys. The kinds known so far hand out key material to this process
 * (`open`); a kind whose keys never leave (an HSM) answers `operations` instead and is called for
 * each use. Errors: `keystore-unavailable` (try again later), `lax-mode`, `wrong-passphrase`,
 * `integrity-failed`, `capability-missing`.
 */
export interface Keystore {
  /** The name in configuration and in `--keystore`: `wrapped`, `file`. */
  readonly name: string;
  readonly kind: 'wrapped' | 'file';
  readonly capabilities: KeystoreCapabilities;
  generate(identity: KeyIdentity, algorithm: AlgorithmName): Promise<StoredKey>;
  import(identity: KeyIdentity, material: KeyMaterial): Promise<StoredKey>;
  /** The key, ready for use in this process. Callers cache it in a bounded cache. */
  open(location: KeyLocation): Promise<KeyMaterial>;
  /** Removes what lies outside the database; asked twice it does nothing the second time. */
  destroy(location: KeyLocation): Promise<void>;
  /**
   * Takes a key in that lies in the keystore already, in place, by the name it has there. Only
   * where the kind has such names.
   */
  adopt?(name: string): Promise<AdoptedKey>;
  /** Removes what a making of `identity` left that was never finished. */
  discard(identity: KeyIdentity): Promise<void>;
  /** Whether `identity` left anything outside the database (to settle an orphaned intent). */
  exists(identity: KeyIdentity): Promise<boolean>;
  health(): Promise<KeystoreHealth>;
}

/** The name of a capability, as `requireCapability` asks for it. */
export type CapabilityName = keyof KeystoreCapabilities;
