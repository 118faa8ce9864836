/** Extensions that are read and written (RFC 5280, section 4.2; RFC 6960, section 4.2.2.2.1). */
export const extensionIdentifiers = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltNames: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reason: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  nameConstraints: '2.5.29.30',
  crlDistributionPoints: '2.5.29.31',
  certificatePolicies: '2.5.29.32',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  authorityInfoAccess: '1.3.6.1.5.5.7.1.1',
  ocspNoCheck: '1.3.6.1.5.5.7.48.1.5',
} as const;

/** Access methods of authorityInfoAccess (RFC 5280, section 4.2.2.1). */
export const accessMethods = {
  ocsp: '1.3.6.1.5.5.7.48.1',
  caIssuers: '1.3.6.1.5.5.7.48.2',
} as const;

/** Attributes of a request that hold extensions (RFC 2985, 5.4.2; the older one of Microsoft). */
export const extensionRequestAttributes: readonly string[] = [
  '1.2.840.113549.1.9.14',
  '1.3.6.1.4.1.311.2.1.14',
];
