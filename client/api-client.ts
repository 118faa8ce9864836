/** The native API as typed calls: one method, keyed by the operation ids of `api/routes.ts`. */
import { createHash, randomUUID } from 'node:crypto';
import { Agent } from 'node:https';
import type { z } from 'zod';
import type { ResponseOf, RouteDefinition } from '../api/route.ts';
import { type RouteId, type Routes, routes } from '../api/routes.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import { pendingError, problemError } from './problem.ts';
import { attemptsMax, type Failure, retryDelayMilliseconds } from './retry.ts';
import { collect, send, type TransportRequest, transportFailure } from './transport.ts';

export const callTimeoutSecondsDefault = 60;
/** How long a stream may be silent: a large backup or export is made before its first byte. */
export const streamTimeoutSecondsDefault = 600;

export interface ClientOptions {
  /** `https://host:port`. */
  readonly url: string;
  readonly token?: string | undefined;
  /** The only authority trusted; the system's own where left out. */
  readonly caPem?: string | undefined;
  /** Shown in the handshake; it counts where no token is sent. */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** `User-Agent`, which the record keeps. */
  readonly agentName?: string;
  readonly timeoutSeconds?: number;
  /** For every command of this client that does not say it itself: see `RequestOf`. */
  readonly approvalId?: string;
  readonly breakGlass?: string;
  /** Injected in tests. */
  readonly wait?: (milliseconds: number) => Promise<void>;
}

/** A certificate that logs in, with its private key. */
export interface ClientCertificate {
  /** PEM, perhaps with the certificates of the CAs above it. */
  readonly certificate: string;
  /** PEM without a passphrase, as bytes: never in a text that could be printed. */
  readonly key: Buffer;
}

/** Which routes answer octets, and which JSON. */
export type StreamRouteId = {
  [Id in RouteId]: Routes[Id] extends { response: 'stream' } ? Id : never;
}[RouteId];
export type CallRouteId = Exclude<RouteId, StreamRouteId>;

type Part<Id extends RouteId, Name extends string> = Routes[Id] extends {
  readonly [Key in Name]: infer Schema extends z.ZodType;
}
  ? z.input<Schema>
  : never;

type With<Name extends string, Value> = [Value] extends [never]
  ? unknown
  : object extends Value
    ? { readonly [Key in Name]?: Value }
    : { readonly [Key in Name]: Value };

/** What a call of the route takes. */
export type RequestOf<Id extends RouteId> = With<'params', Part<Id, 'params'>> &
  With<'query', Part<Id, 'query'>> &
  With<'body', Part<Id, 'body'>> & {
    /** For commands; a fresh one where left out. Retries use the same. */
    readonly idempotencyKey?: string;
    /** The approval that is meant; without it the one for this very request is found. */
    readonly approvalId?: string;
    /** Why the command cannot wait for the ordinary approvals. */
    readonly breakGlass?: string;
    /** Goes into the entries that the call leaves in the record; the service makes one up else. */
    readonly correlationId?: string;
    readonly signal?: AbortSignal;
  };

type Arguments<Id extends RouteId> =
  object extends RequestOf<Id> ? [request?: RequestOf<Id>] : [request: RequestOf<Id>];

export interface ApiClient {
  readonly url: string;
  /**
   * Calls a route and returns its answer. Commands carry an idempotency key and are repeated with
   * it when the connection breaks or the service asks for it. Throws KeyreeveError with the code,
   * message and hint of the service, `unreachable` or `tls-untrusted`; ApprovalPendingError for a
   * command that others have to approve first.
   */
  call<Id extends CallRouteId>(id: Id, ...request: Arguments<Id>): Promise<ResponseOf<Routes[Id]>>;
  /** Calls a route that answers octets. Never repeated. A cut stream throws `unreachable`. */
  stream<Id extends StreamRouteId>(
    id: Id,
    ...request: Arguments<Id>
  ): Promise<AsyncIterable<Buffer>>;
  /** Closes idle connections. */
  close(): void;
}

