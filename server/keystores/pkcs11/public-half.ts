import type { KeyObject } from 'node:crypto';
import {
  type AlgorithmName,
  algorithmNames,
  algorithms,
  type NodeKey,
} from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { checkPublic } from '../../crypto/crypto.ts';
import { DerWriter, derTags } from '../../der/der.ts';
import { attributes, keyTypes } from './constants.ts';
import { curves, edwardsNames, mlDsaSets } from './key-kinds.ts';
import type { FoundObject, TemplateEntry } from './protocol.ts';

export interface PublicHalf {
  readonly algorithm: AlgorithmName;
  readonly key: KeyObject;
  readonly spki: Buffer;
}

const rsaEncryption = '06092a864886f70d010101';
const ecPublicKey = '06072a8648ce3d0201';
// 2.16.840.1.101.3.4.3.17 to 19 (RFC 9881, 2).
const mlDsaIdentifiers: Readonly<Record<string, string>> = {
  'ml-dsa-44': '0609608648016503040311',
  'ml-dsa-65': '0609608648016503040312',
  'ml-dsa-87': '0609608648016503040313',
};
const asn1Null = '0500';
const uncompressed = 0x04;

/**
 * The public key of objects that belong together, built anew from the numbers that the token gives
 * and held to the same rules as a stranger's. Errors: `integrity-failed`, `capability-missing`
 * where the token gives none or it is of no algorithm that is known.
 */
export function publicHalfOf(found: readonly FoundObject[]): PublicHalf {
  const candidates = [
    ...found.filter((one) => one.class === 'public'),
    // Some tokens keep the public numbers of RSA with the private key alone.
    ...found.filter((one) => one.class === 'private'),
  ];
  for (const object of candidates) {
    const read = spkiOf(object);
    if (read !== undefined) return checked(read.algorithm, read.spki);
  }
  throw new KeyreeveError(
    'capability-missing',
    'The token gives no public key for this key, or one of an algorithm that is not supported.',
    { hint: 'Put the public key into the token beside it, with the same CKA_ID.' },
  );
}

/** The numbers of a public key as attributes, for an object of its own. */
export function publicNumbers(algorithm: AlgorithmName, key: KeyObject): TemplateEntry[] {
  const node: NodeKey = algorithms[algorithm].node;
  const jwk = key.export({ format: 'jwk' });
  const bytes = (text: string | undefined) => Buffer.from(text ?? '', 'base64url');
  if (node.type === 'rsa') {
    return [
      { type: attributes.modulus, value: { hex: bytes(jwk.n).toString('hex') } },
      { type: attributes.publicExponent, value: { hex: bytes(jwk.e).toString('hex') } },
    ];
  }
  const isCurve = node.type === 'ec';
  const parameters = isCurve ? (curves[node.curve]?.oid ?? '') : edwardsNames.oid;
  const point = isCurve
    ? Buffer.concat([Buffer.of(uncompressed), bytes(jwk.x), bytes(jwk.y)])
    : bytes(jwk.x);
  const encoded = new DerWriter().element(derTags.octetString, point).finish();
  return [
    { type: attributes.ecParameters, value: { hex: parameters } },
    { type: attributes.ecPoint, value: { hex: encoded.toString('hex') } },
  ];
}

function spkiOf(object: FoundObject): { algorithm: AlgorithmName; spki: Buffer } | undefined {
  switch (object.keyType) {
    case keyTypes.rsa:
      return rsaSpki(object);
    case keyTypes.ec:
    case keyTypes.edwards:
      return curveSpki(object);
    case keyTypes.mlDsa:
      return mlDsaSpki(object);
    default:
      return undefined;
  }
}

// RFC 3279, 2.3.1.
function rsaSpki({ modulus, publicExponent }: FoundObject) {
  if (modulus === undefined || publicExponent === undefined) return undefined;
  const n = unsigned(modulus);
  const algorithm = algorithmWith((node) => node.type === 'rsa' && node.modulusBits === bitsOf(n));
  if (algorithm === undefined) return undefined;
  const numbers = new DerWriter();
  numbers.sequence(() => numbers.unsigned(n).unsigned(unsigned(publicExponent)));
  return { algorithm, spki: writeSpki(rsaEncryption + asn1Null, numbers.finish()) };
}

// RFC 5480, 2.2 and RFC 8410, 4. CKA_EC_POINT is an OCTET STRING in DER; some leave that out.
function curveSpki({ ecParameters, ecPoint }: FoundObject) {
  if (ecParameters === undefined || ecPoint === undefined) return undefined;
  const given = Buffer.from(ecPoint, 'hex');
  if ((Object.values(edwardsNames) as string[]).includes(ecParameters)) {
    const point = pointOf(given, 32);
    return point && { algorithm: 'ed25519' as const, spki: writeSpki(edwardsNames.oid, point) };
  }
  const [name, curve] = Object.entries(curves).find(([, row]) => row.oid === ecParameters) ?? [];
  if (curve === undefined) return undefined;
  const algorithm = algorithmWith((node) => node.type === 'ec' && node.curve === name);
  const point = pointOf(given, 1 + 2 * curve.fieldBytes);
  if (algorithm === undefined || point === undefined) return undefined;
  return { algorithm, spki: writeSpki(ecPublicKey + curve.oid, point) };
}

function mlDsaSpki({ value }: FoundObject) {
  if (value === undefined) return undefined;
  const raw = Buffer.from(value, 'hex');
  const lengths: Readonly<Record<number, string>> = {
    1312: 'ml-dsa-44',
    1952: 'ml-dsa-65',
    2592: 'ml-dsa-87',
  };
  const name = lengths[raw.length];
  if (name === undefined || mlDsaSets[name] === undefined) return undefined;
  return { algorithm: name as AlgorithmName, spki: writeSpki(mlDsaIdentifiers[name] ?? '', raw) };
}

function pointOf(given: Buffer, bytes: number): Buffer | undefined {
  if (given.length === bytes) return given;
  const point = given.subarray(-bytes);
  const wrapped = new DerWriter().element(derTags.octetString, point).finish();
  return wrapped.equals(given) ? point : undefined;
}

function writeSpki(algorithmContents: string, key: Buffer): Buffer {
  const writer = new DerWriter();
  writer.sequence(() => {
    writer.sequence(() => writer.raw(Buffer.from(algorithmContents, 'hex')));
    writer.bitString(key);
  });
  return Buffer.from(writer.finish());
}

function checked(algorithm: AlgorithmName, spki: Buffer): PublicHalf {
  try {
    return { algorithm, spki, key: checkPublic(algorithm, spki) };
  } catch (error) {
    throw new KeyreeveError(
      'integrity-failed',
      `The public key that the token gives is refused. ${error instanceof Error ? error.message : ''}`,
      { hint: 'Do not use this key: look at how it came into the token.', cause: error },
    );
  }
}

function algorithmWith(test: (node: NodeKey) => boolean): AlgorithmName | undefined {
  return algorithmNames.find((name) => test(algorithms[name].node));
}

function unsigned(hex: string): Buffer {
  const bytes = Buffer.from(hex, 'hex');
  const first = bytes.findIndex((byte) => byte !== 0);
  return first === -1 ? Buffer.alloc(1) : bytes.subarray(first);
}

function bitsOf(bytes: Buffer): number {
  return bytes.length * 8 - (Math.clz32(bytes[0]!) - 24);
}
