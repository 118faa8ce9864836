import type { AlgorithmName } from '../../api/algorithms.ts';
import type { AssuranceLevel } from '../../api/assurance.ts';
import type { KeystoreKind } from '../../api/storage-classes.ts';
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
  /**
   * Tells two makings of one version apart: nodes may make it at the same time, and each takes back
   * its own alone. Part of what the keystore calls the key.
   */
  readonly attempt?: string | undefined;
  /** What the keystore shows people, where it is not name and version. */
  readonly label?: string | undefined;
}

/** A key that lies in a keystore already, by what it is called there: one of the two, or both. */
export interface KeystoreObject {
  /** CKA_LABEL of a token, the name of a key file. */
  readonly label?: string | undefined;
  /** CKA_ID of a token, in lower-case hex. */
  readonly id?: string | undefined;
}

/** A key that was there before. */
export interface AdoptedKey {
  readonly algorithm: AlgorithmName;
  readonly stored: StoredKey;
  /** Whether the keystore would give the private half away. */
  readonly extractable: boolean;
}

/** What a keystore says of itself. */
export interface KeystoreDescription {
  /** How far it has been examined; `none` where it is software, or does not tell. */
  readonly assurance: AssuranceLevel;
  /**
   * Who says so: the kind of keystore by its nature, the token itself, or, where neither does
   * (`nobody`), what the operator declares counts.
   */
  readonly assuranceFrom: 'kind' | 'token' | 'operator' | 'nobody';
  /** What stands there, for people; undefined where there is no device. */
  readonly device?: {
    readonly label: string;
    readonly manufacturer: string;
    readonly model: string;
    readonly serial: string;
    readonly firmware: string;
  };
}

/**
 * A place for private keys. What `open` gives is used in the same way whether the key comes into
 * this process (`wrapped`, `file`) or never leaves its keystore (`pkcs11`). Errors: `keystore-unavailable` (try again later), `lax-mode`, `wrong-passphrase`,
 * `integrity-failed`, `capability-missing`.
 */
export interface Keystore {
  /** The name in configuration and in `--keystore`: `wrapped`, `file`. */
  readonly name: string;
  readonly kind: KeystoreKind;
  readonly capabilities: KeystoreCapabilities;
  generate(identity: KeyIdentity, algorithm: AlgorithmName): Promise<StoredKey>;
  import(identity: KeyIdentity, material: KeyMaterial): Promise<StoredKey>;
  /** The key, ready for use. Callers cache it in a bounded cache. */
  open(location: KeyLocation): Promise<KeyMaterial>;
  /** Removes what lies outside the database; asked twice it does nothing the second time. */
  destroy(location: KeyLocation): Promise<void>;
  /**
   * Looks at a key that lies in the keystore already, so that it can be used in place; nothing is
   * changed there. Only where the kind has names for its keys. Errors: `not-found`,
   * `keystore-unavailable`, `unknown-algorithm`, `invalid-request`.
   */
  adopt?(object: KeystoreObject): Promise<AdoptedKey>;
  /** Asks the keystore what it is. Errors: `keystore-unavailable`. */
  describe(): Promise<KeystoreDescription>;
  /** Removes what a making of `identity` left that was never finished. */
  discard(identity: KeyIdentity): Promise<void>;
  /** Whether `identity` left anything outside the database (to settle an orphaned intent). */
  exists(identity: KeyIdentity): Promise<boolean>;
  /** Whether the address of a stored key is where this making of it put it. Asks nobody. */
  isAt(identity: KeyIdentity, uri: string): boolean;
  health(): Promise<KeystoreHealth>;
}

/** The name of a capability, as `requireCapability` asks for it. */
export type CapabilityName = keyof KeystoreCapabilities;
