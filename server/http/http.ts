import { isUtf8 } from 'node:buffer';
import { STATUS_CODES } from 'node:http';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
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
import { Freshness, type FreshnessParts } from './freshness.ts';
import { defaultLimits, type HttpLimits, parameterLengthMax } from './limits.ts';
import { closeServer, listen } from './listening.ts';
import { type MetricSource, Metrics } from './metrics.ts';
import { notFoundError } from './not-found.ts';
import { type Health, pagePaths, registerPages } from './pages.ts';
import { asKeyreeveError, problemOf } from './problem.ts';
import {
  clientCertificates,
  secureContextOptions,
  type TlsMaterial,
  type TlsState,
} from './tls.ts';
import { VisitorLimit } from './visitor-limit.ts';

export type { Authenticate } from './api-routes.ts';
export type { FreshnessParts } from './freshness.ts';
export { defaultLimits, type HttpLimits } from './limits.ts';
export type { MetricSource } from './metrics.ts';
export type { Health } from './pages.ts';
export {
  createPublicFileServer,
  type PublicFileServer,
} from './public-files.ts';
export type { TlsMaterial, TlsState } from './tls.ts';

/** How often it is looked whether the keys of session tickets are others. */
const ticketCheckMilliseconds = 60_000;

export interface HttpServerOptions {
  /** One for every route of the API; one that is missing is an error at start. */
  readonly handlers: Handlers<RouteId>;
  readonly authenticate: Authenticate;
  /** Where several nodes serve one database; a server without it answers by what it knows. */
  readonly freshness?: FreshnessParts;
  /** Asked for `/metrics` alone: the features authorise what they do. */
  readonly authorise: Authorise;
  readonly tls: TlsMaterial;
  /**
   * Certificates (PEM) of the CAs whose client certificates log in: named to clients, so that they
   * choose a fitting one. Where there are none, the CA of the server itself is named.
   */
  readonly clientAuthorities?: readonly string[];
  /** The keys of session tickets at the moment (48 octets), where nodes share them. */
  readonly ticketKeys?: () => Buffer;
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
  /** New certificates for new connections; those that stand are kept. What is left out stays. */
  reloadTls(change: Partial<TlsState>): void;
  /** Requests under way. */
  readonly requestsInFlight: number;
  /** Takes no more, lets what is under way end within its time, then cuts the rest. */
  close(): Promise<void>;
}

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
    freshness: options.freshness && new Freshness(options.freshness),
    slowRequestSeconds: limits.slowRequestSeconds,
    checkAnswers: options.checkAnswers ?? false,
    closing: () => isClosing,
  };
  const unmatched = metrics.route('none');
  const begin = (request: FastifyRequest) => {
    request.exchange = new Exchange(parts, request.raw, 'none', unmatched);
  };
  let tls: TlsState = {
    ...{ tls: options.tls, clientAuthorities: options.clientAuthorities ?? [] },
    ...(options.ticketKeys === undefined ? {} : { ticketKeys: options.ticketKeys() }),
  };
  const app = createApp(tls, limits, begin);
  registerApiRoutes(app, parts);
  registerPages(app, parts);
  registerNotFound(app, begin);
  await app.ready();
  const server = app.server as unknown as Server;
  server.maxConnections = limits.connectionsMax;
  const reloadTls = (change: Partial<TlsState>) => {
    const next = { ...tls, ...change };
    server.setSecureContext(secureContextOptions(next));
    tls = next;
  };
  const ticketTimer = setInterval(() => {
    const ticketKeys = options.ticketKeys?.();
    if (ticketKeys !== undefined && ticketKeys !== tls.ticketKeys) reloadTls({ ticketKeys });
  }, ticketCheckMilliseconds).unref();
  return {
    get requestsInFlight() {
      return admission.requests;
    },
    listen: (at) => listen(server, { ...at, scheme: 'https', setting: 'KEYREEVE_PORT', log }),
    reloadTls,
    async close() {
      isClosing = true;
      clearInterval(ticketTimer);
      await closeServer(server, limits.drainSeconds, limits.closeTimeoutSeconds);
      await app.close();
    },
  };
}

function createApp(
  tls: TlsState,
  limits: HttpLimits,
  begin: (request: FastifyRequest) => void,
): FastifyInstance {
  const app = fastify({
    https: {
      ...secureContextOptions(tls),
      ...clientCertificates,
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
