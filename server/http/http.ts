import { isUtf8 } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { type RouteId, routes } from '../../api/routes.ts';
import type { Authorise } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import { Admission } from './admission.ts';
import { type Authenticate, registerApiRoutes } from './api-routes.ts';
import { Exchange, refuse } from './exchange.ts';
import { defaultLimits, type HttpLimits, parameterLengthMax } from './limits.ts';
import { type MetricSource, Metrics } from './metrics.ts';
import { notFoundError } from './not-found.ts';
import { type Health, pagePaths, registerPages } from './pages.ts';
import { asKeyreeveError, problemOf } from './problem.ts';
import { VisitorLimit } from './visitor-limit.ts';

export type { Authenticate } from './api-routes.ts';
export { defaultLimits, type HttpLimits } from './limits.ts';
export type { MetricSample, MetricSource, MetricValue } from './metrics.ts';
export type { Health } from './pages.ts';

/** Key and certificates of the server as PEM. */
export interface TlsMaterial {
  readonly key: string;
  readonly cert: string;
}

export interface HttpServerOptions {
  /** One for every route of the API; one that is missing is an error at start. */
  readonly handlers: Handlers<RouteId>;
  readonly authenticate: Authenticate;
  /** Asked for `/metrics` alone: the features authorise what they do. */
  readonly authorise: Authorise;
  readonly tls: TlsMaterial;
  readonly health: () => Health;
  readonly metrics?: MetricSource;
  readonly log: Logger;
  readonly clock: Clock;
  /** Version of the product. */
  readonly version: string;
  readonly limits?: Partial<HttpLimits>;
  /** Holds every answer against its schema, which costs time: for tests. */
  readonly checkAnswers?: boolean;
}

export interface HttpServer {
  /** Error: `config-invalid` where the address cannot be had. */
  listen(at: { address: string; port: number }): Promise<{ url: string; port: number }>;
  /** New certificates for new connections; those that stand are kept. */
  reloadTls(tls: TlsMaterial): void;
  /** Requests under way. */
  readonly requestsInFlight: number;
  /** Takes no more, lets what is under way end within its time, then cuts the rest. */
  close(): Promise<void>;
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
const closeSweepMilliseconds = 50;
const tlsSettings = { minVersion: 'TLSv1.2', ciphers } as const;

/** The native API over HTTPS. Nothing is listened on before `listen`. */
export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const limits: HttpLimits = { ...defaultLimits, ...options.limits };
  const { clock, log } = options;
  const admission = new Admission(limits.requestsInFlightMax, limits.bodyBytesInFlightMax);
  const metrics = new Metrics(options.metrics ?? (() => []), () => admission.requests);
  const visitors = new VisitorLimit({
    requestsPerSecond: limits.visitorRequestsPerSecond,
    burstRequests: limits.visitorBurstRequests,
    addressesMax: limits.visitorAddressesMax,
    clock,
  });
  let isClosing = false;
  const parts = {
    ...options,
    ...{ limits, admission, metrics, visitors },
    slowRequestSeconds: limits.slowRequestSeconds,
    checkAnswers: options.checkAnswers ?? false,
    closing: () => isClosing,
  };
  const unmatched = metrics.route('none');
  const begin = (request: FastifyRequest) => {
    request.exchange = new Exchange(parts, request.raw, 'none', unmatched);
  };
  const app = createApp(options.tls, limits, begin);
  registerApiRoutes(app, parts);
  registerPages(app, parts);
  registerNotFound(app, begin);
  await app.ready();
  const server = app.server as unknown as Server;
  server.maxConnections = limits.connectionsMax;
  return {
    get requestsInFlight() {
      return admission.requests;
    },
    listen: (at) => listen(server, at, log),
    reloadTls: (tls) => server.setSecureContext({ ...tls, ...tlsSettings }),
    async close() {
      isClosing = true;
      await closeServer(server, limits.closeTimeoutSeconds);
      await app.close();
    },
  };
}

/** Connections end as their last answer has left; what takes too long is cut. */
async function closeServer(server: Server, timeoutSeconds: number): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), closeSweepMilliseconds);
  const cut = setTimeout(() => server.closeAllConnections(), timeoutSeconds * 1000);
  await new Promise<void>((resolve) => server.close(() => resolve()));
  clearInterval(sweep);
  clearTimeout(cut);
}

