/**
 * X.509: names, certificates, requests and CRLs, to bytes and from bytes (RFC 5280, RFC 2986). What
 * is read is held to strict DER; whether it may be used is for callers to say. Every parser throws a
 * KeyreeveError and nothing else, with `data.reason` out of `derReasons` where bytes are malformed.
 * Buffers in what was read are parts of the input: neither is written to. The rest of the folder is
 * private.
 */
export {
  type CertificateBody,
  encodeTbsCertificate,
  parseCertificate,
  parseTbsCertificate,
} from './certificate.ts';
export { type CrlLimits, encodeRevokedEntries, encodeTbsCrl, parseCrl } from './crl.ts';
export { decodeExtensions } from './extensions-read.ts';
export { encodeExtensions } from './extensions-write.ts';
export { formatGeneralName, parseConstraint, parseGeneralName } from './general-name-text.ts';
export { encodeGeneralNames } from './general-names.ts';
export type * from './model.ts';
export { formatName, parseName } from './name-text.ts';
export { decodeName, encodeName } from './names.ts';
export { certificatePem, decodePem, type PemLimits, requestFromText } from './pem.ts';
export { keyIdentifier, spkiAlgorithm } from './public-key.ts';
export { encodeRequest, parseRequest } from './request.ts';
export { assembleSigned, type Signed, verifySigned } from './signed.ts';
