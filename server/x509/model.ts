import type { SchemeName } from '../../api/algorithms.ts';
import type { KeyUsageName } from '../../api/profiles.ts';
import type { RevocationReason } from '../../api/revocation-reasons.ts';

/** One attribute of a name: its object identifier and its text. */
export interface NameAttribute {
  readonly type: string;
  readonly value: string;
}

/**
 * A distinguished name: relative names in the order of the encoding (the most significant, such as
 * the country, first), most of them with one attribute.
 */
export type DistinguishedName = readonly (readonly NameAttribute[])[];

/**
 * GeneralName (RFC 5280, section 4.2.1.6). `value`: a DNS name in lower case as it is encoded
 * (A-labels); an address as Node prints it, in constraints with `/` and the length of its prefix; a
 * mail address; a URI; a distinguished name after RFC 4514. `other` is any other kind: its DER in
 * hexadecimal.
 */
export interface GeneralName {
  readonly kind: 'dns' | 'ip' | 'email' | 'uri' | 'dn' | 'other';
  readonly value: string;
}

export interface NameConstraints {
  readonly permitted: readonly GeneralName[];
  readonly excluded: readonly GeneralName[];
}

/** An extension as it stands: identifier, flag, the contents of its octet string. */
export interface RawExtension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

/**
 * The extensions that the product writes and understands. Criticality is what RFC 5280 says:
 * basicConstraints of a CA, keyUsage and nameConstraints are critical; subjectAltNames are where
 * the subject is empty.
 */
export interface Extensions {
  readonly basicConstraints?: { readonly isAuthority: boolean; readonly pathLength?: number };
  readonly keyUsage?: readonly KeyUsageName[];
  /** Object identifiers. */
  readonly extendedKeyUsage?: { readonly usages: readonly string[]; readonly critical: boolean };
  readonly subjectAltNames?: readonly GeneralName[];
  readonly subjectKeyId?: Buffer;
  readonly authorityKeyId?: Buffer;
  readonly nameConstraints?: NameConstraints;
  /** Addresses of CRLs. */
  readonly crlDistributionPoints?: readonly string[];
  readonly authorityInfoAccess?: {
    readonly ocsp: readonly string[];
    readonly caIssuers: readonly string[];
  };
  /** Object identifiers of policies. */
  readonly certificatePolicies?: readonly string[];
  readonly ocspNoCheck?: true;
}

/** What a certificate says, before it is signed (TBSCertificate, RFC 5280, section 4.1.2). */
export interface CertificateFields {
  /** Up to 20 bytes, positive, without leading zero bytes. */
  readonly serial: Buffer;
  /** The scheme by which the issuer signs. */
  readonly scheme: SchemeName;
  /** Distinguished names as DER: the issuer's byte for byte as in its own certificate. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Milliseconds since 1970, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo as DER. */
  readonly spki: Buffer;
  readonly extensions: Extensions;
}

/** A certificate that was read. */
export interface Certificate extends Omit<CertificateFields, 'scheme'> {
  readonly der: Buffer;
  /** The bytes that are signed. */
  readonly tbs: Buffer;
  /** Undefined where the signature is by no scheme of ours. */
  readonly scheme: SchemeName | undefined;
  readonly signature: Buffer;
  readonly subjectName: DistinguishedName;
  readonly issuerName: DistinguishedName;
  /** All of them, understood or not. */
  readonly rawExtensions: readonly RawExtension[];
}

/** A certification request that was read (PKCS#10, RFC 2986). */
export interface CertificateRequest {
  readonly der: Buffer;
  readonly tbs: Buffer;
  readonly subject: Buffer;
  readonly subjectName: DistinguishedName;
  readonly spki: Buffer;
  readonly scheme: SchemeName | undefined;
  readonly signature: Buffer;
  /** Of the attribute extensionRequest (RFC 2985, section 5.4.2). */
  readonly extensions: Extensions;
  readonly rawExtensions: readonly RawExtension[];
}

export interface RevokedEntry {
  readonly serial: Buffer;
  readonly revokedAt: number;
  /** `unspecified` is left out of the entry (RFC 5280, section 5.3.1). */
  readonly reason: RevocationReason;
  readonly invalidFrom?: number | undefined;
}

/** What a CRL says (TBSCertList, version 2, RFC 5280, section 5.1.2). */
export interface CrlFields {
  readonly scheme: SchemeName;
  readonly issuer: Buffer;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly authorityKeyId: Buffer;
  readonly number: bigint;
}

/** A CRL that was read. Those of others may have no number, no key identifier and no end. */
export interface Crl {
  readonly issuer: Buffer;
  readonly issuerName: DistinguishedName;
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
  readonly authorityKeyId: Buffer | undefined;
  readonly number: bigint | undefined;
  /** All of them, understood or not. */
  readonly rawExtensions: readonly RawExtension[];
  readonly der: Buffer;
  readonly tbs: Buffer;
  readonly scheme: SchemeName | undefined;
  readonly signature: Buffer;
  readonly entries: readonly RevokedEntry[];
}
