import type { Addresses } from '../rules/rules.ts';

/** Digits of a key's fingerprint that name its files: enough that no two keys share them. */
const nameDigits = 40;

/** Where the CRL of a version of a CA lies, below the base address. */
export function crlPath(keyFingerprint: string): string {
  return `/crl/${keyFingerprint.slice(0, nameDigits)}.crl`;
}

/** Where the certificate of that version lies. */
export function certificatePath(keyFingerprint: string): string {
  return `/ca/${keyFingerprint.slice(0, nameDigits)}.crt`;
}

/**
 * The addresses that certificates carry, by the SHA-256 of the issuer's public key; none without a
 * base address. A name by the key holds for as long as the key: a renewed certificate lies at the
 * same place, another key at another.
 */
export function addressesUnder(base: string | undefined): (keyFingerprint: string) => Addresses {
  if (base === undefined) return () => ({});
  return (keyFingerprint) => ({
    crl: base + crlPath(keyFingerprint),
    caIssuers: base + certificatePath(keyFingerprint),
  });
}

/** What whoever makes a CA or a certificate should know about its addresses. */
export function addressNotes(base: string | undefined): readonly string[] {
  if (base !== undefined) return [];
  return [
    'Certificates carry no addresses of CRLs and CA certificates, since KEYREEVE_PKI_URL is not set.',
  ];
}
