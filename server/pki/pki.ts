export { type CertificateNames, certificateNames, type NamesOf } from './certificate-names.ts';
export {
  openSystemTls,
  type SystemTls,
  type SystemTlsOptions,
  type TlsOptions,
} from './system-tls.ts';
export type { TlsSealer } from './tls-store.ts';
