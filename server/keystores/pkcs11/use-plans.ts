import { hash } from 'node:crypto';
import {
  type AlgorithmName,
  algorithms,
  type HashName,
  type NodeKey,
  type SchemeName,
  type SchemeRow,
  type SignatureScheme,
  schemes,
  supportsScheme,
} from '../../../api/algorithms.ts';
import { DerWriter } from '../../der/der.ts';
import { maskFunctions, mechanisms, oaepSource, parameterTypes } from './constants.ts';
import { curves } from './key-kinds.ts';
import type { MechanismCall } from './protocol.ts';
import type { TokenView } from './token-view.ts';

/** How a scheme is done with a mechanism of the token. */
export interface UsePlan {
  readonly command: 'sign' | 'decrypt';
  readonly mechanism: MechanismCall;
  readonly answerBytes: number;
  /** What goes into the token. */
  readonly input: (data: Uint8Array) => Uint8Array;
  /** What comes out, in the form of the table of schemes; undefined where it cannot be right. */
  readonly output: (answer: Buffer) => Buffer | undefined;
  /** Whether the padding is still on it. */
  readonly isPadded: boolean;
}

type RsaSigning = { readonly form: string } & Hashed;
type Hashed = { readonly hash: HashName; readonly hashBytes: number };

// DigestInfo up to the digest (RFC 8017, 9.2, note 1).
const digestInfoStarts = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
} as const;

const hashMechanisms = {
  sha256: {
    digest: mechanisms.sha256,
    pkcs1: mechanisms.sha256RsaPkcs,
    pss: mechanisms.sha256RsaPss,
    ecdsa: mechanisms.ecdsaSha256,
    hmac: mechanisms.sha256Hmac,
  },
  sha384: {
    digest: mechanisms.sha384,
    pkcs1: mechanisms.sha384RsaPkcs,
    pss: mechanisms.sha384RsaPss,
    ecdsa: mechanisms.ecdsaSha384,
    hmac: mechanisms.sha384Hmac,
  },
  sha512: {
    digest: mechanisms.sha512,
    pkcs1: mechanisms.sha512RsaPkcs,
    pss: mechanisms.sha512RsaPss,
    ecdsa: mechanisms.ecdsaSha512,
    hmac: mechanisms.sha512Hmac,
  },
} as const;

const asItIs = (data: Uint8Array) => data;
const digestOf = (row: Hashed) => (data: Uint8Array) => hash(row.hash, data, 'buffer');

/**
 * How a key of the algorithm is used with the scheme in this token; undefined where it is not. The
 * hash is computed outside where the token allows it, so that a long message need not travel.
 */
export function planUse(
  algorithm: AlgorithmName,
  scheme: SchemeName,
  token: TokenView,
): UsePlan | undefined {
  if (!supportsScheme(algorithm, scheme)) return undefined;
  const row: SchemeRow = schemes[scheme];
  const node: NodeKey = algorithms[algorithm].node;
  switch (row.act) {
    case 'sign':
      return planSigning(row, node, token);
    case 'encrypt':
      return row.form === 'rsa-oaep' && node.type === 'rsa'
        ? planOaep(row, node.modulusBits / 8, token)
        : undefined;
    case 'mac':
      return planMac(row, token);
    default:
      return undefined;
  }
}

function planSigning(row: SignatureScheme, node: NodeKey, token: TokenView): UsePlan | undefined {
  switch (row.form) {
    case 'rsa-pkcs1':
    case 'rsa-pss':
      return node.type === 'rsa' ? planRsa(row, node.modulusBits / 8, token) : undefined;
    case 'ecdsa':
      return node.type === 'ec' ? planEcdsa(row, node.curve, token) : undefined;
    case 'pure': {
      const isEdwards = node.type === 'octets' && node.name === 'ed25519';
      const isMlDsa = node.type === 'octets' && node.name.startsWith('ml-dsa-');
      if (!isEdwards && !isMlDsa) return undefined;
      const mechanism = isEdwards ? mechanisms.eddsa : mechanisms.mlDsa;
      return token.has(mechanism)
        ? signing({ mechanism }, row.signatureBytes, asItIs, exactly(row.signatureBytes))
        : undefined;
    }
  }
}

