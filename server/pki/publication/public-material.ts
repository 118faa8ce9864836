import type { PublicFile } from '../../base/public-file.ts';
import { sha256 } from '../certificate-record.ts';
import { certificatePath, crlPath } from './addresses.ts';
import {
  type Crl,
  type CrlStore,
  type PublicVersion,
  slotOf,
  type VersionOfCa,
} from './crl-store.ts';

const tagDigits = 32;

/**
 * What is served without asking the database: the newest CRL and the certificate of each version of
 * each CA. A CRL is held once, for all who fetch it.
 */
export class PublicMaterial {
  readonly #store: CrlStore;
  /** Bounded by the CAs that there are. */
  readonly #crls = new Map<string, Crl>();
  readonly #crlPaths = new Map<string, string>();
  #certificates = new Map<string, CertificateFile>();
  readonly #crlFiles = new Map<string, PublicFile>();

  constructor(store: CrlStore) {
    this.#store = store;
  }

  /** What lies at a path. */
  file(path: string): PublicFile | undefined {
    return this.#crlFiles.get(path) ?? this.#certificates.get(path);
  }

  /**
   * The newest CRL of a version, not older than `number`, which another node may have published just
   * now; undefined before its first.
   */
  async crl(version: VersionOfCa, number = 0): Promise<Crl | undefined> {
    const known = this.#crls.get(slotOf(version));
    if (known !== undefined && known.number >= number) return known;
    const crl = await this.#store.newest(version);
    if (crl !== undefined) this.published(crl);
    return this.#crls.get(slotOf(version));
  }

  /** The number of the CRL that is served; undefined where none is. */
  numberOf(version: VersionOfCa): number | undefined {
    return this.#crls.get(slotOf(version))?.number;
  }

  /** Takes a CRL that was stored; never an older one in place of a newer. */
  published(crl: Crl): void {
    const slot = slotOf(crl);
    const known = this.#crls.get(slot);
    if (known !== undefined && known.number >= crl.number) return;
    this.#crls.set(slot, crl);
    const path = this.#crlPaths.get(slot);
    if (path !== undefined) this.#crlFiles.set(path, crlFile(crl));
  }

  /** Takes the CAs as they are now. What is gone is served no more. */
  async refresh(versions: readonly PublicVersion[]): Promise<void> {
    const certificates = new Map<string, CertificateFile>();
    const slots = new Set<string>();
    for (const version of versions) {
      slots.add(slotOf(version));
      const path = certificatePath(version.keyFingerprint);
      const file = await this.#certificateFile(path, version.certificateId);
      if (file !== undefined) certificates.set(path, file);
      await this.#serveCrl(version, crlPath(version.keyFingerprint));
    }
    this.#certificates = certificates;
    for (const [slot, path] of this.#crlPaths) {
      if (slots.has(slot)) continue;
      this.#crlPaths.delete(slot);
      this.#crlFiles.delete(path);
      this.#crls.delete(slot);
    }
  }

  async #serveCrl(version: VersionOfCa, path: string): Promise<void> {
    const slot = slotOf(version);
    if (this.#crlFiles.has(path)) return;
    this.#crlPaths.set(slot, path);
    const crl = await this.crl(version);
    // A newer one may have been published while this one was read.
    if (crl !== undefined) this.#crlFiles.set(path, crlFile(this.#crls.get(slot) ?? crl));
  }

  async #certificateFile(path: string, id: string): Promise<CertificateFile | undefined> {
    const known = this.#certificates.get(path);
    if (known?.id === id) return known;
    const certificate = await this.#store.certificate(id);
    if (certificate === undefined) return undefined;
    return {
      id,
      contentType: 'application/pkix-cert',
      bytes: certificate.der,
      tag: sha256(certificate.der).slice(0, tagDigits),
      modifiedAt: certificate.notBefore,
      expiresAt: certificate.notAfter,
    };
  }
}

interface CertificateFile extends PublicFile {
  /** The row it comes from. */
  readonly id: string;
}

/** Media types: RFC 2585, section 4. */
function crlFile(crl: Crl): PublicFile {
  return {
    contentType: 'application/pkix-crl',
    bytes: crl.der,
    // A number is given once to a version: no need to hash megabytes.
    tag: `${crl.number}-${crl.thisUpdate}`,
    modifiedAt: crl.thisUpdate,
    expiresAt: crl.nextUpdate,
  };
}
