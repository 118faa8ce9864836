/** Tables of certificate authorities and of what they issued; see `schema.ts`. */
export interface CertificateSchema {
  /** A certificate authority: a key of purpose `ca` with its name, and how it is run. */
  ca: {
    key_id: string;
    /** The distinguished name as DER, byte for byte as in its certificates. */
    subject: Uint8Array;
    /** The same as RFC 4514 writes it. */
    subject_text: string;
    /** The subject as names are compared; null for CAs of before there were nodes. */
    subject_folded: string | null;
    /** The CA that certifies this one; null for roots and where that CA is not ours. */
    parent_id: string | null;
    /** importing: what it issued elsewhere is being taken in; it signs nothing meanwhile. */
    state: string;
    settings_json: string;
    created_at: number;
    revision: number;
  };
  /** Every certificate that a CA of ours has issued, and those of our CAs. */
  certificate: {
    /** Sorts by the time of creation. */
    id: string;
    /** The CA that issued it; null where that is none of ours. */
    ca_id: string | null;
    ca_version: number | null;
    /** Hexadecimal, lower case, two digits to a byte, without leading zero bytes. */
    serial: string;
    /** RFC 4514. */
    subject: string;
    profile: string;
    not_before: number;
    not_after: number;
    /** SHA-256 of the DER; null where the certificate itself is not known. */
    fingerprint: string | null;
    /** SHA-256 of the SPKI. */
    key_fingerprint: string | null;
    /** The key of ours that it certifies. */
    key_id: string | null;
    key_version: number | null;
    /** Subject alternative names, each as `dns:www.example.org`. */
    names_json: string;
    created_at: number;
    created_by: string;
    revoked_at: number | null;
    /** A reason of RFC 5280, section 5.3.1, by its name. */
    reason: string | null;
    /** Invalidity date, section 5.3.2. */
    invalid_from: number | null;
    /** Null where only the serial number is known (taken over from a list, or lost in a crash). */
    der: Uint8Array | null;
  };
  /** What certificates are searched by: names with the labels of domains turned round, `aboveTerm`. */
  certificate_name: { term: string; certificate_id: string };
  /** What a CA has for each version of its key. */
  ca_version: {
    key_id: string;
    version: number;
    /** The certificate that goes into chains. */
    certificate_id: string;
    /** Number of the newest CRL; 0 before the first. */
    crl_number: number;
    /** When the next CRL has to be out; null once this version signs none any more. */
    crl_due_at: number | null;
    crl_published_at: number | null;
    /** The node that makes the next CRL now; null where none is being made. */
    crl_claimed_by: string | null;
    /** Until then no other node begins one. */
    crl_claimed_until: number | null;
    /** The end of its certificate of which people were told. */
    expiry_told: number | null;
  };
  /** The newest CRLs of each version. */
  crl: {
    key_id: string;
    version: number;
    number: number;
    this_update: number;
    next_update: number;
    entries: number;
    der: Uint8Array;
  };
  /** Public keys that no certificate may be issued for. */
  blocked_key: {
    /** SHA-256 of the SPKI. */
    fingerprint: string;
    reason: string;
    created_at: number;
    created_by: string;
  };
  /** Profiles that operators made, beside those of `api/profiles.ts`. */
  certificate_profile: {
    name: string;
    body_json: string;
    created_at: number;
    created_by: string;
    revision: number;
  };
  /** Which client certificates log in, and as whom. */
  certificate_binding: {
    id: string;
    principal_id: string;
    ca_id: string;
    /** dns, email, uri, subject, key or certificate. */
    kind: string;
    value: string;
    created_at: number;
    created_by: string;
  };
}
