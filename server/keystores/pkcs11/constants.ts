/** Numbers of PKCS #11 v3.1 and v3.2 (OASIS, header pkcs11t.h) that the product uses. */
export const objectClasses = { public: 2, private: 3, secret: 4 } as const;

export const keyTypes = {
  rsa: 0x00,
  ec: 0x03,
  genericSecret: 0x10,
  aes: 0x1f,
  edwards: 0x40,
  mlDsa: 0x4a,
} as const;

export const attributes = {
  class: 0x000,
  token: 0x001,
  private: 0x002,
  label: 0x003,
  value: 0x011,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  encrypt: 0x104,
  decrypt: 0x105,
  wrap: 0x106,
  unwrap: 0x107,
  sign: 0x108,
  verify: 0x10a,
  derive: 0x10c,
  modulus: 0x120,
  modulusBits: 0x121,
  publicExponent: 0x122,
  publicKeyInfo: 0x129,
  valueLength: 0x161,
  extractable: 0x162,
  local: 0x163,
  neverExtractable: 0x164,
  alwaysSensitive: 0x165,
  ecParameters: 0x180,
  ecPoint: 0x181,
  parameterSet: 0x61d,
} as const;

export const mechanisms = {
  rsaKeyPair: 0x0000,
  rsaPkcs: 0x0001,
  rsaRaw: 0x0003,
  rsaOaep: 0x0009,
  rsaPss: 0x000d,
  mlDsaKeyPair: 0x001c,
  mlDsa: 0x001d,
  sha256RsaPkcs: 0x0040,
  sha384RsaPkcs: 0x0041,
  sha512RsaPkcs: 0x0042,
  sha256RsaPss: 0x0043,
  sha384RsaPss: 0x0044,
  sha512RsaPss: 0x0045,
  sha256: 0x0250,
  sha256Hmac: 0x0251,
  sha384: 0x0260,
  sha384Hmac: 0x0261,
  sha512: 0x0270,
  sha512Hmac: 0x0271,
  genericSecretKey: 0x0350,
  ecKeyPair: 0x1040,
  ecdsa: 0x1041,
  ecdsaSha256: 0x1044,
  ecdsaSha384: 0x1045,
  ecdsaSha512: 0x1046,
  ecdh: 0x1050,
  edwardsKeyPair: 0x1055,
  eddsa: 0x1057,
  sha1: 0x0220,
  aesKey: 0x1080,
  aesKeyWrap: 0x2109,
  aesKeyWrapPad: 0x210a,
  aesKeyWrapKwp: 0x210b,
} as const;

/** How pkcs11js tells its parameter structures apart. */
export const parameterTypes = { rsaOaep: 4, rsaPss: 5, ecdh: 6 } as const;

/** CKG_MGF1_SHA256 and its siblings, CKZ_DATA_SPECIFIED, CKD_NULL. */
export const maskFunctions = { sha1: 0x01, sha256: 0x02, sha384: 0x03, sha512: 0x04 } as const;
export const oaepSource = 0x01;
export const noDerivation = 0x01;
