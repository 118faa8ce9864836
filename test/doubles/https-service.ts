import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { tryRun } from '../tools.ts';

export interface CertificateDouble {
  readonly pem: string;
  readonly keyPem: string;
  readonly x509: X509Certificate;
}

/** A certificate authority for tests, made by openssl. */
export function makeCa(name = 'Test CA'): CertificateDouble {
  return makeCertificate(['-subj', `/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign']);
}

export const defaultNames = 'DNS:localhost,IP:127.0.0.1';

/** A server certificate of that authority for these names (openssl's subjectAltName). */
export function makeLeaf(ca: CertificateDouble, names = defaultNames): CertificateDouble {
  return makeCertificate(
    [
      '-subj',
      '/CN=service',
      '-addext',
      `subjectAltName=${names}`,
      '-addext',
      'basicConstraints=CA:FALSE',
    ],
    ca,
  );
}

function makeCertificate(
  options: readonly string[],
  issuer?: CertificateDouble,
): CertificateDouble {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-certificate-'));
  const at = (name: string) => join(folder, name);
  try {
    if (issuer !== undefined) {
      writeFileSync(at('ca.pem'), issuer.pem);
      writeFileSync(at('ca.key'), issuer.keyPem);
    }
    const signing = issuer === undefined ? [] : ['-CA', at('ca.pem'), '-CAkey', at('ca.key')];
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    const files = ['-nodes', '-days', '2', '-keyout', at('key.pem'), '-out', at('cert.pem')];
    // Its output is of no interest unless it fails.
    const made = tryRun('openssl', [...request, ...files, ...signing, ...options]);
    if (made.status !== 0) throw new Error(`openssl: ${made.stderr ?? made.error}`);
    const pem = readFileSync(at('cert.pem'), 'utf8');
    return { pem, keyPem: readFileSync(at('key.pem'), 'utf8'), x509: new X509Certificate(pem) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export interface Received {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export type Answer = (request: Received, response: ServerResponse) => void;

export interface HttpsService {
  readonly url: string;
  readonly ca: CertificateDouble;
  readonly requests: Received[];
  /** What it answers from now on. */
  answer: Answer;
}

/** A real HTTPS server on the loopback that answers what the test says, and ends with the test. */
export async function startHttpsService(
  context: TestContext,
  answer: Answer,
  options: { ca?: CertificateDouble; names?: string } = {},
): Promise<HttpsService> {
  const ca = options.ca ?? makeCa();
  const leaf = makeLeaf(ca, options.names);
  const service = { url: '', ca, requests: [] as Received[], answer };
  const server = createServer(
    { key: leaf.keyPem, cert: `${leaf.pem}\n${ca.pem}` },
    (request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const received = { method, url, headers, body: Buffer.concat(pieces).toString('utf8') };
        service.requests.push(received);
        service.answer(received, response);
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  service.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return service;
}

/** Answers JSON. */
export function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

/** Answers a problem document. */
export function problem(
  response: ServerResponse,
  status: number,
  document: Record<string, unknown>,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/problem+json', ...headers });
  response.end(JSON.stringify({ status, ...document }));
}
