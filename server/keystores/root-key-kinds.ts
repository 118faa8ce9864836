import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { KeystoreHealth } from './keystore.ts';
import type { CheckedModule } from './pkcs11/pkcs11.ts';

/** Where the root key lives, as `KEYREEVE_SEAL` says. */
export type SealLocation =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'environment'; readonly name: string }
  | { readonly kind: 'credential'; readonly name: string }
  | TokenPlace;

/** A key in a token: the keystore that reaches the token, and the label of the key there. */
export interface TokenPlace {
  readonly kind: 'token';
  readonly keystoreUri: string;
  /** CKA_LABEL. */
  readonly object: string;
}

/** How well the place guards the root key: as a file does, as who gives it does, or as a token. */
export type RootKeyGuard = 'file' | 'given-at-start' | 'software-token' | 'token';

/**
 * The one key above all others. It wraps the store keys, and seals the checksums of a backup so that
 * a forged one is refused; it is in no backup itself. Whoever can use it and has the database has
 * every wrapped key. Two kinds: 32 bytes that are read at the start, and an RSA key that never
 * leaves its token.
 */
export interface RootKey {
  readonly location: SealLocation;
  readonly guard: RootKeyGuard;
  /** Says which key it is and nothing about it: 32 hexadecimal characters. */
  readonly fingerprint: string;
  /**
   * Wraps bytes; `label` says what they are and must be the same to unwrap. Error:
   * `keystore-unavailable` where the token is away.
   */
  wrap(label: string, bytes: Uint8Array): Promise<Uint8Array>;
  /**
   * Opens what `wrap` of this very key made; nobody else can make it. The caller wipes the bytes.
   * Errors: `invalid-ciphertext`, `keystore-unavailable`.
   */
  unwrap(label: string, wrapped: Uint8Array): Promise<Buffer>;
  /** Whether it can be used now. */
  health(): Promise<KeystoreHealth>;
  /** Lets the token go. What is unwrapped stays so. */
  close(): Promise<void>;
}

/** What the opening of a root key may need. */
export interface RootKeySurroundings {
  readonly environment?: Readonly<NodeJS.ProcessEnv> | undefined;
  readonly log?: Logger | undefined;
  readonly clock?: Clock | undefined;
  readonly refusedPins?: RefusedPins | undefined;
  /** Asked before each start of the module of a token that a caller names. */
  readonly allowKeystore?: ((uri: string) => Promise<CheckedModule | undefined>) | undefined;
}

/**
 * Remembers the state of a PIN file that a token refused, also when this process is gone: a service
 * that is started again and again would lock the token.
 */
export interface RefusedPins {
  /** `token`: the address of the keystore; what one token refused says nothing of another. */
  recall(token: string): Promise<string | undefined>;
  note(token: string, refused: string): Promise<void>;
}
