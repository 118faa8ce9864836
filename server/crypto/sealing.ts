import { type KeyObject, randomBytes } from 'node:crypto';
import { open, sealWithNonce } from './encryption.ts';
import { requireScheme } from './key-kind.ts';

const row = requireScheme('xaes-256-gcm', 'encrypt') as Parameters<typeof sealWithNonce>[0];

/**
 * Seals what the service itself stores, by XAES-256-GCM with a fresh random nonce (C2SP). `aad`
 * binds it to its place. Synchronous: for small things, such as private keys.
 */
export function sealBytes(key: KeyObject, plaintext: Uint8Array, aad: Uint8Array): Buffer {
  return sealWithNonce(row, key, randomBytes(row.nonceBytes), plaintext, aad);
}

/** Opens what `sealBytes` made with the same `aad`. Error: `invalid-ciphertext`. */
export function openSealed(key: KeyObject, sealed: Uint8Array, aad: Uint8Array): Buffer {
  return open(row, key, sealed, aad);
}
