import { generateKeyPair, type KeyObject, X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { type GeneralName, parseCertificate } from '../../x509/x509.ts';
import type { CertificateNames } from './certificate-names.ts';
import { generalNames, issueCaCertificate, issueServerCertificate } from './issue-certificate.ts';
import { type ServerIdentity, spkiDigest, type TlsSealer, TlsStore } from './tls-store.ts';

export { certificateNames } from './certificate-names.ts';
export { openTicketKeys } from './ticket-keys.ts';
export { createTlsExpiry } from './tls-expiry.ts';

const caValidityDays = 10 * 365;
const serverValidityDays = 90;
/** Clocks of callers may be behind ours. */
const backdatedSeconds = 3600;
const dayMilliseconds = 86_400_000;
const generateKeyPairAsync = promisify(generateKeyPair);

export interface SystemTlsOptions {
  /** For certificates and the sealed key of the server; all of it can be made again. */
  readonly folder: string;
  /** The private key of the CA, on P-256. Certificates are made again from the same key, so that
   * what is pinned to it holds. */
  readonly caKey: () => Promise<KeyObject>;
  readonly sealer: TlsSealer;
  readonly names: CertificateNames;
  readonly clock: Clock;
}

/** What a TLS server takes, as `tls.createSecureContext` reads it. */
export interface TlsOptions {
  readonly key: string;
  /** The certificate of the server, then that of the CA: callers pin the latter's key. */
  readonly cert: string;
}

/**
 * The certificates of the service's own HTTPS: a small CA (`system/tls`), apart from those that
 * users make, and one server certificate.
 */
export interface SystemTls {
  readonly options: TlsOptions;
  readonly caPem: string;
  /** SHA-256 of the CA's public key (SPKI), hexadecimal. */
  readonly caFingerprint: string;
  /** When the certificate of the server ends, milliseconds since 1970. */
  readonly expiresAt: number;
  /** Makes what is due anew. True where `options` have changed. */
  renewIfDue(): Promise<boolean>;
}

/**
 * Takes the certificates from the folder, and makes those that are missing, damaged, due, or for
 * other names. Errors: `lax-mode`; `internal` where the key of the CA is not on P-256.
 */
export async function openSystemTls(options: SystemTlsOptions): Promise<SystemTls> {
  const store = new TlsStore(options.folder, options.sealer);
  let state = await settle(options, store);
  return {
    get options() {
      return state.options;
    },
    get caPem() {
      return state.caPem;
    },
    get caFingerprint() {
      return state.caFingerprint;
    },
    get expiresAt() {
      return state.expiresAt;
    },
    async renewIfDue() {
      const before = state.options.cert;
      state = await settle(options, store);
      return state.options.cert !== before;
    },
  };
}

type State = Omit<SystemTls, 'renewIfDue'>;

async function settle(options: SystemTlsOptions, store: TlsStore): Promise<State> {
  const caKey = await options.caKey();
  if (caKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1' || caKey.type !== 'private') {
    throw new KeyreeveError('internal', 'The key system/tls is not a private key on P-256.');
  }
  const caFingerprint = spkiDigest(caKey);
  const caName = `Keyreeve system/tls ${caFingerprint.slice(0, 16)}`;
  const now = options.clock.now();

  let ca = store.loadCa(caKey);
  if (ca === undefined || isDue(ca.certificate, now)) {
    const pem = await issueCaCertificate(caName, caKey, validity(now, caValidityDays));
    store.storeCa(pem);
    ca = { pem, certificate: new X509Certificate(pem) };
  }

  let server = store.loadServer(ca.certificate);
  if (
    server === undefined ||
    isDue(server.certificate, now) ||
    !hasNames(server.certificate, options.names)
  ) {
    server = await makeServer(options, caKey, caName, now);
    store.storeServer(server.pem, server.key);
  }
  return {
    // TLS takes the key as text; it lives as long as the server needs it.
    options: {
      key: server.key.export({ type: 'pkcs8', format: 'pem' }) as string,
      cert: server.pem + ca.pem,
    },
    caPem: ca.pem,
    caFingerprint,
    expiresAt: server.certificate.validToDate.getTime(),
  };
}

async function makeServer(
  { names }: SystemTlsOptions,
  caKey: KeyObject,
  caName: string,
  now: number,
): Promise<ServerIdentity> {
  const { privateKey } = await generateKeyPairAsync('ec', { namedCurve: 'P-256' });
  const period = validity(now, serverValidityDays);
  const pem = await issueServerCertificate(names, privateKey, caKey, caName, period);
  return { pem, certificate: new X509Certificate(pem), key: privateKey };
}

/** Whole seconds, as certificates have them. */
function validity(now: number, days: number): { notBefore: number; notAfter: number } {
  const second = Math.floor(now / 1000) * 1000;
  return {
    notBefore: second - backdatedSeconds * 1000,
    notAfter: second + days * dayMilliseconds,
  };
}

/** A third or less of its time is left, or it is not valid yet because a clock went back. */
function isDue(certificate: X509Certificate, now: number): boolean {
  const start = certificate.validFromDate.getTime();
  const end = certificate.validToDate.getTime();
  return now < start || end - now <= (end - start) / 3;
}

function hasNames({ raw }: X509Certificate, names: CertificateNames): boolean {
  const text = ({ kind, value }: GeneralName) => `${kind}:${value}`;
  const found = new Set(parseCertificate(raw).extensions.subjectAltNames?.map(text));
  const wanted = generalNames(names).map(text);
  return found.size === wanted.length && wanted.every((name) => found.has(name));
}
