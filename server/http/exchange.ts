import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { ApprovalPendingError } from '../base/approval-pending.ts';
import type { Caller, Settled } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Admission } from './admission.ts';
import { answerJson, answerProblem } from './answer.ts';
import { addressOf, correlationIdOf } from './headers.ts';
import type { RouteMetrics } from './metrics.ts';
import { asKeyreeveError, problemOf } from './problem.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Null until the first hook has run. */
    exchange: Exchange | null;
  }
}

export interface ExchangeParts {
  readonly admission: Admission;
  readonly clock: Clock;
  readonly log: Logger;
  readonly slowRequestSeconds: number;
  /** Whether the server is stopping. */
  readonly closing: () => boolean;
}

/** One request and its answer: what is known of it, and what has to be given back at its end. */
export class Exchange {
  readonly correlationId: string;
  readonly address: string;
  readonly route: string;
  caller: Caller | undefined = undefined;
  #settled: Settled | undefined;
  readonly #metrics: RouteMetrics;
  readonly #parts: ExchangeParts;
  readonly #startedAt: number;
  #admittedBytes = -1;
  #finished = false;

  constructor(
    parts: ExchangeParts,
    request: IncomingMessage,
    route: string,
    metrics: RouteMetrics,
  ) {
    this.#parts = parts;
    this.#startedAt = parts.clock.monotonic();
    this.#metrics = metrics;
    this.route = route;
    this.correlationId = correlationIdOf(request.headers);
    this.address = addressOf(request.socket.remoteAddress);
  }

  /** The last commit of this call that looked at the caller's rights. */
  get settled(): Settled | undefined {
    return this.#settled;
  }

  settle(settled: Settled): void {
    this.#settled = settled;
  }

  /** Error: `overloaded`. */
  admit(bodyBytes: number): void {
    this.#parts.admission.enter(bodyBytes);
    this.#admittedBytes = bodyBytes;
  }

  /** To be called right before the head of an answer is written. */
  beforeHead(response: ServerResponse): void {
    // The last answer on this connection: the caller sends what comes next to another node.
    if (this.#parts.closing()) response.shouldKeepAlive = false;
  }

  /** Answers with a problem document, or cuts an answer that has begun. */
  fail(response: ServerResponse, thrown: unknown): void {
    const error = asKeyreeveError(thrown);
    this.#logFailure(error);
    this.beforeHead(response);
    if (response.headersSent) response.destroy();
    else if (error instanceof ApprovalPendingError) this.#answerPending(response, error);
    else answerProblem(response, problemOf(error, this.correlationId), headersOf(error));
    this.finish(response);
  }

  /** No failure: the command waits until others have agreed (RFC 9110, section 15.3.3). */
  #answerPending(response: ServerResponse, { approval }: ApprovalPendingError): void {
    const text = JSON.stringify(approval);
    answerJson(response, 202, this.correlationId, text, [
      'Location',
      `/api/v1/approvals/${approval.id}`,
    ]);
  }

  /** Gives back what was admitted and counts the request, once. */
  finish(response: ServerResponse): void {
    if (this.#finished) return;
    this.#finished = true;
    const { admission, clock, log, slowRequestSeconds } = this.#parts;
    if (this.#admittedBytes >= 0) admission.leave(this.#admittedBytes);
    const seconds = (clock.monotonic() - this.#startedAt) / 1000;
    this.#metrics.count(response.statusCode, seconds);
    if (seconds >= slowRequestSeconds) log.warn(this.#facts(response, seconds), 'slow request');
    else if (log.isLevelEnabled('debug')) log.debug(this.#facts(response, seconds), 'request');
  }

  #facts(response: ServerResponse, seconds: number) {
    return {
      route: this.route,
      status: response.statusCode,
      seconds,
      correlationId: this.correlationId,
      address: this.address,
      principal: this.caller?.principalId,
    };
  }

  #logFailure(error: KeyreeveError): void {
    const { log } = this.#parts;
    const facts = { route: this.route, correlationId: this.correlationId, code: error.code };
    if (error.status === 500) log.error({ ...facts, err: error }, 'request failed');
    else if (error.status > 500) log.warn({ ...facts, reason: error.message }, 'request refused');
    else if (log.isLevelEnabled('debug')) log.debug(facts, 'request refused');
  }
}

/** Answers what was refused by Fastify or by a hook, before the route itself ran. */
export function refuse(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  reply.hijack();
  if (request.exchange === null) throw new Error('a request was refused before it began');
  request.exchange.fail(reply.raw, error);
}

/** What a node answers that does not reach its database. */
const cutOffCodes: readonly string[] = ['storage-unavailable', 'outcome-unknown'];

/** Headers that belong to an error (RFC 9110, sections 10.2.3, 11.6.1 and 15.5.6). */
function headersOf(error: KeyreeveError): readonly string[] {
  const list: string[] = [];
  if (error.retryAfterSeconds !== undefined) {
    list.push('Retry-After', String(Math.ceil(error.retryAfterSeconds)));
  }
  // Behind a proxy that passes TLS through, the next request goes to another node, which may know more.
  if (cutOffCodes.includes(error.code)) list.push('Connection', 'close');
  if (error.status === 401) list.push('WWW-Authenticate', 'Bearer realm="keyreeve"');
  if (error.code === 'method-not-allowed') list.push('Allow', String(error.data.allow ?? ''));
  return list;
}

export function closingError(): KeyreeveError {
  return new KeyreeveError('shutting-down', 'The service is stopping.', {
    hint: 'Repeat the request when it is back.',
    retryAfterSeconds: 5,
  });
}
