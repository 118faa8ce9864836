import type { KeyObject } from 'node:crypto';
import type { AlgorithmName, SchemeName } from '../../api/algorithms.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';

/**
 * A private or secret key that is used where it lies: it never comes into this process. Which of
 * the optional functions there are follows from the algorithm and from what the token can do.
 * Errors of all: `keystore-unavailable` (try again), `capability-missing`, `scheme-not-allowed`.
 */
export interface RemoteKey {
  /** The name of its keystore: messages say where something failed. */
  readonly keystore: string;
  readonly algorithm: AlgorithmName;
  /**
   * The public half; undefined for secret keys alone. `sign` of this folder verifies with it before
   * a signature leaves, so an implementation need not.
   */
  readonly publicKey: KeyObject | undefined;
  /** What the token can do with it, by scheme. */
  readonly schemes: ReadonlySet<SchemeName>;
  /** Signs `data` itself; bytes as the table of schemes says, ECDSA in DER. */
  sign(scheme: SchemeName, data: Uint8Array): Promise<Buffer>;
  /** Signs a list; the signatures come in its order. */
  signMany?(scheme: SchemeName, datas: readonly Uint8Array[]): Promise<Buffer[]>;
  /** RSA-OAEP. One error, `invalid-ciphertext`, for all causes. */
  decrypt?(scheme: SchemeName, ciphertext: Uint8Array): Promise<Buffer>;
  /**
   * The raw ECDH secret: the x coordinate, as long as the field. The peer's key must have been
   * checked to be of the same curve. Error: `invalid-key-material`.
   */
  agree?(peerSpki: Uint8Array): Promise<SecretBytes>;
  /** Opens what `wrapKey` made. One error, `invalid-ciphertext`, for all causes. */
  unwrap?(scheme: SchemeName, wrapped: Uint8Array): Promise<SecretBytes>;
  /** HMAC of the data. */
  mac?(scheme: SchemeName, data: Uint8Array): Promise<Buffer>;
}

/** Whether a private key is one that is used where it lies. */
export function isRemoteKey(key: object): key is RemoteKey {
  return 'schemes' in key && 'sign' in key;
}
