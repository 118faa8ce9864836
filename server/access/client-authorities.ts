import { X509Certificate } from 'node:crypto';
import type { Storage } from '../storage/storage.ts';
import type { CertificateStore } from './certificate-store.ts';

/** Subjects that a handshake names; a certificate of any other CA with bindings is taken, too. */
export const clientAuthoritiesMax = 100;

export interface ClientAuthoritiesLog {
  warn(facts: Readonly<Record<string, unknown>>, message: string): void;
}

/** Which CAs log clients in, for the servers that name them to clients. */
export class ClientAuthorities {
  readonly #storage: Storage;
  readonly #store: CertificateStore;
  readonly #log: ClientAuthoritiesLog;

  constructor(storage: Storage, store: CertificateStore, log: ClientAuthoritiesLog) {
    this.#storage = storage;
    this.#store = store;
    this.#log = log;
  }

  /** Certificates (PEM) of the CAs that have bindings, one for each subject. */
  async list(): Promise<string[]> {
    const found = new Map<string, string>();
    for (const der of await this.#store.boundAuthorities(clientAuthoritiesMax)) {
      const certificate = read(der);
      if (certificate !== undefined) found.set(certificate.subject, certificate.toString());
    }
    return [...found.values()];
  }

  /**
   * Calls `changed` now and whenever the list is another one, as the epoch rises. A list that
   * could not be read is read at the next change: it decides about no login.
   */
  async follow(changed: (authorities: readonly string[]) => void): Promise<void> {
    let shown = await this.list();
    changed(shown);
    let isReading = false;
    let isStale = false;
    const read = async () => {
      isStale = true;
      if (isReading) return;
      isReading = true;
      try {
        while (isStale) {
          isStale = false;
          const list = await this.list();
          if (list.join() === shown.join()) continue;
          changed(list);
          shown = list;
        }
      } catch (error) {
        this.#log.warn({ error: String(error) }, 'the CAs of client certificates were not read');
      } finally {
        isReading = false;
      }
    };
    this.#storage.onEpoch(() => void read());
  }
}

/** One that OpenSSL cannot read is not named: that keeps nobody out, and no service from starting. */
function read(der: Uint8Array): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}