/** A client of one service. Throws `invalid-request` for a URL that is not https. */
export function createClient(options: ClientOptions): ApiClient {
  const base = parseServiceUrl(options.url);
  const agent = new Agent({
    keepAlive: true,
    minVersion: 'TLSv1.3',
    // Else NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment would hand the token to anybody.
    rejectUnauthorized: true,
    ...(options.caPem === undefined ? {} : { ca: options.caPem }),
    ...(options.clientCertificate === undefined
      ? {}
      : { cert: options.clientCertificate.certificate, key: options.clientCertificate.key }),
  });
  const wait = options.wait ?? pause;

  function prepare(id: RouteId, request: LooseRequest, timeoutSeconds: number): TransportRequest {
    const route: RouteDefinition = routes[id];
    const body = route.body === undefined ? undefined : JSON.stringify(request.body ?? {});
    return {
      agent,
      url: new URL(pathOf(route, request), base),
      method: route.method,
      headers: headersOf(options, route, request, body),
      body,
      timeoutMilliseconds: timeoutSeconds * 1000,
      signal: request.signal,
    };
  }

  async function attempt(prepared: TransportRequest): Promise<unknown> {
    const response = await send(prepared);
    const bytes = await collect(response, prepared);
    const status = response.statusCode ?? 0;
    if (status === 202) throw pendingError(bytes);
    if (status >= 200 && status < 300) return parseAnswer(bytes);
    throw problemError(status, response.headers, bytes);
  }

  async function call(id: RouteId, request: LooseRequest = {}): Promise<unknown> {
    const route: RouteDefinition = routes[id];
    const key = takesKey(route) ? (request.idempotencyKey ?? randomUUID()) : undefined;
    const timeout = options.timeoutSeconds ?? callTimeoutSecondsDefault;
    const prepared = prepare(id, { ...request, idempotencyKey: key }, timeout);
    const failures: Failure[] = [];
    for (;;) {
      try {
        return await attempt(prepared);
      } catch (error) {
        failures.push(transportFailure(error, base));
        const delay = retryDelayMilliseconds(
          { kind: route.kind, repeatable: route.kind !== 'command' || key !== undefined },
          failures,
        );
        if (delay === undefined || failures.length >= attemptsMax) throw failures.at(-1)!.error;
        await wait(delay);
      }
    }
  }

  async function stream(id: RouteId, request: LooseRequest = {}): Promise<AsyncIterable<Buffer>> {
    const prepared = prepare(id, request, streamTimeoutSecondsDefault);
    try {
      const response = await send(prepared);
      const status = response.statusCode ?? 0;
      if (status === 202) throw pendingError(await collect(response, prepared));
      if (status >= 200 && status < 300) {
        return wholeStream(response, base, digestOf(response.headers['repr-digest']));
      }
      throw problemError(status, response.headers, await collect(response, prepared));
    } catch (error) {
      throw transportFailure(error, base).error;
    }
  }

  return { url: base.origin, call, stream, close: () => agent.destroy() } as ApiClient;
}

/** Checks the address of a service. Tokens never travel in clear: only https is taken. */
export function parseServiceUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:' || url.username !== '' || url.password !== '') {
    throw new KeyreeveError('invalid-request', `"${text}" is not the address of a service`, {
      hint: 'Give it as https://host:port.',
    });
  }
  return url;
}

interface LooseRequest {
  readonly params?: Readonly<Record<string, string | number>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly idempotencyKey?: string | undefined;
  readonly approvalId?: string;
  readonly breakGlass?: string;
  readonly correlationId?: string;
  readonly signal?: AbortSignal;
}

/** Login has no principal yet that a key could belong to, and streams cannot be kept. */
function takesKey(route: RouteDefinition): boolean {
  return route.kind === 'command' && route.authentication === 'token';
}

function pathOf(route: RouteDefinition, request: LooseRequest): string {
  const path = route.path.replace(/:(\w+)/g, (_, name: string) => {
    const value = request.params?.[name];
    // URL parsing would take `..` for the folder above; no name of ours is made of dots.
    if (value === undefined || /^\.*$/.test(String(value))) {
      throw new KeyreeveError('invalid-request', `the request lacks a proper "${name}"`);
    }
    return encodeURIComponent(value);
  });
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(request.query ?? {})) {
    if (value !== undefined) query.append(name, String(value));
  }
  return query.size === 0 ? path : `${path}?${query}`;
}

function headersOf(
  options: ClientOptions,
  route: RouteDefinition,
  request: LooseRequest,
  body: string | undefined,
): Record<string, string> {
  const headers: Record<string, string> = {
    accept: 'application/json, application/problem+json',
    'user-agent': options.agentName ?? 'keyreeve-client',
  };
  if (options.token !== undefined && route.authentication === 'token') {
    headers.authorization = `Bearer ${options.token}`;
  }
  if (body !== undefined) {
    headers['content-type'] = 'application/json';
    headers['content-length'] = String(Buffer.byteLength(body));
  }
  if (request.idempotencyKey !== undefined && takesKey(route)) {
    headers['idempotency-key'] = request.idempotencyKey;
  }
  if (takesKey(route)) {
    const { approvalId = options.approvalId, breakGlass = options.breakGlass } = request;
    if (approvalId !== undefined) headers['keyreeve-approval'] = approvalId;
    if (breakGlass !== undefined) headers['keyreeve-break-glass'] = encodeURIComponent(breakGlass);
  }
  if (request.correlationId !== undefined) headers['x-correlation-id'] = request.correlationId;
  return headers;
}

function parseAnswer(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new KeyreeveError('internal', 'the answer is not JSON', {
      hint: 'Check that the address is that of a Keyreeve service.',
      cause: error,
    });
  }
}

/** The SHA-256 that the service names for what it sends (RFC 9530, section 3). */
function digestOf(header: string | string[] | undefined): string | undefined {
  return /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(String(header))?.[1];
}

/** What was sent, whole and unaltered: a stream that is not ends with an error. */
async function* wholeStream(
  source: AsyncIterable<Buffer>,
  base: URL,
  digest: string | undefined,
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  try {
    for await (const piece of source) {
      if (digest !== undefined) hash.update(piece);
      yield piece;
    }
  } catch (error) {
    throw transportFailure(error, base).error;
  }
  if (digest === undefined || hash.digest('base64') === digest) return;
  throw new KeyreeveError('unreachable', 'what arrived is not what the service sent', {
    hint: 'Repeat the command.',
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
