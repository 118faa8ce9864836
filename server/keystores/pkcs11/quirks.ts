import type { AlgorithmName } from '../../../api/algorithms.ts';
import type { TokenFacts } from './protocol.ts';

/** In what a module differs from the standard, or from what its mechanism list promises. */
export interface Quirks {
  /** Whether it is a program and no device: its keys are guarded by files alone. */
  readonly isSoftware: boolean;
  /**
   * Who takes the OAEP padding off: the token, or this process after a raw decryption (a token
   * that knows OAEP with SHA-1 alone).
   */
  readonly oaep: 'token' | 'outside';
  /** How CKA_EC_PARAMS names Ed25519: by its OID, or as the printable string of PKCS #11 v3.0. */
  readonly edwardsName: 'oid' | 'string';
  /** Whether ECDH takes the peer's point as it is, or as an OCTET STRING in DER. */
  readonly ecdhPoint: 'plain' | 'der';
  /**
   * What CKM_AES_KEY_WRAP_PAD is: RFC 5649, as in PKCS #11 v2.40, or PKCS #7 padding, as v3.0 has
   * it beside CKM_AES_KEY_WRAP_KWP.
   */
  readonly keyWrapPad: 'kwp' | 'pkcs7';
  /** Algorithms whose keys it does not unwrap, although it unwraps others. */
  readonly notImported: readonly AlgorithmName[];
  /** Whether it reads the list of its objects once: what others make needs a new process. */
  readonly readsObjectsOnce: boolean;
  /** Mechanisms that are listed and do not do what the product needs of them. */
  readonly unusable: readonly number[];
  /** Algorithms whose mechanism is listed and that the token refuses all the same. */
  readonly withoutAlgorithms: readonly AlgorithmName[];
}

interface QuirksRow {
  readonly title: string;
  /** The start of what C_GetInfo or C_GetTokenInfo says; what is left out matches all. */
  readonly libraryManufacturer?: string;
  readonly manufacturer?: string;
  readonly model?: string;
  readonly quirks: Partial<Quirks>;
}

const standard: Quirks = {
  isSoftware: false,
  oaep: 'token',
  edwardsName: 'oid',
  ecdhPoint: 'plain',
  keyWrapPad: 'pkcs7',
  notImported: [],
  readsObjectsOnce: false,
  unusable: [],
  withoutAlgorithms: [],
};

/** The modules that are known, the first that matches counts. A new one is a row here. */
const rows: readonly QuirksRow[] = [
  {
    title: 'SoftHSM 2',
    libraryManufacturer: 'SoftHSM',
    quirks: { isSoftware: true, oaep: 'outside', keyWrapPad: 'kwp', notImported: ['ed25519'] },
  },
  {
    title: 'TPM 2.0 through tpm2-pkcs11',
    libraryManufacturer: 'tpm2-software',
    // It makes P-521 keys, and fails to sign with them (CKR_HOST_MEMORY).
    quirks: { readsObjectsOnce: true, withoutAlgorithms: ['p-521'] },
  },
];

/** What is known of this module and token. */
export function quirksOf(facts: TokenFacts): Quirks {
  const row = rows.find(
    (one) =>
      startsWith(facts.libraryManufacturer, one.libraryManufacturer) &&
      startsWith(facts.manufacturer, one.manufacturer) &&
      startsWith(facts.model, one.model),
  );
  return { ...standard, ...row?.quirks };
}

function startsWith(text: string, start: string | undefined): boolean {
  return start === undefined || text.startsWith(start);
}
