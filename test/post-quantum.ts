import type { KeyObject } from 'node:crypto';
import { createPublicKey } from 'node:crypto';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';
import { ml_kem512, ml_kem768, ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import * as slh from '@noble/post-quantum/slh-dsa.js';

export interface NobleSigner {
  sign(message: Uint8Array, secretKey: Uint8Array, options?: { context?: Uint8Array }): Uint8Array;
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** The second implementation of the lattice signatures (FIPS 204), by algorithm. */
export const nobleLattices = {
  'ml-dsa-44': ml_dsa44,
  'ml-dsa-65': ml_dsa65,
  'ml-dsa-87': ml_dsa87,
} as const;

/** Of the hash-based ones (FIPS 205): all but the smallest fast variants sign for seconds. */
export const nobleHashBased = {
  'slh-dsa-sha2-128s': slh.slh_dsa_sha2_128s,
  'slh-dsa-sha2-128f': slh.slh_dsa_sha2_128f,
  'slh-dsa-sha2-192s': slh.slh_dsa_sha2_192s,
  'slh-dsa-sha2-192f': slh.slh_dsa_sha2_192f,
  'slh-dsa-sha2-256s': slh.slh_dsa_sha2_256s,
  'slh-dsa-sha2-256f': slh.slh_dsa_sha2_256f,
  'slh-dsa-shake-128s': slh.slh_dsa_shake_128s,
  'slh-dsa-shake-128f': slh.slh_dsa_shake_128f,
  'slh-dsa-shake-192s': slh.slh_dsa_shake_192s,
  'slh-dsa-shake-192f': slh.slh_dsa_shake_192f,
  'slh-dsa-shake-256s': slh.slh_dsa_shake_256s,
  'slh-dsa-shake-256f': slh.slh_dsa_shake_256f,
} as const;

/** Of the key encapsulation (FIPS 203). */
export const nobleKems = {
  'ml-kem-512': ml_kem512,
  'ml-kem-768': ml_kem768,
  'ml-kem-1024': ml_kem1024,
} as const;

/** The octets of a public key as the standard has them, without the SPKI around. */
export function rawPublic(key: KeyObject): Buffer {
  return createPublicKey(key.export({ format: 'pem', type: 'spki' })).export({
    format: 'raw-public',
  });
}
