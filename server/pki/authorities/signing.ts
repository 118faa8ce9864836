import type { Profile } from '../../../api/profiles.ts';
import { formatTime } from '../../base/clock.ts';
import type { Intend } from '../../commands/commands.ts';
import type { KeyRecord } from '../../keys/keys.ts';
import type { Step } from '../../storage/storage.ts';
import type { Certificate, CertificateFields } from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import type { CertificateRecord } from '../certificate-record.ts';

/** A certificate that was signed and has no row yet. */
export interface SignedCertificate {
  readonly certificate: Certificate;
  readonly record: CertificateRecord;
  /** Its rows, for the write of the outcome. */
  readonly steps: readonly Step[];
}

/** What is asked of whoever signs certificates: `CertificateSigner` of the folder `certificates`. */
export interface Signing {
  /** Signs by a version of a CA; `key` is the key of ours that is certified. */
  sign(
    request: {
      readonly authority: Authority;
      readonly version: AuthorityVersion;
      readonly profile: Profile;
      readonly fields: CertificateFields;
      readonly key?: { readonly id: string; readonly version: number };
      readonly createdBy: string;
      /** The issuer's certificate and those above it: none of them may be revoked. */
      readonly chain?: readonly Certificate[];
    },
    intend: Intend,
  ): Promise<SignedCertificate>;
  /**
   * Signs the certificate of a CA by the key that it certifies: version `version` of `key`, which
   * may have no row yet.
   */
  signSelf(
    request: {
      readonly key: KeyRecord;
      readonly version: number;
      readonly profile: Profile;
      readonly fields: CertificateFields;
      readonly createdBy: string;
    },
    intend: Intend,
  ): Promise<SignedCertificate>;
  /** What was signed and could not be stored is stored as revoked. */
  undo(made: SignedCertificate): Promise<void>;
}

/** What the record says of a certificate. */
export function certificateDetail({ certificate, record }: SignedCertificate) {
  return { serial: record.row.serial, notAfter: formatTime(certificate.notAfter) };
}
