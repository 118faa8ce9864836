import { type AlgorithmName, type SchemeName, schemes } from '../../api/algorithms.ts';
import {
  type DerReader,
  derTags,
  encodeDer,
  encodeDerUnsigned,
  encodeObjectIdentifier,
} from '../der/der.ts';

const { sequence, contextConstructed } = derTags;
const nullValue = Buffer.from('0500', 'hex');

const hashes = {
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
} as const;
const mgf1 = '1.2.840.113549.1.1.8';

/** One identifier for the key and for the one way in which it signs (RFC 8410, RFC 9881, RFC 9909). */
const sharedIdentifiers = {
  ed25519: '1.3.101.112',
  'ml-dsa-44': '2.16.840.1.101.3.4.3.17',
  'ml-dsa-65': '2.16.840.1.101.3.4.3.18',
  'ml-dsa-87': '2.16.840.1.101.3.4.3.19',
  'slh-dsa-sha2-128s': '2.16.840.1.101.3.4.3.20',
  'slh-dsa-sha2-128f': '2.16.840.1.101.3.4.3.21',
  'slh-dsa-sha2-192s': '2.16.840.1.101.3.4.3.22',
  'slh-dsa-sha2-192f': '2.16.840.1.101.3.4.3.23',
  'slh-dsa-sha2-256s': '2.16.840.1.101.3.4.3.24',
  'slh-dsa-sha2-256f': '2.16.840.1.101.3.4.3.25',
  'slh-dsa-shake-128s': '2.16.840.1.101.3.4.3.26',
  'slh-dsa-shake-128f': '2.16.840.1.101.3.4.3.27',
  'slh-dsa-shake-192s': '2.16.840.1.101.3.4.3.28',
  'slh-dsa-shake-192f': '2.16.840.1.101.3.4.3.29',
  'slh-dsa-shake-256s': '2.16.840.1.101.3.4.3.30',
  'slh-dsa-shake-256f': '2.16.840.1.101.3.4.3.31',
} as const;

/**
 * How certificates name the algorithm of a signature. RSA PKCS#1 v1.5: RFC 4055, section 5. ECDSA:
 * RFC 5758, section 3.2. RSA-PSS has one identifier and says the rest in its parameters (RFC 4055,
 * section 3.1).
 */
const signatureIdentifiers = {
  'rsa-pss-sha256': '1.2.840.113549.1.1.10',
  'rsa-pss-sha384': '1.2.840.113549.1.1.10',
  'rsa-pss-sha512': '1.2.840.113549.1.1.10',
  'rsa-pkcs1-sha256': '1.2.840.113549.1.1.11',
  'rsa-pkcs1-sha384': '1.2.840.113549.1.1.12',
  'rsa-pkcs1-sha512': '1.2.840.113549.1.1.13',
  'ecdsa-sha256': '1.2.840.10045.4.3.2',
  'ecdsa-sha384': '1.2.840.10045.4.3.3',
  'ecdsa-sha512': '1.2.840.10045.4.3.4',
  ...sharedIdentifiers,
} as const satisfies { readonly [Name in SchemeName as SignatureName<Name>]: string };
type SignatureName<Name extends SchemeName> = (typeof schemes)[Name]['act'] extends 'sign'
  ? Name
  : never;

/**
 * How a SubjectPublicKeyInfo names the algorithm of its key: an identifier without parameters, or a
 * named curve (RFC 5480, section 2.1.1). RSA keys are told apart by the size of their modulus.
 */
const keyIdentifiers: { readonly [Name in AlgorithmName]?: string | { readonly curve: string } } = {
  'p-256': { curve: '1.2.840.10045.3.1.7' },
  'p-384': { curve: '1.3.132.0.34' },
  'p-521': { curve: '1.3.132.0.35' },
  secp256k1: { curve: '1.3.132.0.10' },
  x25519: '1.3.101.110',
  ...sharedIdentifiers,
  'ml-kem-512': '2.16.840.1.101.3.4.4.1',
  'ml-kem-768': '2.16.840.1.101.3.4.4.2',
  'ml-kem-1024': '2.16.840.1.101.3.4.4.3',
};
const ecPublicKey = '1.2.840.10045.2.1';

