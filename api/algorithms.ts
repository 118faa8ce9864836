import type { Purpose } from './purposes.ts';
import { type SchemeName, schemes } from './schemes.ts';

export * from './schemes.ts';

/** What a purpose offers: the schemes a key may have, and those it gets unasked (first = default). */
export interface PurposeSchemes {
  readonly allowed: readonly SchemeName[];
  readonly default: readonly SchemeName[];
}

/** How node:crypto names, makes and recognises the key. */
export type NodeKey =
  | { readonly type: 'rsa'; readonly modulusBits: number }
  | { readonly type: 'ec'; readonly curve: string }
  | { readonly type: 'secret'; readonly generator: 'aes' | 'hmac'; readonly bits: number }
  | {
      readonly type: 'octets';
      readonly name: string;
      /** Where the public key is a point of Curve25519: the form its encoding is checked in. */
      readonly point?: 'edwards' | 'montgomery';
    };

export interface AlgorithmRow {
  readonly kind: 'asymmetric' | 'symmetric';
  readonly title: string;
  /** Strength against today's computers, NIST SP 800-57 part 1, table 2. */
  readonly securityBits: number;
  /** Whether it withstands the quantum computers that are foreseen. */
  readonly quantumSafe: boolean;
  readonly node: NodeKey;
  readonly purposes: { readonly [P in Purpose]?: PurposeSchemes };
}

const pss = ['rsa-pss-sha256', 'rsa-pss-sha384', 'rsa-pss-sha512'] as const;
const pkcs1 = ['rsa-pkcs1-sha256', 'rsa-pkcs1-sha384', 'rsa-pkcs1-sha512'] as const;
const oaep = ['rsa-oaep-sha256', 'rsa-oaep-sha384', 'rsa-oaep-sha512'] as const;

// PKCS#1 v1.5 only where the key was made for it; OAEP with the hash that everyone else has.
const rsaSign = { allowed: [...pss, ...pkcs1], default: pss } as const;
// PSS in certificates is still refused by many who check them.
const rsaCertify = { allowed: [...pkcs1, ...pss], default: ['rsa-pkcs1-sha256'] } as const;
const rsaPurposes = {
  sign: rsaSign,
  encrypt: { allowed: oaep, default: ['rsa-oaep-sha256'] },
  wrap: only('rsa-aes-kwp'),
  ca: rsaCertify,
} as const;

const p256Sign = only('ecdsa-sha256');
const p384Sign = { allowed: ['ecdsa-sha384', 'ecdsa-sha256'], default: ['ecdsa-sha384'] } as const;
const p521Sign = { allowed: ['ecdsa-sha512', 'ecdsa-sha256'], default: ['ecdsa-sha512'] } as const;
const ecdh = only('ecdh');

/** A purpose with a single scheme. */
function only<const Name extends SchemeName>(name: Name) {
  return { allowed: [name], default: [name] } as const;
}

/** The purposes of a key that signs in one way, for callers or as a certificate authority. */
function signs<const Name extends SchemeName>(name: Name) {
  return { sign: only(name), ca: only(name) } as const;
}

/**
 * Every algorithm and all that is known of it. Nothing else in the product switches on an
 * algorithm's name: add a row here and every door offers it.
 */
