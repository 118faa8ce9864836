/**
 * Every scheme: the exact way in which a key is used. A row holds all that the code asks of a
 * scheme; nothing switches on a scheme's name. `act` says which functions take it, `form` which
 * construction it is, `hash` is node:crypto's name of its hash function.
 *
 * Bytes: ECDSA signatures are DER (RFC 3279, 2.2.3), RSA ones as long as the modulus, PSS salts as
 * long as the hash and MGF1 over the same hash (RFC 8017). Ed25519 is pure (RFC 8032), ML-DSA and
 * SLH-DSA are pure with an empty context (FIPS 204 and 205). AEAD ciphertexts are nonce,
 * ciphertext, tag of 16 bytes.
 */
export const schemes = {
  'rsa-pss-sha256': { act: 'sign', form: 'rsa-pss', hash: 'sha256', hashBytes: 32 },
  'rsa-pss-sha384': { act: 'sign', form: 'rsa-pss', hash: 'sha384', hashBytes: 48 },
  'rsa-pss-sha512': { act: 'sign', form: 'rsa-pss', hash: 'sha512', hashBytes: 64 },
  'rsa-pkcs1-sha256': { act: 'sign', form: 'rsa-pkcs1', hash: 'sha256', hashBytes: 32 },
  'rsa-pkcs1-sha384': { act: 'sign', form: 'rsa-pkcs1', hash: 'sha384', hashBytes: 48 },
  'rsa-pkcs1-sha512': { act: 'sign', form: 'rsa-pkcs1', hash: 'sha512', hashBytes: 64 },
  'ecdsa-sha256': { act: 'sign', form: 'ecdsa', hash: 'sha256', hashBytes: 32 },
  'ecdsa-sha384': { act: 'sign', form: 'ecdsa', hash: 'sha384', hashBytes: 48 },
  'ecdsa-sha512': { act: 'sign', form: 'ecdsa', hash: 'sha512', hashBytes: 64 },
  ed25519: { act: 'sign', form: 'pure', signatureBytes: 64 },
  'ml-dsa-44': { act: 'sign', form: 'pure', signatureBytes: 2420 },
  'ml-dsa-65': { act: 'sign', form: 'pure', signatureBytes: 3309 },
  'ml-dsa-87': { act: 'sign', form: 'pure', signatureBytes: 4627 },
  // The small ("s") variants sign for a quarter of a second and more: few at a time.
  'slh-dsa-sha2-128s': { act: 'sign', form: 'pure', signatureBytes: 7856, slow: true },
  'slh-dsa-sha2-128f': { act: 'sign', form: 'pure', signatureBytes: 17088 },
  'slh-dsa-sha2-192s': { act: 'sign', form: 'pure', signatureBytes: 16224, slow: true },
  'slh-dsa-sha2-192f': { act: 'sign', form: 'pure', signatureBytes: 35664 },
  'slh-dsa-sha2-256s': { act: 'sign', form: 'pure', signatureBytes: 29792, slow: true },
  'slh-dsa-sha2-256f': { act: 'sign', form: 'pure', signatureBytes: 49856 },
  'slh-dsa-shake-128s': { act: 'sign', form: 'pure', signatureBytes: 7856, slow: true },
  'slh-dsa-shake-128f': { act: 'sign', form: 'pure', signatureBytes: 17088 },
  'slh-dsa-shake-192s': { act: 'sign', form: 'pure', signatureBytes: 16224, slow: true },
  'slh-dsa-shake-192f': { act: 'sign', form: 'pure', signatureBytes: 35664 },
  'slh-dsa-shake-256s': { act: 'sign', form: 'pure', signatureBytes: 29792, slow: true },
  'slh-dsa-shake-256f': { act: 'sign', form: 'pure', signatureBytes: 49856 },
  'rsa-oaep-sha256': { act: 'encrypt', form: 'rsa-oaep', hash: 'sha256', hashBytes: 32 },
  'rsa-oaep-sha384': { act: 'encrypt', form: 'rsa-oaep', hash: 'sha384', hashBytes: 48 },
  'rsa-oaep-sha512': { act: 'encrypt', form: 'rsa-oaep', hash: 'sha512', hashBytes: 64 },
  // C2SP XAES-256-GCM: 24-byte random nonces, no practical limit on the number of messages.
  'xaes-256-gcm': { act: 'encrypt', form: 'xaes-gcm', nonceBytes: 24 },
  // Random 12-byte nonces: NIST SP 800-38D, 8.3 allows 2^32 messages, so uses are counted.
  'aes-256-gcm': { act: 'encrypt', form: 'aes-gcm', nonceBytes: 12, usesMaximum: 4_294_967_296 },
  'hmac-sha256': { act: 'mac', form: 'hmac', hash: 'sha256', hashBytes: 32 },
  'hmac-sha384': { act: 'mac', form: 'hmac', hash: 'sha384', hashBytes: 48 },
  'hmac-sha512': { act: 'mac', form: 'hmac', hash: 'sha512', hashBytes: 64 },
  // RFC 5649.
  'aes-kwp': { act: 'wrap', form: 'aes-kwp' },
  // PKCS#11 CKM_RSA_AES_KEY_WRAP: OAEP-SHA-256 of a fresh AES-256 key, then AES-KWP under it.
  'rsa-aes-kwp': { act: 'wrap', form: 'rsa-aes-kwp', hash: 'sha256', hashBytes: 32 },
  // The shared secret goes through HKDF-SHA-256 (RFC 5869) with the caller's info and length.
  ecdh: { act: 'agree', form: 'ecdh', hash: 'sha256', hashBytes: 32 },
  'ml-kem-512': { act: 'encapsulate', form: 'ml-kem', ciphertextBytes: 768 },
  'ml-kem-768': { act: 'encapsulate', form: 'ml-kem', ciphertextBytes: 1088 },
  'ml-kem-1024': { act: 'encapsulate', form: 'ml-kem', ciphertextBytes: 1568 },
} as const satisfies Record<string, SchemeRow>;

