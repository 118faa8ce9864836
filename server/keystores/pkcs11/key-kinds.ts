import { type AlgorithmName, algorithms, type NodeKey } from '../../../api/algorithms.ts';
import { attributes, keyTypes, mechanisms } from './constants.ts';
import type { TemplateEntry } from './protocol.ts';
import type { TokenView } from './token-view.ts';

/** How an algorithm's keys look in a token. */
export interface TokenKeyKind {
  readonly keyType: number;
  readonly generation: number;
  readonly isSecret: boolean;
  /** What a public key needs to be made, beyond what all have. */
  readonly domain: readonly TemplateEntry[];
  /** What a secret key needs. */
  readonly secret: readonly TemplateEntry[];
  /** What the private key may do. */
  readonly privateUses: readonly number[];
  readonly publicUses: readonly number[];
}

interface CurveRow {
  /** OBJECT IDENTIFIER in DER: the ECParameters of RFC 5480, 2.1.1. */
  readonly oid: string;
  readonly fieldBytes: number;
}

/** Curves by node:crypto's name. */
export const curves: Readonly<Record<string, CurveRow>> = {
  prime256v1: { oid: '06082a8648ce3d030107', fieldBytes: 32 },
  secp384r1: { oid: '06052b81040022', fieldBytes: 48 },
  secp521r1: { oid: '06052b81040023', fieldBytes: 66 },
  secp256k1: { oid: '06052b8104000a', fieldBytes: 32 },
};

/** Ed25519 as CKA_EC_PARAMS names it: RFC 8410's OID, or PKCS #11 v3.0's printable string. */
export const edwardsNames = { oid: '06032b6570', string: '130c656477617264733235353139' } as const;

/** CKP_ML_DSA_44 and its siblings (PKCS #11 v3.2). */
export const mlDsaSets: Readonly<Record<string, number>> = {
  'ml-dsa-44': 1,
  'ml-dsa-65': 2,
  'ml-dsa-87': 3,
};

const rsaPublicExponent = '010001';

/** How a key of the algorithm is made in this token; undefined where it cannot hold any. */
export function keyKindOf(algorithm: AlgorithmName, token: TokenView): TokenKeyKind | undefined {
  const node: NodeKey = algorithms[algorithm].node;
  const kind = kindOf(node, token);
  if (kind === undefined || !token.has(kind.generation)) return undefined;
  if (node.type === 'rsa' && !token.takesBits(kind.generation, node.modulusBits)) return undefined;
  if (token.quirks.withoutAlgorithms.includes(algorithm)) return undefined;
  return kind;
}

function kindOf(node: NodeKey, token: TokenView): TokenKeyKind | undefined {
  switch (node.type) {
    case 'rsa':
      return {
        ...pair(keyTypes.rsa, mechanisms.rsaKeyPair),
        domain: [
          { type: attributes.modulusBits, value: node.modulusBits },
          { type: attributes.publicExponent, value: { hex: rsaPublicExponent } },
        ],
        privateUses: [attributes.sign, attributes.decrypt],
        publicUses: [attributes.verify, attributes.encrypt],
      };
    case 'ec': {
      const curve = curves[node.curve];
      if (curve === undefined) return undefined;
      const agrees = token.has(mechanisms.ecdh);
      return {
        ...pair(keyTypes.ec, mechanisms.ecKeyPair),
        domain: [{ type: attributes.ecParameters, value: { hex: curve.oid } }],
        privateUses: agrees ? [attributes.sign, attributes.derive] : [attributes.sign],
      };
    }
    case 'octets':
      return octetsKind(node.name, token);
    case 'secret':
      return node.generator === 'hmac' ? secretKind(node.bits) : undefined;
  }
}

function octetsKind(name: string, token: TokenView): TokenKeyKind | undefined {
  if (name === 'ed25519') {
    const hex = edwardsNames[token.quirks.edwardsName];
    return {
      ...pair(keyTypes.edwards, mechanisms.edwardsKeyPair),
      domain: [{ type: attributes.ecParameters, value: { hex } }],
    };
  }
  const set = mlDsaSets[name];
  if (set === undefined) return undefined;
  return {
    ...pair(keyTypes.mlDsa, mechanisms.mlDsaKeyPair),
    domain: [{ type: attributes.parameterSet, value: set }],
  };
}

/** A key pair that signs. */
function pair(keyType: number, generation: number): TokenKeyKind {
  return {
    keyType,
    generation,
    isSecret: false,
    domain: [],
    secret: [],
    privateUses: [attributes.sign],
    publicUses: [attributes.verify],
  };
}

function secretKind(bits: number): TokenKeyKind {
  return {
    keyType: keyTypes.genericSecret,
    generation: mechanisms.genericSecretKey,
    isSecret: true,
    domain: [],
    secret: [{ type: attributes.valueLength, value: bits / 8 }],
    privateUses: [attributes.sign, attributes.verify],
    publicUses: [],
  };
}