function createApp(
  tls: TlsMaterial,
  limits: HttpLimits,
  begin: (request: FastifyRequest) => void,
): FastifyInstance {
  const app = fastify({
    https: {
      ...tls,
      ...tlsSettings,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: limits.handshakeTimeoutSeconds * 1000,
      headersTimeout: limits.headersTimeoutSeconds * 1000,
      connectionsCheckingInterval: limits.timeoutCheckSeconds * 1000,
      maxHeaderSize: limits.headerBytesMax,
    },
    requestTimeout: limits.requestTimeoutSeconds * 1000,
    keepAliveTimeout: limits.keepAliveTimeoutSeconds * 1000,
    connectionTimeout: limits.silenceTimeoutSeconds * 1000,
    bodyLimit: limits.bodyBytesMax,
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    routerOptions: { maxParamLength: parameterLengthMax },
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => {
      begin(request as unknown as FastifyRequest);
      refuse(error, request as unknown as FastifyRequest, reply as never);
    },
  }) as unknown as FastifyInstance;
  app.decorateRequest('exchange', null);
  app.setErrorHandler(refuse);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      done(null, parseJson(request, body as Buffer));
    } catch (error) {
      done(error as Error);
    }
  });
  return app;
}

/** An empty body counts as none. */
function parseJson({ headers }: FastifyRequest, body: Buffer): unknown {
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new KeyreeveError('unsupported-media-type', 'Compressed bodies are not taken.');
  }
  if (body.length === 0) return undefined;
  if (!isUtf8(body)) throw new KeyreeveError('invalid-request', 'The body is not UTF-8.');
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    // The reason of the parser repeats the text, which can hold secrets.
    throw new KeyreeveError('invalid-request', 'The body is not JSON.');
  }
}

/** Unknown paths and methods are refused before a body is read. */
function registerNotFound(app: FastifyInstance, begin: (request: FastifyRequest) => void): void {
  const errorOf = notFoundError([...Object.values(routes), ...pagePaths]);
  const handler = (request: FastifyRequest): never => {
    throw errorOf(request);
  };
  app.setNotFoundHandler((request) => {
    if (request.exchange === null) begin(request);
    return handler(request);
  });
  app.route({
    method: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url: '/*',
    onRequest: (request, _reply, done) => {
      begin(request);
      done(errorOf(request));
    },
    handler,
  });
}

/** What Node could not read as a request. There may be no whole request to answer to. */
function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const known = asKeyreeveError(error);
  const problem = problemOf(
    known.code === 'internal'
      ? new KeyreeveError('invalid-request', 'This is no valid HTTP/1.1 request.')
      : known,
    newId('req'),
  );
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\n` +
      'Content-Type: application/problem+json\r\nCache-Control: no-store\r\nConnection: close\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

const listenHints: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Another program listens there: stop it, or set KEYREEVE_PORT.',
  EACCES: 'Ports below 1024 need a right of their own: set KEYREEVE_PORT.',
  EADDRNOTAVAIL: 'This machine has no such address: set KEYREEVE_LISTEN.',
};

function listen(
  server: Server,
  at: { address: string; port: number },
  log: Logger,
): Promise<{ url: string; port: number }> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => {
      const hint = listenHints[error.code ?? ''];
      reject(
        new KeyreeveError(
          'config-invalid',
          `The service cannot listen on ${at.address}, port ${at.port} (${error.code}).`,
          { cause: error, ...(hint === undefined ? {} : { hint }) },
        ),
      );
    };
    server.once('error', failed);
    server.listen(at.port, at.address, () => {
      server.removeListener('error', failed);
      server.on('error', (error) => log.error({ err: error }, 'the server failed'));
      const { port } = server.address() as AddressInfo;
      resolve({ port, url: `https://${urlHost(at.address)}:${port}` });
    });
  });
}

/** A host that a caller on this machine can use. */
function urlHost(address: string): string {
  if (address === '0.0.0.0' || address === '::') return 'localhost';
  return address.includes(':') ? `[${address}]` : address;
}
