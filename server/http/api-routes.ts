import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { isDeepStrictEqual } from 'node:util';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { RouteDefinition } from '../../api/route.ts';
import { type RouteId, routes } from '../../api/routes.ts';
import type { Caller, CommandRequest } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers, StreamAnswer } from '../base/handler.ts';
import { answerJson, answerStream } from './answer.ts';
import { closingError, Exchange, type ExchangeParts } from './exchange.ts';
import type { Freshness } from './freshness.ts';
import { agentOf, approvalIdOf, breakGlassOf, credentialOf, idempotencyKeyOf } from './headers.ts';
import type { HttpLimits } from './limits.ts';
import type { Metrics, RouteMetrics } from './metrics.ts';
import { validate } from './validate.ts';
import type { VisitorLimit } from './visitor-limit.ts';

/** Finds out who calls. Errors: `unauthenticated`, `rate-limited`, `storage-unavailable`. */
export type Authenticate = (credentials: {
  /** The token, which wins over a certificate; undefined where a certificate came alone. */
  readonly bearer: string | undefined;
  /** SHA-256 of the client certificate of the connection, where there is no token. */
  readonly certificate: string | undefined;
  readonly address: string;
  readonly agent: string;
  readonly correlationId: string;
}) => Promise<Caller>;

export interface ApiParts extends ExchangeParts {
  readonly handlers: Handlers<RouteId>;
  readonly authenticate: Authenticate;
  readonly freshness: Freshness | undefined;
  readonly metrics: Metrics;
  readonly limits: HttpLimits;
  readonly visitors: VisitorLimit;
  readonly closing: () => boolean;
  /** Holds every answer against its schema: for tests. */
  readonly checkAnswers: boolean;
}

/** A handler as the dispatcher sees it: the types of its route are checked where it is made. */
type AnyHandler = (call: {
  readonly caller?: Caller;
  readonly visitor?: { address: string; agent: string; correlationId: string };
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly idempotencyKey: string | undefined;
}) => Promise<unknown>;

/** Every route of the API. */
export function registerApiRoutes(app: FastifyInstance, parts: ApiParts): void {
  for (const id of Object.keys(routes) as RouteId[]) {
    const handler = parts.handlers[id] as AnyHandler | undefined;
    if (handler === undefined) throw new Error(`the route ${id} has no handler`);
    const route = new ApiRoute(id, handler, parts);
    app.route({
      method: route.definition.method === 'GET' ? ['GET', 'HEAD'] : route.definition.method,
      url: route.definition.path,
      bodyLimit: route.bodyBytesMax,
      onRequest: (request, reply, done) => route.begin(request, reply, done),
      handler: (request, reply) => route.handle(request, reply),
    });
  }
}

/** One route: who may come in, what is read, who answers. */
class ApiRoute {
  readonly definition: RouteDefinition;
  readonly bodyBytesMax: number;
  readonly #id: RouteId;
  readonly #handler: AnyHandler;
  readonly #parts: ApiParts;
  readonly #metrics: RouteMetrics;

  constructor(id: RouteId, handler: AnyHandler, parts: ApiParts) {
    this.definition = routes[id];
    this.#id = id;
    this.#handler = handler;
    this.#parts = parts;
    this.#metrics = parts.metrics.route(id);
    this.bodyBytesMax = bodyBytesMaxOf(this.definition, parts.limits);
  }