/** RFC 3279, section 2.3.1: the parameters are NULL. */
export const rsaKeyAlgorithm = algorithmIdentifier('1.2.840.113549.1.1.1', nullValue);

const encodedSchemes = new Map<SchemeName, Buffer>();
const schemesByEncoding = new Map<string, SchemeName>();
const algorithmsByEncoding = new Map<string, AlgorithmName>();
fillTables();

/** The AlgorithmIdentifier of a scheme of signatures, as DER. */
export function signatureAlgorithm(scheme: SchemeName): Buffer {
  const encoded = encodedSchemes.get(scheme);
  if (encoded === undefined) throw new TypeError(`${scheme} does not sign`);
  return encoded;
}

/** The scheme that an AlgorithmIdentifier stands for, down to its parameters; undefined: none. */
export function schemeOf(encoded: Buffer): SchemeName | undefined {
  return schemesByEncoding.get(encoded.toString('latin1'));
}

/** The algorithm of a key, for all but RSA. */
export function keyAlgorithmOf(encoded: Buffer): AlgorithmName | undefined {
  return algorithmsByEncoding.get(encoded.toString('latin1'));
}

/** An AlgorithmIdentifier: an identifier and at most one element of parameters, as DER. */
export function readAlgorithm(reader: DerReader): Buffer {
  const { encoded, inside } = reader.capture(derTags.sequence);
  inside.objectIdentifier();
  if (!inside.isAtEnd) inside.element();
  inside.finish();
  return encoded;
}

function fillTables(): void {
  for (const [name, identifier] of Object.entries(signatureIdentifiers)) {
    const scheme = name as keyof typeof signatureIdentifiers;
    const forms = signatureForms(scheme, identifier);
    encodedSchemes.set(scheme, forms[0]!);
    for (const form of forms) schemesByEncoding.set(form.toString('latin1'), scheme);
  }
  for (const [name, key] of Object.entries(keyIdentifiers)) {
    const encoded =
      typeof key === 'string'
        ? algorithmIdentifier(key)
        : algorithmIdentifier(ecPublicKey, identifierElement(key.curve));
    algorithmsByEncoding.set(encoded.toString('latin1'), name as AlgorithmName);
  }
}

/** The encoding that is written, then those that are read as well. */
function signatureForms(scheme: keyof typeof signatureIdentifiers, identifier: string): Buffer[] {
  const row = schemes[scheme];
  switch (row.form) {
    case 'rsa-pss':
      return pssParameters(row.hash, row.hashBytes).map((parameters) =>
        algorithmIdentifier(identifier, parameters),
      );
    case 'rsa-pkcs1':
      // RFC 4055, section 5: written as NULL; left out, they have to be accepted too.
      return [algorithmIdentifier(identifier, nullValue), algorithmIdentifier(identifier)];
    default:
      return [algorithmIdentifier(identifier)];
  }
}

// RFC 4055, section 3.1. The parameters of the hash itself may be NULL or left out (section 2.1);
// the trailer field has its default and is left out.
function pssParameters(hash: keyof typeof hashes, hashBytes: number): Buffer[] {
  const forms = [algorithmIdentifier(hashes[hash], nullValue), algorithmIdentifier(hashes[hash])];
  const salt = encodeDer(contextConstructed(2), encodeDerUnsigned(BigInt(hashBytes)));
  return forms.flatMap((outer) =>
    forms.map((inner) =>
      encodeDer(
        sequence,
        encodeDer(contextConstructed(0), outer),
        encodeDer(contextConstructed(1), algorithmIdentifier(mgf1, inner)),
        salt,
      ),
    ),
  );
}

function algorithmIdentifier(identifier: string, ...parameters: readonly Buffer[]): Buffer {
  return encodeDer(sequence, identifierElement(identifier), ...parameters);
}

function identifierElement(identifier: string): Buffer {
  return encodeDer(derTags.objectIdentifier, encodeObjectIdentifier(identifier));
}