function planRsa(row: RsaSigning, modulusBytes: number, token: TokenView): UsePlan | undefined {
  const names = hashMechanisms[row.hash];
  const isPss = row.form === 'rsa-pss';
  const withParameter = (mechanism: number): MechanismCall => ({
    mechanism,
    ...(isPss ? { parameter: pssParameter(row) } : {}),
  });
  const plan = (mechanism: number, input: UsePlan['input']) =>
    token.has(mechanism)
      ? signing(withParameter(mechanism), modulusBytes, input, exactly(modulusBytes))
      : undefined;
  if (isPss) return plan(mechanisms.rsaPss, digestOf(row)) ?? plan(names.pss, asItIs);
  const start = digestInfoStarts[row.hash];
  const digestInfo = (data: Uint8Array) => Buffer.concat([start, digestOf(row)(data)]);
  return plan(mechanisms.rsaPkcs, digestInfo) ?? plan(names.pkcs1, asItIs);
}

function planEcdsa(row: Hashed, curve: string, token: TokenView): UsePlan | undefined {
  const fieldBytes = curves[curve]?.fieldBytes;
  if (fieldBytes === undefined) return undefined;
  const plan = (mechanism: number, input: UsePlan['input']) =>
    token.has(mechanism)
      ? signing({ mechanism }, 2 * fieldBytes, input, (raw) => derSignature(raw, fieldBytes))
      : undefined;
  return plan(mechanisms.ecdsa, digestOf(row)) ?? plan(hashMechanisms[row.hash].ecdsa, asItIs);
}

function planMac(row: Hashed, token: TokenView): UsePlan | undefined {
  const mechanism = hashMechanisms[row.hash].hmac;
  return token.has(mechanism)
    ? signing({ mechanism }, row.hashBytes, asItIs, exactly(row.hashBytes))
    : undefined;
}

/** RSAES-OAEP in the token, or a raw decryption whose padding is taken off here. */
function planOaep(row: Hashed, modulusBytes: number, token: TokenView): UsePlan | undefined {
  const common = { command: 'decrypt', answerBytes: modulusBytes, input: asItIs } as const;
  if (token.quirks.oaep === 'token' && token.has(mechanisms.rsaOaep)) {
    const parameter = {
      type: parameterTypes.rsaOaep,
      hashAlg: hashMechanisms[row.hash].digest,
      mgf: maskFunctions[row.hash],
      source: oaepSource,
    };
    const mechanism = { mechanism: mechanisms.rsaOaep, parameter };
    return { ...common, mechanism, output: (answer) => Buffer.from(answer), isPadded: false };
  }
  if (!token.has(mechanisms.rsaRaw)) return undefined;
  const output = (answer: Buffer) => leftPadded(answer, modulusBytes);
  return { ...common, mechanism: { mechanism: mechanisms.rsaRaw }, output, isPadded: true };
}

function pssParameter(row: Hashed) {
  return {
    type: parameterTypes.rsaPss,
    hashAlg: hashMechanisms[row.hash].digest,
    mgf: maskFunctions[row.hash],
    saltLen: row.hashBytes,
  };
}

function signing(
  mechanism: MechanismCall,
  answerBytes: number,
  input: UsePlan['input'],
  output: UsePlan['output'],
): UsePlan {
  return { command: 'sign', mechanism, answerBytes, input, output, isPadded: false };
}

/** A copy of the answer, which must be so long. */
function exactly(bytes: number): UsePlan['output'] {
  return (answer) => (answer.length === bytes ? Buffer.from(answer) : undefined);
}

// Some modules leave out leading zeros.
function leftPadded(answer: Buffer, bytes: number): Buffer | undefined {
  if (answer.length > bytes) return undefined;
  const padded = Buffer.alloc(bytes);
  answer.copy(padded, bytes - answer.length);
  answer.fill(0);
  return padded;
}

/** ECDSA's r and s, one after the other, as Ecdsa-Sig-Value (RFC 3279, 2.2.3). */
function derSignature(raw: Buffer, fieldBytes: number): Buffer | undefined {
  if (raw.length !== 2 * fieldBytes) return undefined;
  const r = withoutZeros(raw.subarray(0, fieldBytes));
  const s = withoutZeros(raw.subarray(fieldBytes));
  if (r.length === 0 || s.length === 0) return undefined;
  const writer = new DerWriter(2 * fieldBytes + 16);
  writer.sequence(() => writer.unsigned(r).unsigned(s));
  return writer.finish();
}

function withoutZeros(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length && bytes[start] === 0) start++;
  return bytes.subarray(start);
}
