// What the tests of this folder share: a server on a free port with small handlers, and a client.
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { type Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pino from 'pino';
import { type RouteId, routes } from '../../api/routes.ts';
import type { Caller } from '../base/caller.ts';
import { systemClock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import { certificateNames, openSystemTls, type SystemTls } from '../pki/pki.ts';
import { createHttpServer, type HttpServer, type HttpServerOptions } from './http.ts';

export const goodToken = 'good-token';
export const lesserToken = 'lesser-token';

const caller: Caller = {
  principalId: 'prn_test',
  principalName: 'ada',
  roles: ['administrator'],
  credentialId: 'tok_test',
  folders: undefined,
  address: '127.0.0.1',
  agent: '',
  correlationId: '',
  epoch: 1,
};

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON, where it is that. */
  readonly json: Record<string, unknown>;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  /** null: no token; the good one where left out. */
  readonly token?: string | null;
  readonly headers?: OutgoingHttpHeaders;
  /** Text as it is, anything else as JSON. */
  readonly body?: unknown;
  readonly agent?: Agent;
}

export interface TestServer {
  readonly http: HttpServer;
  /** What it was made with. */
  readonly options: HttpServerOptions;
  readonly port: number;
  readonly tls: SystemTls;
  /** Lines of the log, as JSON. */
  readonly log: Record<string, unknown>[];
  ask(ask: Ask): Promise<Answer>;
}

type AnyHandlers = Partial<Record<RouteId, (call: never) => Promise<unknown>>>;

const caKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
// Nothing here is secret: the folder is removed with the test.
const clear = {
  seal: (_: string, bytes: Uint8Array) => bytes,
  unseal: (_: string, bytes: Uint8Array) => bytes,
};

/** Certificates from one CA, fresh for each folder. */
export async function testTls(context: TestContext): Promise<SystemTls> {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-http-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return openSystemTls({
    folder: join(folder, 'tls'),
    caKey: async () => caKey,
    sealer: clear,
    names: certificateNames({ listen: '127.0.0.1', hostname: 'test', configured: [] }),
    clock: systemClock,
  });
}

/** A server whose routes answer `not-found` unless the test gives a handler. */
export async function startServer(
  context: TestContext,
  handlers: AnyHandlers = {},
  changes: Partial<HttpServerOptions> = {},
): Promise<TestServer> {
  const tls = await testTls(context);
  const log: Record<string, unknown>[] = [];
  const refuse = async () => {
    throw new KeyreeveError('not-found', 'There is no such thing.');
  };
  const all = Object.fromEntries(
    Object.keys(routes).map((id) => [id, handlers[id as RouteId] ?? refuse]),
  );
  const options: HttpServerOptions = {
    handlers: all as unknown as Handlers<RouteId>,
    authenticate: async ({ bearer, correlationId, agent, address }) => {
      if (bearer !== goodToken && bearer !== lesserToken) {
        throw new KeyreeveError('unauthenticated', 'The token is not valid.');
      }
      const roles = bearer === goodToken ? caller.roles : [];
      return { ...caller, roles, correlationId, agent, address };
    },
    authorise: ({ roles }) => {
      if (roles.length === 0) throw new KeyreeveError('forbidden', 'Not with this token.');
    },
    tls: tls.options,
    health: () => ({ live: true, ready: true, reasons: [] }),
    log: pino({ level: 'debug' }, { write: (line: string) => void log.push(JSON.parse(line)) }),
    clock: systemClock,
    version: '1.2.3',
    checkAnswers: true,
    ...changes,
  };
  const http = await createHttpServer(options);
  const { port } = await http.listen({ address: '127.0.0.1', port: 0 });
  context.after(() => http.close());
  return { http, options, port, tls, log, ask: (ask) => send(port, tls.caPem, ask) };
}

function send(port: number, ca: string, ask: Ask): Promise<Answer> {
  const text =
    ask.body === undefined || typeof ask.body === 'string' || Buffer.isBuffer(ask.body)
      ? (ask.body as string | Buffer | undefined)
      : JSON.stringify(ask.body);
  const token = ask.token === undefined ? goodToken : ask.token;
  return new Promise((resolve, reject) => {
    const sending = request({
      host: '127.0.0.1',
      port,
      ca,
      method: ask.method ?? 'GET',
      path: ask.path,
      agent: ask.agent ?? false,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(text === undefined ? {} : { 'content-type': 'application/json' }),
        // Without it Node sends the body of a DELETE with no framing at all.
        ...(text === undefined || ask.headers?.['transfer-encoding'] !== undefined
          ? {}
          : { 'content-length': Buffer.byteLength(text) }),
        ...ask.headers,
      },
    });
    sending.on('error', reject);
    sending.on('response', async (response) => {
      try {
        const parts: Buffer[] = [];
        for await (const part of response) parts.push(part as Buffer);
        const whole = Buffer.concat(parts).toString('utf8');
        const isJson = (response.headers['content-type'] ?? '').includes('json');
        const json = isJson && whole !== '' ? JSON.parse(whole) : {};
        resolve({ status: response.statusCode!, headers: response.headers, text: whole, json });
      } catch (error) {
        reject(error);
      }
    });
    sending.end(text);
  });
}
