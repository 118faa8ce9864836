import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePrivateFolder, exists, requirePrivate, writeFileDurably } from '../../base/files.ts';

/** Seals what must not lie on the disk in clear. `label` binds it to its place. */
export interface TlsSealer {
  seal(label: string, bytes: Uint8Array): Uint8Array;
  unseal(label: string, sealed: Uint8Array): Uint8Array;
}

export interface ServerIdentity {
  readonly pem: string;
  readonly certificate: X509Certificate;
  readonly key: KeyObject;
}

const files = { ca: 'ca.pem', server: 'server.pem', key: 'server.key.sealed' } as const;
const keyLabel = 'tls\nserver-key';

/**
 * The folder with the certificates and the sealed key of the server. Nothing in it is worth a
 * backup: what is missing or damaged counts as absent and is made again.
 */
export class TlsStore {
  readonly #folder: string;
  readonly #sealer: TlsSealer;

  /** Makes the folder. Error: `lax-mode` where others may enter it. */
  constructor(folder: string, sealer: TlsSealer) {
    ensurePrivateFolder(folder);
    this.#folder = folder;
    this.#sealer = sealer;
  }

  /** The certificate of the CA, if it is that of this key. */
  loadCa(caKey: KeyObject): { pem: string; certificate: X509Certificate } | undefined {
    try {
      const pem = readFileSync(join(this.#folder, files.ca), 'utf8');
      const certificate = new X509Certificate(pem);
      const sameKey = spkiDigest(certificate.publicKey) === spkiDigest(caKey);
      return sameKey && certificate.verify(certificate.publicKey)
        ? { pem, certificate }
        : undefined;
    } catch {
      return undefined;
    }
  }

  storeCa(pem: string): void {
    writeFileDurably(join(this.#folder, files.ca), pem);
  }

  /**
   * The certificate of the server with its key, if the one fits the other and the CA signed it. A key
   * that others may read, or that another user owns, is not made again but refused: `lax-mode`.
   */
  loadServer(ca: X509Certificate): ServerIdentity | undefined {
    const keyFile = join(this.#folder, files.key);
    if (exists(keyFile)) requirePrivate(keyFile, 'file');
    try {
      const pem = readFileSync(join(this.#folder, files.server), 'utf8');
      const certificate = new X509Certificate(pem);
      const sealed = readFileSync(keyFile);
      const der = Buffer.from(this.#sealer.unseal(keyLabel, sealed));
      const key = createPrivateKey({ key: der, type: 'pkcs8', format: 'der' });
      der.fill(0);
      const fits = certificate.checkPrivateKey(key) && certificate.verify(ca.publicKey);
      return fits ? { pem, certificate, key } : undefined;
    } catch {
      return undefined;
    }
  }

  /** A crash between the two leaves a key that does not fit, which counts as absent. */
  storeServer(pem: string, key: KeyObject): void {
    const der = key.export({ type: 'pkcs8', format: 'der' });
    const sealed = this.#sealer.seal(keyLabel, der);
    der.fill(0);
    writeFileDurably(join(this.#folder, files.key), sealed);
    writeFileDurably(join(this.#folder, files.server), pem);
  }
}

/** SHA-256 of the public half as SPKI (RFC 7469, section 2.4), hexadecimal. */
export function spkiDigest(key: KeyObject): string {
  const publicKey = key.type === 'public' ? key : createPublicKey(key);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest('hex');
}