export const algorithms = {
  'rsa-2048': {
    kind: 'asymmetric',
    title: 'RSA 2048',
    securityBits: 112,
    quantumSafe: false,
    node: { type: 'rsa', modulusBits: 2048 },
    purposes: rsaPurposes,
  },
  'rsa-3072': {
    kind: 'asymmetric',
    title: 'RSA 3072',
    securityBits: 128,
    quantumSafe: false,
    node: { type: 'rsa', modulusBits: 3072 },
    purposes: rsaPurposes,
  },
  'rsa-4096': {
    kind: 'asymmetric',
    title: 'RSA 4096',
    securityBits: 152,
    quantumSafe: false,
    node: { type: 'rsa', modulusBits: 4096 },
    purposes: rsaPurposes,
  },
  'p-256': {
    kind: 'asymmetric',
    title: 'NIST P-256',
    securityBits: 128,
    quantumSafe: false,
    node: { type: 'ec', curve: 'prime256v1' },
    purposes: { sign: p256Sign, agree: ecdh, ca: p256Sign },
  },
  'p-384': {
    kind: 'asymmetric',
    title: 'NIST P-384',
    securityBits: 192,
    quantumSafe: false,
    node: { type: 'ec', curve: 'secp384r1' },
    purposes: { sign: p384Sign, agree: ecdh, ca: p384Sign },
  },
  'p-521': {
    kind: 'asymmetric',
    title: 'NIST P-521',
    securityBits: 256,
    quantumSafe: false,
    node: { type: 'ec', curve: 'secp521r1' },
    purposes: { sign: p521Sign, agree: ecdh, ca: p521Sign },
  },
  secp256k1: {
    kind: 'asymmetric',
    title: 'secp256k1',
    securityBits: 128,
    quantumSafe: false,
    node: { type: 'ec', curve: 'secp256k1' },
    purposes: { sign: only('ecdsa-sha256') },
  },
  ed25519: {
    kind: 'asymmetric',
    title: 'Ed25519',
    securityBits: 128,
    quantumSafe: false,
    node: { type: 'octets', name: 'ed25519', point: 'edwards' },
    purposes: signs('ed25519'),
  },
  x25519: {
    kind: 'asymmetric',
    title: 'X25519',
    securityBits: 128,
    quantumSafe: false,
    node: { type: 'octets', name: 'x25519', point: 'montgomery' },
    purposes: { agree: ecdh },
  },
  'aes-256': {
    kind: 'symmetric',
    title: 'AES-256',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'secret', generator: 'aes', bits: 256 },
    purposes: {
      encrypt: { allowed: ['xaes-256-gcm', 'aes-256-gcm'], default: ['xaes-256-gcm'] },
      wrap: only('aes-kwp'),
    },
  },
  'hmac-sha256': {
    kind: 'symmetric',
    title: 'HMAC with SHA-256',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'secret', generator: 'hmac', bits: 256 },
    purposes: { mac: only('hmac-sha256') },
  },
  'hmac-sha384': {
    kind: 'symmetric',
    title: 'HMAC with SHA-384',
    securityBits: 384,
    quantumSafe: true,
    node: { type: 'secret', generator: 'hmac', bits: 384 },
    purposes: { mac: only('hmac-sha384') },
  },
  'hmac-sha512': {
    kind: 'symmetric',
    title: 'HMAC with SHA-512',
    securityBits: 512,
    quantumSafe: true,
    node: { type: 'secret', generator: 'hmac', bits: 512 },
    purposes: { mac: only('hmac-sha512') },
  },
  'ml-dsa-44': {
    kind: 'asymmetric',
    title: 'ML-DSA-44 (FIPS 204)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-dsa-44' },
    purposes: signs('ml-dsa-44'),
  },
  'ml-dsa-65': {
    kind: 'asymmetric',
    title: 'ML-DSA-65 (FIPS 204)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-dsa-65' },
    purposes: signs('ml-dsa-65'),
  },
  'ml-dsa-87': {
    kind: 'asymmetric',
    title: 'ML-DSA-87 (FIPS 204)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-dsa-87' },
    purposes: signs('ml-dsa-87'),
  },
  'slh-dsa-sha2-128s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-128s (FIPS 205)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-128s' },
    purposes: signs('slh-dsa-sha2-128s'),
  },
  'slh-dsa-sha2-128f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-128f (FIPS 205)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-128f' },
    purposes: signs('slh-dsa-sha2-128f'),
  },
  'slh-dsa-sha2-192s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-192s (FIPS 205)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-192s' },
    purposes: signs('slh-dsa-sha2-192s'),
  },
  'slh-dsa-sha2-192f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-192f (FIPS 205)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-192f' },
    purposes: signs('slh-dsa-sha2-192f'),
  },
  'slh-dsa-sha2-256s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-256s (FIPS 205)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-256s' },
    purposes: signs('slh-dsa-sha2-256s'),
  },
  'slh-dsa-sha2-256f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHA2-256f (FIPS 205)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-sha2-256f' },
    purposes: signs('slh-dsa-sha2-256f'),
  },
  'slh-dsa-shake-128s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-128s (FIPS 205)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-128s' },
    purposes: signs('slh-dsa-shake-128s'),
  },
  'slh-dsa-shake-128f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-128f (FIPS 205)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-128f' },
    purposes: signs('slh-dsa-shake-128f'),
  },
  'slh-dsa-shake-192s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-192s (FIPS 205)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-192s' },
    purposes: signs('slh-dsa-shake-192s'),
  },
  'slh-dsa-shake-192f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-192f (FIPS 205)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-192f' },
    purposes: signs('slh-dsa-shake-192f'),
  },
  'slh-dsa-shake-256s': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-256s (FIPS 205)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-256s' },
    purposes: signs('slh-dsa-shake-256s'),
  },
  'slh-dsa-shake-256f': {
    kind: 'asymmetric',
    title: 'SLH-DSA-SHAKE-256f (FIPS 205)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'slh-dsa-shake-256f' },
    purposes: signs('slh-dsa-shake-256f'),
  },
  'ml-kem-512': {
    kind: 'asymmetric',
    title: 'ML-KEM-512 (FIPS 203)',
    securityBits: 128,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-kem-512' },
    purposes: { encapsulate: only('ml-kem-512') },
  },
  'ml-kem-768': {
    kind: 'asymmetric',
    title: 'ML-KEM-768 (FIPS 203)',
    securityBits: 192,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-kem-768' },
    purposes: { encapsulate: only('ml-kem-768') },
  },
  'ml-kem-1024': {
    kind: 'asymmetric',
    title: 'ML-KEM-1024 (FIPS 203)',
    securityBits: 256,
    quantumSafe: true,
    node: { type: 'octets', name: 'ml-kem-1024' },
    purposes: { encapsulate: only('ml-kem-1024') },
  },
} as const satisfies Record<string, AlgorithmRow>;