export type SchemeName = keyof typeof schemes;

export type HashName = 'sha256' | 'sha384' | 'sha512';
interface WithHash {
  readonly hash: HashName;
  readonly hashBytes: number;
}
export type SignatureScheme =
  | ({ readonly act: 'sign'; readonly form: 'rsa-pss' | 'rsa-pkcs1' | 'ecdsa' } & WithHash)
  | {
      readonly act: 'sign';
      readonly form: 'pure';
      readonly signatureBytes: number;
      readonly slow?: boolean;
    };
export type EncryptionScheme =
  | ({ readonly act: 'encrypt'; readonly form: 'rsa-oaep' } & WithHash)
  | { readonly act: 'encrypt'; readonly form: 'xaes-gcm'; readonly nonceBytes: 24 }
  | {
      readonly act: 'encrypt';
      readonly form: 'aes-gcm';
      readonly nonceBytes: 12;
      /** Messages that one key may encrypt; a durable counter holds them to it. */
      readonly usesMaximum: number;
    };
export type MacScheme = { readonly act: 'mac'; readonly form: 'hmac' } & WithHash;
export type WrapScheme =
  | { readonly act: 'wrap'; readonly form: 'aes-kwp' }
  | ({ readonly act: 'wrap'; readonly form: 'rsa-aes-kwp' } & WithHash);
export type AgreementScheme = { readonly act: 'agree'; readonly form: 'ecdh' } & WithHash;
export type EncapsulationScheme = {
  readonly act: 'encapsulate';
  readonly form: 'ml-kem';
  readonly ciphertextBytes: number;
};
export type SchemeRow =
  | SignatureScheme
  | EncryptionScheme
  | MacScheme
  | WrapScheme
  | AgreementScheme
  | EncapsulationScheme;

/** Whether the text is the name of a scheme. */
export function isScheme(name: string): name is SchemeName {
  return Object.hasOwn(schemes, name);
}
