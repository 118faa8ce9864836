/** A file that anybody may have, such as a CRL or the certificate of a CA. */
export interface PublicFile {
  readonly contentType: string;
  /** Shared by all answers: never changed. */
  readonly bytes: Uint8Array;
  /** A strong validator (RFC 9110, section 8.8.3), without its quotes. */
  readonly tag: string;
  /** Milliseconds since 1970. */
  readonly modifiedAt: number;
  /** When it is of no use any more, such as nextUpdate of a CRL. */
  readonly expiresAt: number;
}
