import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Authorise } from '../base/caller.ts';
import { answerPage, type PageAnswer } from './answer.ts';
import type { Authenticate } from './api-routes.ts';
import { docsAsset, docsIndex, errorPage } from './description-pages.ts';
import { Exchange, type ExchangeParts } from './exchange.ts';
import type { Freshness } from './freshness.ts';
import { agentOf, credentialOf } from './headers.ts';
import type { Metrics } from './metrics.ts';
import type { KnownPath } from './not-found.ts';
import type { VisitorLimit } from './visitor-limit.ts';

/** How the service is, for those who start it and send it traffic. Reasons are shown to anyone. */
export interface Health {
  /** False where only a restart can help. */
  readonly live: boolean;
  /** Whether requests can be served now. */
  readonly ready: boolean;
  readonly reasons: readonly string[];
}

export interface PageParts extends ExchangeParts {
  readonly authenticate: Authenticate;
  readonly freshness: Freshness | undefined;
  readonly authorise: Authorise;
  readonly health: () => Health;
  readonly metrics: Metrics;
  readonly visitors: VisitorLimit;
  readonly closing: () => boolean;
  readonly version: string;
}

interface Page {
  readonly path: string;
  /** public: for anyone, within the limit for visitors; probe: without that limit. */
  readonly access: 'public' | 'probe' | 'token';
  readonly answer: (request: FastifyRequest, parts: PageParts) => Promise<PageAnswer> | PageAnswer;
}

const json = 'application/json; charset=utf-8';

const pages: readonly Page[] = [
  { path: '/healthz', access: 'probe', answer: (_, parts) => liveness(parts.health()) },
  { path: '/readyz', access: 'probe', answer: (_, parts) => readiness(parts) },
  { path: '/metrics', access: 'token', answer: (_, parts) => metricsPage(parts.metrics) },
  { path: '/openapi.json', access: 'public', answer: (_, parts) => openApiPage(parts.version) },
  { path: '/docs', access: 'public', answer: docsIndex },
  { path: '/docs/:file', access: 'public', answer: (request) => docsAsset(param(request, 'file')) },
  {
    path: '/errors/:code',
    access: 'public',
    answer: (request) => errorPage(param(request, 'code')),
  },
];

export const pagePaths: readonly KnownPath[] = pages.map(({ path }) => ({ method: 'GET', path }));

/** What is served beside the API: health, metrics, and the description of the API. */
export function registerPages(app: FastifyInstance, parts: PageParts): void {
  for (const page of pages) {
    const metrics = parts.metrics.route(page.path);
    app.route({
      method: ['GET', 'HEAD'],
      url: page.path,
      onRequest: (request, _reply, done) => {
        request.exchange = new Exchange(parts, request.raw, page.path, metrics);
        done();
      },
      handler: (request, reply) => {
        reply.hijack();
        void serve(page, parts, request, reply);
      },
    });
  }
}

async function serve(
  page: Page,
  parts: PageParts,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const exchange = request.exchange!;
  try {
    if (page.access !== 'probe') {
      await enter(page, parts, request, exchange);
    }
    const answer = await page.answer(request, parts);
    if (exchange.caller) await parts.freshness?.beforeAnswer(exchange.caller, undefined);
    exchange.beforeHead(reply.raw);
    answerPage(reply.raw, exchange.correlationId, answer);
    exchange.finish(reply.raw);
  } catch (error) {
    exchange.fail(reply.raw, error);
  }
}

async function enter(
  page: Page,
  parts: PageParts,
  { raw }: FastifyRequest,
  exchange: Exchange,
): Promise<void> {
  if (page.access === 'public') parts.visitors.take(exchange.address);
  else {
    await parts.freshness?.beforeAct();
    exchange.caller = await parts.authenticate({
      ...credentialOf(raw),
      address: exchange.address,
      agent: agentOf(raw.headers),
      correlationId: exchange.correlationId,
    });
    parts.authorise(exchange.caller, 'status.show', { type: 'system' });
  }
  exchange.admit(0);
}

function param(request: FastifyRequest, name: string): string {
  return (request.params as Record<string, string>)[name] ?? '';
}

function liveness({ live, reasons }: Health): PageAnswer {
  return healthAnswer(live, live ? [] : reasons);
}

function readiness({ health, closing }: PageParts): PageAnswer {
  if (closing()) return healthAnswer(false, ['The service is stopping.']);
  const { ready, reasons } = health();
  return healthAnswer(ready, ready ? [] : reasons);
}

function healthAnswer(ok: boolean, reasons: readonly string[]): PageAnswer {
  return { status: ok ? 200 : 503, contentType: json, body: JSON.stringify({ ok, reasons }) };
}

async function metricsPage(metrics: Metrics): Promise<PageAnswer> {
  const body = await metrics.text();
  return { status: 200, contentType: metrics.contentType, body };
}

/** Made at the first request and kept: it is the same as long as the program runs. */
const documents = new Map<string, string>();

async function openApiPage(version: string): Promise<PageAnswer> {
  let body = documents.get(version);
  if (body === undefined) {
    const { openApiDocument } = await import('./openapi.ts');
    body = JSON.stringify(openApiDocument(version));
    documents.set(version, body);
  }
  return { status: 200, contentType: json, body };
}
