/** The certificate and key that a command calls with in place of a token. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ClientCertificate } from '../client/api-client.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import { readPrivateFile } from '../server/base/files.ts';

export interface CertificateOptions {
  readonly certFile?: string;
  readonly keyFile?: string;
}

/**
 * What `--cert-file` and `--key-file` name, else KEYREEVE_CERT_FILE and KEYREEVE_KEY_FILE; undefined
 * where nothing is named. Errors: `invalid-request` where the two are no pair; `lax-mode` where
 * others may read the key.
 */
export function readClientCertificate(
  env: Readonly<Record<string, string | undefined>>,
  options: CertificateOptions,
): ClientCertificate | undefined {
  const certFile = options.certFile ?? (env.KEYREEVE_CERT_FILE || undefined);
  const keyFile = options.keyFile ?? (env.KEYREEVE_KEY_FILE || undefined);
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined) {
    const missing = certFile === undefined ? 'certificate' : 'private key';
    throw new KeyreeveError('invalid-request', `the ${missing} to call with is not named`, {
      hint: 'Give both --cert-file and --key-file, or KEYREEVE_CERT_FILE and KEYREEVE_KEY_FILE.',
    });
  }
  const certificate = readFileSync(certFile, 'utf8');
  const key = readPrivateFile(keyFile);
  requirePair(
    { certFile, keyFile },
    parseCertificate(certFile, certificate),
    parseKey(keyFile, key),
  );
  return { certificate, key };
}

function parseCertificate(path: string, pem: string): X509Certificate {
  try {
    if (pem.includes('-----BEGIN CERTIFICATE-----')) return new X509Certificate(pem);
  } catch {
    // Said below.
  }
  throw new KeyreeveError('invalid-request', `${path} holds no certificate`, {
    hint: 'Name a PEM file with the client certificate first.',
  });
}

function parseKey(path: string, pem: Buffer): KeyObject {
  if (pem.includes('ENCRYPTED')) {
    throw new KeyreeveError('invalid-request', `the private key in ${path} has a passphrase`, {
      hint: 'Name a key without one in a file of mode 0600; openssl pkey writes it.',
    });
  }
  try {
    return createPrivateKey(pem);
  } catch {
    // The cause could repeat what is in the file.
    throw new KeyreeveError('invalid-request', `${path} holds no private key`, {
      hint: 'Name a PEM file with the private key of the client certificate.',
    });
  }
}

function requirePair(
  paths: { certFile: string; keyFile: string },
  certificate: X509Certificate,
  key: KeyObject,
): void {
  if (certificate.checkPrivateKey(key)) return;
  throw new KeyreeveError(
    'invalid-request',
    `the key in ${paths.keyFile} is not that of the certificate in ${paths.certFile}`,
    { hint: 'Name the key that the certificate was issued for.' },
  );
}
