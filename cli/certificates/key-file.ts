/** Public keys and certificates in files, and the SHA-256 by which the service knows them. */
import { createHash, createPublicKey, X509Certificate } from 'node:crypto';
import { pemLengthMax } from '../../api/routes/authorities.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { readInput } from '../files.ts';

/** A SHA-256 as people paste it, in lower case without colons; undefined where it is none. */
export function asDigest(text: string): string | undefined {
  const digits = text.replaceAll(':', '').toLowerCase();
  return /^[0-9a-f]{64}$/.test(digits) ? digits : undefined;
}

/** PEM of a public key, a request or a certificate. A private key is refused: it stays where it is. */
export async function readPublicPem(tools: Tools, path: string): Promise<string> {
  const bytes = await readInput(tools.context, path, { bytesMax: pemLengthMax });
  const text = bytes.toString('utf8');
  if (text.includes('PRIVATE KEY-----')) {
    throw new KeyreeveError('invalid-request', `${path} holds a private key`, {
      hint: 'Name a file with the public key, a request or a certificate.',
    });
  }
  if (text.includes('-----BEGIN ')) return text;
  throw new KeyreeveError('invalid-request', `${path} is no PEM file`, {
    hint: 'Name a PEM file with a public key, a request or a certificate.',
  });
}

/** SHA-256 of the public key (SPKI): as digits, or of a key, a request or a certificate in a file. */
export async function keyDigest(tools: Tools, digestOrFile: string): Promise<string> {
  const digest = asDigest(digestOrFile);
  if (digest !== undefined) return digest;
  const pem = await readPublicPem(tools, digestOrFile);
  return sha256(await spkiOf(pem, digestOrFile));
}

/** SHA-256 of a certificate: as digits, or of the first one in a file. */
export async function certificateDigest(tools: Tools, digestOrFile: string): Promise<string> {
  const digest = asDigest(digestOrFile);
  if (digest !== undefined) return digest;
  const pem = await readPublicPem(tools, digestOrFile);
  return sha256(parse(digestOrFile, 'certificate', () => new X509Certificate(pem).raw));
}

async function spkiOf(pem: string, path: string): Promise<Buffer> {
  if (pem.includes('CERTIFICATE REQUEST-----')) {
    const { requestFromText } = await import('../../server/x509/x509.ts');
    return requestFromText(pem).spki;
  }
  return parse(path, 'public key', () =>
    createPublicKey(pem).export({ format: 'der', type: 'spki' }),
  );
}

function parse(path: string, what: string, read: () => Buffer): Buffer {
  try {
    return read();
  } catch (error) {
    throw new KeyreeveError('invalid-request', `${path} holds no ${what}`, {
      hint: `Name a PEM file with a ${what}, or its SHA-256.`,
      cause: error,
    });
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
