import { type SchemeName, supportsScheme } from '../../api/algorithms.ts';
import { verify } from '../crypto/crypto.ts';
import { type DerReader, DerWriter, derTags } from '../der/der.ts';
import { readAlgorithm, schemeOf, signatureAlgorithm } from './algorithms.ts';
import { spkiAlgorithm } from './public-key.ts';

/** What was signed, how, and the signature: the frame of certificates, requests and CRLs. */
export interface Signed {
  readonly tbs: Buffer;
  /** Undefined where the signature is by no scheme of ours. */
  readonly scheme: SchemeName | undefined;
  readonly signature: Buffer;
}

const frameBytes = 256;

/** SEQUENCE { what is signed, AlgorithmIdentifier, BIT STRING } (RFC 5280, section 4.1). */
export function assembleSigned(tbs: Buffer, scheme: SchemeName, signature: Buffer): Buffer {
  const writer = new DerWriter(tbs.length + signature.length + frameBytes);
  writer.sequence(() => {
    writer.raw(tbs).raw(signatureAlgorithm(scheme)).bitString(signature);
  });
  return writer.finish();
}

/** The frame as it is read: `algorithm` as DER, `inside` a reader of what is signed. */
export interface SignedReader extends Signed {
  readonly algorithm: Buffer;
  readonly inside: DerReader;
}

/** Reads the frame. Error: DerError. */
export function readSigned(outer: DerReader): SignedReader {
  const reader = outer.sequence();
  const { encoded: tbs, inside } = reader.capture(derTags.sequence);
  const algorithm = readAlgorithm(reader);
  const signature = reader.bitStringBytes();
  reader.finish();
  return { tbs, inside, algorithm, scheme: schemeOf(algorithm), signature };
}

/**
 * Whether the signature is by this key: its SubjectPublicKeyInfo, or the key that `spkiAlgorithm`
 * made of it. False where the scheme is none of ours or does not fit the key. Error:
 * `public-key-refused`.
 */
export async function verifySigned(
  { tbs, scheme, signature }: Signed,
  publicKey: Buffer | ReturnType<typeof spkiAlgorithm>,
): Promise<boolean> {
  const { algorithm, key } = Buffer.isBuffer(publicKey) ? spkiAlgorithm(publicKey) : publicKey;
  if (scheme === undefined || algorithm === undefined) return false;
  if (!supportsScheme(algorithm, scheme)) return false;
  return verify(scheme, key, tbs, signature);
}