  /** Before the body is read: strangers are told so without it. */
  begin(request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void {
    const { raw } = request;
    const exchange = new Exchange(this.#parts, raw, this.#id, this.#metrics);
    request.exchange = exchange;
    try {
      // What came over a connection that was open is done, as its last: whoever sent it could not
      // know of the stop. Only what waits behind another answer would not be answered any more.
      if (this.#parts.closing() && reply.raw.socket === null) throw closingError();
      if (this.definition.authentication === 'none') {
        this.#parts.visitors.take(exchange.address);
        exchange.admit(this.#bodyBytes(request));
        done();
        return;
      }
      this.#identify(request, exchange).then(
        () => done(),
        // Fastify takes a missing error for success, so there is always one.
        (error) => done(error instanceof Error ? error : new Error(String(error))),
      );
    } catch (error) {
      done(error as Error);
    }
  }

  async #identify(request: FastifyRequest, exchange: Exchange): Promise<void> {
    const stale = this.#parts.freshness?.beforeAct();
    if (stale !== undefined) await stale;
    const caller = await this.#parts.authenticate({
      ...credentialOf(request.raw),
      address: exchange.address,
      agent: agentOf(request.raw.headers),
      correlationId: exchange.correlationId,
    });
    exchange.caller = { ...caller, settle: (settled) => exchange.settle(settled) };
    exchange.admit(this.#bodyBytes(request));
  }

  handle(request: FastifyRequest, reply: FastifyReply): void {
    reply.hijack();
    void this.#answer(request, request.exchange!, reply.raw);
  }

  async #answer(
    request: FastifyRequest,
    exchange: Exchange,
    response: ServerResponse,
  ): Promise<void> {
    try {
      const answer = await this.#handler(this.#call(request, exchange));
      const status = this.definition.status ?? 200;
      exchange.beforeHead(response);
      if (this.definition.response === 'stream') {
        await answerStream(response, status, exchange.correlationId, answer as StreamAnswer, () =>
          this.#stillFresh(exchange),
        );
      } else {
        const text = JSON.stringify(answer);
        if (this.#parts.checkAnswers) this.#check(text);
        const stale = this.#stillFresh(exchange);
        if (stale !== undefined) await stale;
        answerJson(response, status, exchange.correlationId, text);
      }
      exchange.finish(response);
    } catch (error) {
      exchange.fail(response, response.headersSent ? error : await this.#sayable(exchange, error));
    }
  }

  /**
   * What is said of a call that was refused, or that waits for others: that too is for those alone
   * who have their rights still. Faults of the service tell nothing.
   */
  async #sayable(exchange: Exchange, error: unknown): Promise<unknown> {
    if (!(error instanceof KeyreeveError) || error.status >= 500) return error;
    try {
      await this.#stillFresh(exchange);
      return error;
    } catch (lost) {
      return lost;
    }
  }

  #call(request: FastifyRequest, exchange: Exchange) {
    const { url = '', headers } = request.raw;
    const { params, query, body } = validate(
      this.definition,
      request.params,
      request.query,
      url.includes('?'),
      request.body,
    );
    const idempotencyKey =
      this.definition.kind === 'command' ? idempotencyKeyOf(headers) : undefined;
    if (this.definition.authentication === 'token') {
      if (exchange.caller === undefined) throw new Error('a route ran without a caller');
      const caller =
        this.definition.kind === 'command'
          ? { ...exchange.caller, request: this.#request(headers, params, body) }
          : exchange.caller;
      return { caller, params, query, body, idempotencyKey };
    }
    const { address, correlationId } = exchange;
    const visitor = { address, agent: agentOf(headers), correlationId };
    return { visitor, params, query, body, idempotencyKey };
  }

  /** Before the first byte of an answer to a known caller: what has to be waited for. */
  #stillFresh({ caller, settled }: Exchange): Promise<void> | undefined {
    return caller && this.#parts.freshness?.beforeAnswer(caller, settled);
  }

  /** What others may have to approve. */
  #request(headers: IncomingHttpHeaders, params: unknown, body: unknown): CommandRequest {
    const approvalId = approvalIdOf(headers);
    const breakGlass = breakGlassOf(headers);
    return { route: this.#id, params, body, approvalId, breakGlass };
  }

  /** What the body can take at most; Fastify holds it to its length and limit. */
  #bodyBytes({ raw }: FastifyRequest): number {
    if (raw.headers['transfer-encoding'] !== undefined) return this.bodyBytesMax;
    const length = Number(raw.headers['content-length'] ?? 0);
    return Math.min(Number.isSafeInteger(length) ? length : 0, this.bodyBytesMax);
  }

  #check(text: string | undefined): void {
    const { response } = this.definition;
    if (response === 'stream') return;
    const plain: unknown = text === undefined ? undefined : JSON.parse(text);
    const result = response.safeParse(plain);
    const fits = result.success && isDeepStrictEqual(result.data, plain);
    if (fits) return;
    throw new KeyreeveError('internal', `The answer of ${this.#id} is not as its schema says.`, {
      cause: result.error ?? new Error('it has members that the schema does not know'),
    });
  }
}

function bodyBytesMaxOf({ authentication, path }: RouteDefinition, limits: HttpLimits): number {
  if (authentication === 'none') return limits.visitorBodyBytesMax;
  return path.endsWith('/batch') ? limits.batchBodyBytesMax : limits.bodyBytesMax;
}
