/**
 * Certificates: how they are signed and issued, searched, revoked and forgotten. The rest of the
 * folder is private.
 */
export { type CertificateHandlersOptions, createCertificateHandlers } from './handlers.ts';
export { settleCertificates } from './lost-certificates.ts';
export { purgeExpired, purgeIntentKind } from './purge.ts';
export { CertificateSigner, type CertificateSignerOptions } from './signer.ts';
