import { KeyreeveError } from '../../base/errors.ts';
import type { MadeVersion } from '../../keys/keys.ts';
import type { Step } from '../../storage/storage.ts';
import type { Certificate } from '../../x509/x509.ts';
import { certificatePem } from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import type { CertificateRecord } from '../certificate-record.ts';
import { type AuthorityStore, foldedSubject } from './authority-store.ts';

/** A CA that was made or taken in, and has no rows yet. */
export interface NewAuthority {
  readonly key: MadeVersion;
  readonly authority: Authority;
  /** Rows of its certificate, and of those above it. */
  readonly certificateSteps: readonly Step[];
}

/** Everything that a new CA is, in the order in which rows refer to each other. */
export function newAuthoritySteps(
  store: AuthorityStore,
  { key, authority, certificateSteps }: NewAuthority,
): Step[] {
  return [
    store.noOtherOf(authority.subject),
    ...key.steps,
    ...certificateSteps,
    store.insertAuthority(authority),
    ...authority.versions.map((version) => store.insertVersion(authority.key.id, version)),
  ];
}

/** A version with its first certificate: its first CRL is due at once. */
export function newVersion(
  version: number,
  { certificate, record }: { certificate: Certificate; record: CertificateRecord },
  now: number,
): AuthorityVersion {
  const { id, ca_id, ca_version } = record.row;
  return {
    version,
    certificateId: id,
    certificate,
    pem: certificatePem(certificate.der),
    issuedBy: ca_id === null || ca_version === null ? null : { id: ca_id, version: ca_version },
    revokedAt: null,
    crlNumber: 0,
    crlDueAt: now,
    crlPublishedAt: null,
  };
}

/**
 * Refuses a subject that another CA has: relying parties tell CAs apart by their names, which they
 * compare without regard to case and blanks (RFC 5280, section 7.1). Error: `already-exists`.
 */
export async function refuseSameSubject(store: AuthorityStore, subject: string): Promise<void> {
  const wanted = foldedSubject(subject);
  if (!(await store.subjects()).some((other) => foldedSubject(other) === wanted)) return;
  // Which one it is, is not for everybody who may make CAs in a folder of his own.
  throw new KeyreeveError('already-exists', 'There is a CA of this subject already.', {
    hint: 'Choose another subject. The CAs that you may see: keyreeve ca list',
  });
}
