import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Clock } from '../base/clock.ts';
import type { PublicFile } from '../base/public-file.ts';
import { closeServer, listen } from './listening.ts';

export interface PublicFilesOptions {
  /** What lies at a path, from memory. */
  readonly files: (path: string) => PublicFile | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits?: Partial<PublicFileLimits>;
}

export interface PublicFileServer {
  /** Error: `config-invalid` where the address cannot be had. */
  listen(at: { address: string; port: number }): Promise<{ url: string; port: number }>;
  close(): Promise<void>;
}

/** Anybody can connect: what one connection may cost is little. */
export const publicFileLimits = {
  headerBytesMax: 4096,
  headersMax: 50,
  connectionsMax: 1000,
  requestsPerConnectionMax: 100,
  /** For a request to arrive. */
  requestTimeoutSeconds: 5,
  keepAliveTimeoutSeconds: 5,
  /** A connection on which nothing moves. */
  silenceTimeoutSeconds: 20,
  /** For a whole answer to be fetched: a large CRL over a slow line. */
  answerTimeoutSeconds: 600,
  /** How often slow requests are looked for. */
  timeoutCheckSeconds: 2,
  drainSeconds: 0.3,
  closeTimeoutSeconds: 5,
  /** Caches ask again after this long: what was revoked must not hide in them until nextUpdate. */
  cacheSecondsMax: 300,
} as const;

export type PublicFileLimits = { readonly [Name in keyof typeof publicFileLimits]: number };

/**
 * The listener for plain HTTP: GET and HEAD of public files, and nothing else. What it serves is
 * signed by CAs, so that it needs no TLS (RFC 5280, section 8); it takes no bodies, knows no
 * callers, and its refusals say nothing but their status.
 */
export function createPublicFileServer(options: PublicFilesOptions): PublicFileServer {
  const limits: PublicFileLimits = { ...publicFileLimits, ...options.limits };
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.requestTimeoutSeconds * 1000,
      requestTimeout: limits.requestTimeoutSeconds * 1000,
      keepAliveTimeout: limits.keepAliveTimeoutSeconds * 1000,
      connectionsCheckingInterval: limits.timeoutCheckSeconds * 1000,
    },
    (request, response) => answer(options, limits, request, response),
  );
  server.maxHeadersCount = limits.headersMax;
  server.maxConnections = limits.connectionsMax;
  server.maxRequestsPerSocket = limits.requestsPerConnectionMax;
  server.timeout = limits.silenceTimeoutSeconds * 1000;
  server.on('checkContinue', (_request, response) => refuse(response, 417));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy();
    else socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  return {
    listen: (at) =>
      listen(server, {
        ...at,
        scheme: 'http',
        setting: 'KEYREEVE_HTTP_PORT',
        log: options.log,
      }),
    close: () => closeServer(server, limits.drainSeconds, limits.closeTimeoutSeconds),
  };
}

function answer(
  { files, clock }: PublicFilesOptions,
  limits: PublicFileLimits,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { method, headers } = request;
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) {
    refuse(response, 413);
    return;
  }
  if (method !== 'GET' && method !== 'HEAD') {
    refuse(response, 405, ['Allow', 'GET, HEAD']);
    return;
  }
  const file = files(pathOf(request.url ?? ''));
  if (file === undefined) {
    refuse(response, 404);
    return;
  }
  const late = setTimeout(() => response.destroy(), limits.answerTimeoutSeconds * 1000).unref();
  response.once('close', () => clearTimeout(late));
  const described = describe(file, clock.now(), limits);
  if (isKnown(request, file)) {
    response.writeHead(304, described);
    response.end();
    return;
  }
  response.writeHead(200, [
    ...described,
    ...['Content-Type', file.contentType, 'Content-Length', String(file.bytes.length)],
    ...['X-Content-Type-Options', 'nosniff'],
  ]);
  if (method === 'HEAD') response.end();
  else response.end(file.bytes);
}

/** Proxies name the whole address (RFC 9112, section 3.2.2). */
function pathOf(target: string): string {
  return target.startsWith('/') ? target : (URL.parse(target)?.pathname ?? '');
}

function describe(file: PublicFile, now: number, limits: PublicFileLimits): string[] {
  const left = Math.max(0, Math.floor((file.expiresAt - now) / 1000));
  return [
    ...['ETag', `"${file.tag}"`],
    ...['Last-Modified', new Date(file.modifiedAt).toUTCString()],
    ...['Expires', new Date(file.expiresAt).toUTCString()],
    ...['Cache-Control', `public, max-age=${Math.min(left, limits.cacheSecondsMax)}`],
  ];
}

/** Whether the caller has it already (RFC 9110, section 13.2.2: the tag comes before the time). */
function isKnown({ headers }: IncomingMessage, file: PublicFile): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined) {
    return tags.split(',').some((tag) => {
      const bare = tag.trim().replace(/^W\//, '');
      return bare === '*' || bare === `"${file.tag}"`;
    });
  }
  const text = headers['if-modified-since'];
  if (text === undefined) return false;
  const since = new Date(text);
  // What is no such date is passed over (section 13.1.3): a number is not one, though Date reads it.
  return since.toUTCString() === text && Math.floor(file.modifiedAt / 1000) * 1000 <= +since;
}

/** The connection ends too: what the caller still sends is not read. */
function refuse(response: ServerResponse, status: number, extra: readonly string[] = []): void {
  response.writeHead(status, ['Connection', 'close', 'Content-Length', '0', ...extra]);
  response.end();
}
