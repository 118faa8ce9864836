/**
 * What the product asks of cryptography: keys, signatures, encryption, MACs, wrapping, agreement.
 * All of it is node:crypto with the parameters that the tables of `api/algorithms.ts` fix and with
 * the checks that OpenSSL leaves to its callers. The rest of the folder is private.
 */
export {
  type AgreementParameters,
  agree,
  decapsulate,
  type Encapsulated,
  encapsulate,
} from './agreement.ts';
export { decrypt, encrypt } from './encryption.ts';
export { invalidCiphertext } from './invalid-ciphertext.ts';
export { algorithmOfPrivate, importPrivate } from './key-import.ts';
export { algorithmOfKey } from './key-kind.ts';
export {
  fingerprintOf,
  generateKeyMaterial,
  type KeyMaterial,
  type LocalKeyMaterial,
  parsePrivate,
  parsePublic,
  serializePrivate,
} from './key-material.ts';
export { mapBatch } from './limiter.ts';
export { mac, verifyMac } from './macs.ts';
export { type PrivateKey, requireLocalKey } from './private-key.ts';
export { checkPublic, spkiLengthMaximumBytes } from './public-key.ts';
export { random, randomNonce } from './random.ts';
export { isRemoteKey, type RemoteKey } from './remote-key.ts';
export { openSealed, sealBytes } from './sealing.ts';
export { sign, signMany, verify } from './signatures.ts';
export { unwrapKey, wrapKey } from './wrapping.ts';
