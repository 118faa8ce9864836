import { Agent, type RequestOptions, request } from 'node:https';
import type { Cleanup } from './service.ts';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  /** The body, where it is JSON. */
  readonly json: Record<string, unknown>;
  /** Whether the request went over a connection that an earlier one had opened. */
  readonly reusedConnection: boolean;
}

export type RawRequest = (
  method: string,
  path: string,
  options?: {
    readonly token?: string;
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
  },
) => Promise<RawAnswer>;

/** Plain HTTPS over one connection that is kept: without the client's own retries and checks. */
export function rawRequests(t: Cleanup, url: string, caPem: string): RawRequest {
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: caPem });
  t.after(() => agent.destroy());
  return (method, path, { token, body, headers } = {}) =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const options: RequestOptions = {
        agent,
        method,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(text === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      };
      const outgoing = request(new URL(path, url), options, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
        const answer = Buffer.concat(chunks).toString('utf8');
        const isJson = /json/.test(response.headers['content-type'] ?? '');
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: answer,
          json: isJson ? JSON.parse(answer) : {},
          reusedConnection: outgoing.reusedSocket,
        });
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
}
