import type { CaSettings } from '../../api/routes/authorities.ts';
import type { KeyRecord } from '../keys/keys.ts';
import type { Certificate } from '../x509/x509.ts';

/** What a CA has for one version of its key. */
export interface AuthorityVersion {
  readonly version: number;
  /** The row of the certificate that goes into chains, and the certificate itself, parsed once. */
  readonly certificateId: string;
  readonly certificate: Certificate;
  readonly pem: string;
  /** The CA version that signed the certificate: one's own for a root; null where it is not ours. */
  readonly issuedBy: { readonly id: string; readonly version: number } | null;
  /** Whether the certificate is revoked, or on hold. */
  readonly revokedAt: number | null;
  /** As they stood when this was read: the publisher reads them afresh. */
  readonly crlNumber: number;
  readonly crlDueAt: number | null;
  readonly crlPublishedAt: number | null;
}

/** A certificate authority as it is read and kept while the epoch stands still. */
export interface Authority {
  readonly key: KeyRecord;
  readonly state: 'active' | 'importing';
  /** Distinguished name as DER and as RFC 4514 writes it. */
  readonly subject: Buffer;
  readonly subjectText: string;
  readonly parentId: string | null;
  readonly settings: CaSettings;
  readonly createdAt: number;
  readonly revision: number;
  /** Oldest first; every version of the key that has a certificate. */
  readonly versions: readonly AuthorityVersion[];
}

/** The version of that number. */
export function authorityVersion(
  authority: Authority,
  version: number,
): AuthorityVersion | undefined {
  return authority.versions.find((candidate) => candidate.version === version);
}