export type AlgorithmName = keyof typeof algorithms;

export const algorithmNames = Object.keys(algorithms) as readonly AlgorithmName[];

/** Whether the text is the name of an algorithm. */
export function isAlgorithm(name: string): name is AlgorithmName {
  return Object.hasOwn(algorithms, name);
}

/** The row of an algorithm, or undefined where the name is not known. */
export function algorithmOf(name: string): AlgorithmRow | undefined {
  return isAlgorithm(name) ? algorithms[name] : undefined;
}

/** The schemes that a key of this algorithm and purpose may have; empty where it serves none. */
export function schemesFor(algorithm: AlgorithmName, purpose: Purpose): readonly SchemeName[] {
  return purposeOf(algorithm, purpose)?.allowed ?? [];
}

/** The schemes it gets where none were asked for, the default first; empty where it serves none. */
export function defaultSchemes(algorithm: AlgorithmName, purpose: Purpose): readonly SchemeName[] {
  return purposeOf(algorithm, purpose)?.default ?? [];
}

/** Whether keys of this algorithm can be used with the scheme for any purpose at all. */
export function supportsScheme(algorithm: AlgorithmName, scheme: SchemeName): boolean {
  return schemesOf.get(algorithm)?.has(scheme) === true;
}

// Asked for each key that is seen for the first time, of every algorithm.
const schemesOf: ReadonlyMap<AlgorithmName, ReadonlySet<SchemeName>> = new Map(
  algorithmNames.map((name) => {
    const { purposes }: AlgorithmRow = algorithms[name];
    return [name, new Set(Object.values(purposes).flatMap(({ allowed }) => allowed))];
  }),
);

/** The schemes that must be counted, since their keys are spent after so many uses. */
export function usesMaximum(scheme: SchemeName): number | undefined {
  const row = schemes[scheme];
  return 'usesMaximum' in row ? row.usesMaximum : undefined;
}

function purposeOf(algorithm: AlgorithmName, purpose: Purpose): PurposeSchemes | undefined {
  const row: AlgorithmRow = algorithms[algorithm];
  return Object.hasOwn(row.purposes, purpose) ? row.purposes[purpose] : undefined;
}
