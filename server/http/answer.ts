import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { StreamAnswer } from '../base/handler.ts';
import type { Problem } from './problem.ts';

/** Nothing that this service answers may be run, framed or kept by a browser. */
const strictPolicy = "default-src 'none'; frame-ancestors 'none'";
const noStore = 'no-store';

/** A whole answer that is no part of the API: a page, a file, a metric. */
export interface PageAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly contentPolicy?: string;
  readonly cacheSeconds?: number;
  readonly headers?: readonly string[];
}

export function answerJson(
  response: ServerResponse,
  status: number,
  correlationId: string,
  text: string,
  extraHeaders: readonly string[] = [],
): void {
  response.writeHead(status, [
    ...headers('application/json; charset=utf-8', correlationId, Buffer.byteLength(text)),
    ...extraHeaders,
  ]);
  response.end(text);
}

export function answerProblem(
  response: ServerResponse,
  problem: Problem,
  extraHeaders: readonly string[],
): void {
  const text = JSON.stringify(problem);
  const length = Buffer.byteLength(text);
  response.writeHead(problem.status, [
    ...headers('application/problem+json', problem.requestId, length),
    ...extraHeaders,
  ]);
  response.end(text);
}

export function answerPage(
  response: ServerResponse,
  correlationId: string,
  page: PageAnswer,
): void {
  const length = typeof page.body === 'string' ? Buffer.byteLength(page.body) : page.body.length;
  response.writeHead(page.status, [
    ...headers(
      page.contentType,
      correlationId,
      length,
      page.contentPolicy,
      page.cacheSeconds === undefined ? noStore : `public, max-age=${page.cacheSeconds}`,
    ),
    ...(page.headers ?? []),
  ]);
  response.end(page.body);
}

/**
 * Sends octets as fast as the caller takes them. The first piece is made before the headers leave,
 * so that what fails at once is still answered by a problem document; what fails later cuts the
 * connection, which the caller sees as an answer that is not whole.
 * `beforePiece` is asked before anything leaves, and throws where the caller may not have it any more.
 */
export async function answerStream(
  response: ServerResponse,
  status: number,
  correlationId: string,
  answer: StreamAnswer,
  beforePiece: () => Promise<void> | undefined = () => undefined,
): Promise<void> {
  const pieces = answer.body[Symbol.asyncIterator]();
  try {
    let piece = await pieces.next();
    await beforePiece();
    const name = answer.fileName.replace(/[^A-Za-z0-9._-]/g, '_');
    response.writeHead(status, [
      ...headers(answer.contentType, correlationId),
      'Content-Disposition',
      `attachment; filename="${name}"`,
      ...Object.entries(answer.headers ?? {}).flat(),
    ]);
    while (!piece.done && !response.destroyed) {
      if (!response.write(piece.value) && !response.destroyed) await drained(response);
      piece = await pieces.next();
      if (!piece.done) await beforePiece();
    }
    response.end();
  } finally {
    await pieces.return?.();
  }
}

/** Ends too when the caller goes away, since nothing drains then. */
async function drained(response: ServerResponse): Promise<void> {
  const stop = new AbortController();
  try {
    await Promise.race([
      once(response, 'drain', { signal: stop.signal }),
      once(response, 'close', { signal: stop.signal }),
    ]);
  } finally {
    stop.abort();
  }
}

function headers(
  contentType: string,
  correlationId: string,
  length?: number,
  contentPolicy = strictPolicy,
  cacheControl = noStore,
): string[] {
  const list = [
    'Content-Type',
    contentType,
    'Cache-Control',
    cacheControl,
    'X-Content-Type-Options',
    'nosniff',
    'Content-Security-Policy',
    contentPolicy,
    'Cross-Origin-Resource-Policy',
    'same-origin',
    'Referrer-Policy',
    'no-referrer',
    'X-Correlation-Id',
    correlationId,
  ];
  if (length !== undefined) list.push('Content-Length', String(length));
  return list;
}
