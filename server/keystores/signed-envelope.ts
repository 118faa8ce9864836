import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  decrypt,
  encrypt,
  invalidCiphertext,
  openSealed,
  type PrivateKey,
  random,
  sealBytes,
  sign,
  verify,
} from '../crypto/crypto.ts';

/*
 * What a root key in a token wraps:
 *
 *     u8 form = 1 | u16 length | RSA-OAEP of a fresh AES key | u16 length | signature | sealed
 *
 * in big endian. `sealed` is XAES-256-GCM under the fresh key, with the label as associated data.
 * Encryption to a public key alone proves nothing: whoever can write to the database could put a
 * store key of his own there, or seal a backup of his own making. So the token signs what it
 * wrapped, and nothing is decrypted that it did not sign. OAEP and PKCS #1 v1.5 signatures are the
 * forms of RSA that nearly every token has; their blocks never look alike.
 */
const form = 1;
const encryptionScheme = 'rsa-oaep-sha256';
const signatureScheme = 'rsa-pkcs1-sha256';
export const envelopeSchemes = [encryptionScheme, signatureScheme] as const;
const freshKeyBytes = 32;
const signedHeader = 'keyreeve root key envelope v1\n';

export interface EnvelopeKey {
  readonly publicKey: KeyObject;
  readonly privateKey: PrivateKey;
}

/** Wraps and signs. Errors: those of the private key. */
export async function sealEnvelope(
  key: EnvelopeKey,
  label: string,
  bytes: Uint8Array,
): Promise<Buffer> {
  using fresh = new SecretBytes(random(freshKeyBytes));
  const encrypted = await encrypt(encryptionScheme, key.publicKey, fresh.reveal());
  const sealed = sealBytes(createSecretKey(fresh.reveal()), bytes, Buffer.from(label, 'utf8'));
  const signature = await sign(
    signatureScheme,
    key.privateKey,
    signedText(label, encrypted, sealed),
  );
  return Buffer.concat([Buffer.of(form), withLength(encrypted), withLength(signature), sealed]);
}

/**
 * Opens what `sealEnvelope` made with the same key and label. Errors: `invalid-ciphertext`, and
 * those of the private key.
 */
export async function openEnvelope(
  key: EnvelopeKey,
  label: string,
  envelope: Uint8Array,
): Promise<Buffer> {
  const { encrypted, signature, sealed } = readEnvelope(envelope);
  const text = signedText(label, encrypted, sealed);
  if (!(await verify(signatureScheme, key.publicKey, text, signature))) throw invalidCiphertext();
  using fresh = new SecretBytes(await decrypt(encryptionScheme, key.privateKey, encrypted));
  if (fresh.length !== freshKeyBytes) throw invalidCiphertext();
  return openSealed(createSecretKey(fresh.reveal()), sealed, Buffer.from(label, 'utf8'));
}

/** Of fixed length, so that no two triples give the same. */
function signedText(label: string, encrypted: Uint8Array, sealed: Uint8Array): Buffer {
  const digests = [Buffer.from(label, 'utf8'), encrypted, sealed].map((part) =>
    createHash('sha256').update(part).digest(),
  );
  return Buffer.concat([Buffer.from(signedHeader, 'utf8'), ...digests]);
}

function withLength(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function readEnvelope(envelope: Uint8Array) {
  const bytes = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.byteLength);
  if (bytes[0] !== form) throw invalidCiphertext();
  let offset = 1;
  const part = (): Buffer => {
    if (offset + 2 > bytes.length) throw invalidCiphertext();
    const start = offset + 2;
    offset = start + bytes.readUInt16BE(offset);
    if (offset > bytes.length) throw invalidCiphertext();
    return bytes.subarray(start, offset);
  };
  const encrypted = part();
  const signature = part();
  return { encrypted, signature, sealed: bytes.subarray(offset) };
}
