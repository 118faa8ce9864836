import type { SchemeName } from '../../../api/algorithms.ts';
import type { CaSettings } from '../../../api/routes/authorities.ts';
import type {
  Certificate,
  DistinguishedName,
  Extensions,
  GeneralName,
  NameConstraints,
  RawExtension,
} from '../../x509/x509.ts';

/** Where relying parties find what belongs to the issuer; what is undefined is left out. */
export interface Addresses {
  readonly crl?: string | undefined;
  readonly caIssuers?: string | undefined;
  readonly ocsp?: string | undefined;
}

/** The CA version that is to sign. */
export interface IssuerFacts {
  readonly certificate: Certificate;
  /** The issuer's certificate first, then those above it up to the root, as far as known. */
  readonly chain: readonly Certificate[];
  readonly scheme: SchemeName;
  readonly settings: CaSettings;
  readonly addresses: Addresses;
}

/** The certificate is signed by the key that it certifies. */
export interface SelfIssuer {
  readonly self: true;
  readonly scheme: SchemeName;
}

/** What is asked for. */
export interface Wanted {
  readonly subject: DistinguishedName;
  readonly names: readonly GeneralName[];
  /** SubjectPublicKeyInfo as DER. */
  readonly spki: Buffer;
  /** From the moment of issuance; one of it and `notAfter`, the profile's where both are missing. */
  readonly validitySeconds?: number | undefined;
  /** The last moment of validity: milliseconds since 1970, cut to whole seconds. */
  readonly notAfter?: number | undefined;
  readonly pathLength?: number | undefined;
  readonly nameConstraints?: NameConstraints | undefined;
  /**
   * Those of the request. What goes beyond the profile is refused; path length and name
   * constraints count where the members above are missing; the rest is not looked at.
   */
  readonly extensions?: Extensions | undefined;
  /** All of the request's extensions: a critical one that nobody here understands is refused. */
  readonly rawExtensions?: readonly RawExtension[] | undefined;
}

export interface PlanContext {
  /** Milliseconds since 1970. */
  readonly now: number;
  /** As `newSerial` makes them. */
  readonly serial: Buffer;
}
