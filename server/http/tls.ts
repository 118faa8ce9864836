import { constants, hash } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** Key and certificates of the server as PEM: its own, then that of its CA. */
export interface TlsMaterial {
  readonly key: string;
  readonly cert: string;
}

/** What new connections are made with. */
export interface TlsState {
  readonly tls: TlsMaterial;
  /** Certificates (PEM) of the CAs whose client certificates log in. */
  readonly clientAuthorities: readonly string[];
  /** What session tickets are sealed by (48 octets); random ones of this process where left out. */
  readonly ticketKeys?: Buffer;
}

/**
 * TLS 1.2 with forward secrecy and authenticated ciphers for the server's ECDSA key, and TLS 1.3
 * (RFC 9325, section 4.2).
 */
const ciphers = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
].join(':');

const sessionIdContext = 'keyreeve';
const certificatePattern = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Client certificates are asked for and none is required: the handshake proves that the peer has
 * the key, and everything else is decided on each request.
 */
export const clientCertificates = { requestCert: true, rejectUnauthorized: false } as const;

/** The options of a secure context. */
export function secureContextOptions({ tls, clientAuthorities, ticketKeys }: TlsState) {
  return {
    ...tls,
    ciphers,
    ...(ticketKeys === undefined ? {} : { ticketKeys }),
    // By default it comes from the arguments of the process: other nodes would refuse its sessions.
    sessionIdContext,
    minVersion: 'TLSv1.2',
    // A second handshake in a connection (TLS 1.2) could put another certificate in the place of
    // the one that is remembered for it.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
    // Their subjects are the issuers that the server says it takes (RFC 8446, section 4.2.4). An
    // empty list would mean any, and browsers would ask everybody to choose a certificate: where no
    // CA logs anybody in, the server names its own, which certifies no clients.
    ca: clientAuthorities.length > 0 ? [...clientAuthorities] : ownAuthority(tls),
  } as const;
}

function ownAuthority({ cert }: TlsMaterial): string[] {
  return (cert.match(certificatePattern) ?? []).slice(-1);
}

/**
 * By connection, so that each certificate is read and hashed once; null where there is none. It
 * never changes within a connection, and goes with it.
 */
const fingerprints = new WeakMap<Socket, string | null>();

/**
 * SHA-256 (hexadecimal) of the DER of the client certificate of this connection, whose key the
 * peer has proven to have, in this connection or in the one that this one resumes. Nothing else of
 * it has been checked.
 */
export function clientCertificateOf(socket: Socket): string | undefined {
  let fingerprint = fingerprints.get(socket);
  if (fingerprint === undefined) {
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    fingerprint = certificate === undefined ? null : hash('sha256', certificate.raw, 'hex');
    fingerprints.set(socket, fingerprint);
  }
  return fingerprint ?? undefined;
}
