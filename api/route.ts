import type { z } from 'zod';

/**
 * One route of the native API: what the server serves, OpenAPI describes and the client calls.
 * `read` changes nothing; `use` uses a key (one entry); `command` changes something and takes an
 * `Idempotency-Key`.
 */
export interface RouteDefinition {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Fastify's form: `/api/v1/keys/:key`. */
  readonly path: string;
  readonly summary: string;
  /** `none`: answers without a token. */
  readonly authentication: 'token' | 'none';
  readonly kind: 'read' | 'use' | 'command';
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** The answer; `stream` for octets. */
  readonly response: z.ZodType | 'stream';
  readonly status?: 200 | 201;
}

/** Types of one route, for handlers and client. */
export type ParamsOf<Route> = Route extends { params: infer Schema extends z.ZodType }
  ? z.output<Schema>
  : Record<string, never>;
export type QueryOf<Route> = Route extends { query: infer Schema extends z.ZodType }
  ? z.output<Schema>
  : Record<string, never>;
export type BodyOf<Route> = Route extends { body: infer Schema extends z.ZodType }
  ? z.output<Schema>
  : undefined;
export type ResponseOf<Route> = Route extends { response: infer Schema extends z.ZodType }
  ? z.output<Schema>
  : unknown;
