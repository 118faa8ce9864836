/** Finding a CA that is known by the hash of its key alone: the first contact with a service. */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { KeyreeveError } from '../server/base/errors.ts';
import { parseServiceUrl } from './api-client.ts';
import { transportFailure } from './transport.ts';

/** Less than half of a SHA-256 could be met by a key that someone searched for. */
const pinBytesMin = 16;
const contactTimeoutMilliseconds = 15_000;
/** A chain that is longer is no chain of ours. */
const chainLengthMax = 8;

/**
 * Connects without trust, sends nothing, and returns the CA certificate (PEM) whose public key has
 * the pinned hash and that signed the certificate of the service. Everything afterwards is to be
 * sent over connections that trust this CA alone. `pin` is the SHA-256 of the SPKI or its first half.
 * Throws `tls-untrusted` where the service shows another CA, `unreachable` where none answers.
 */
export async function fetchPinnedCa(url: string, pin: Uint8Array): Promise<string> {
  const base = parseServiceUrl(url);
  const chain = await fetchChain(base);
  return findPinnedCa(chain, pin, base.hostname, new Date());
}

/** The same for a chain at hand, the certificate of the service first. */
export function findPinnedCa(
  chain: readonly X509Certificate[],
  pin: Uint8Array,
  hostname: string,
  now: Date,
): string {
  const [leaf] = chain;
  const ca = chain.find((certificate) => hasPin(certificate, pin));
  if (leaf === undefined || ca === undefined) {
    throw untrusted('it shows another CA than the login code names', loginAgain);
  }
  if (!ca.ca || !ca.verify(ca.publicKey)) {
    throw untrusted('the CA that the login code names is not one', loginAgain);
  }
  if (leaf === ca || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    throw untrusted(
      'its certificate was not signed by the CA that the login code names',
      loginAgain,
    );
  }
  for (const certificate of [leaf, ca]) {
    if (now < certificate.validFromDate || now > certificate.validToDate) {
      throw untrusted('its certificate is not valid now', 'Check the clocks of both machines.');
    }
  }
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  if ((isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) === undefined) {
    throw untrusted(
      `its certificate is not for ${host}`,
      'Use a name or address that the certificate holds, or add this one to the configuration of the service.',
    );
  }
  return ca.toString();
}

/** SHA-256 of the public key (SPKI) of a certificate: what a login code pins. */
export function certificatePin(certificate: X509Certificate): Buffer {
  const spki = certificate.publicKey.export({ format: 'der', type: 'spki' });
  return createHash('sha256').update(spki).digest();
}

const loginAgain =
  'Make a new code on the host with: keyreeve login-code. If it fails again, someone may stand between you and the service.';

function hasPin(certificate: X509Certificate, pin: Uint8Array): boolean {
  const found = certificatePin(certificate);
  if (pin.length < pinBytesMin || pin.length > found.length) return false;
  return timingSafeEqual(found.subarray(0, pin.length), pin);
}

function fetchChain(base: URL): Promise<X509Certificate[]> {
  const host = base.hostname.replace(/^\[(.*)\]$/, '$1');
  return new Promise((resolve, reject) => {
    // Not verified here: what it shows is checked against the pin, and nothing is sent.
    const socket = connect({
      host,
      port: Number(base.port || 443),
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
      timeout: contactTimeoutMilliseconds,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const fail = (error: unknown) => {
      socket.destroy();
      reject(transportFailure(error, base).error);
    };
    socket.on('timeout', () => fail(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    socket.on('error', fail);
    socket.on('secureConnect', () => {
      try {
        resolve(chainOf(socket));
        socket.destroy();
      } catch (error) {
        fail(error);
      }
    });
  });
}

function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let current: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (current?.raw !== undefined && chain.length < chainLengthMax) {
    chain.push(new X509Certificate(current.raw));
    // A self-signed certificate is its own issuer.
    current = current.issuerCertificate === current ? undefined : current.issuerCertificate;
  }
  return chain;
}

function untrusted(why: string, hint: string): KeyreeveError {
  return new KeyreeveError('tls-untrusted', `the service cannot be trusted: ${why}`, { hint });
}
