import { z } from 'zod';
import { breakGlassReasonLengthMin } from '../../api/approvals.ts';
import { errorCodes } from '../../api/error-codes.ts';
import type { RouteDefinition } from '../../api/route.ts';
import { approvalView } from '../../api/routes/approvals.ts';
import { routes } from '../../api/routes.ts';

type JsonObject = Record<string, unknown>;

/** The API as an OpenAPI 3.1 document, made from the tables that the server itself runs on. */
export function openApiDocument(version: string): JsonObject {
  const paths: Record<string, JsonObject> = {};
  for (const [id, route] of Object.entries(routes as Record<string, RouteDefinition>)) {
    const path = route.path.replace(/:([A-Za-z]+)/g, '{$1}');
    paths[path] ??= {};
    paths[path][route.method.toLowerCase()] = operation(id, route);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Keyreeve',
      version,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      description:
        'The native API. Octets are standard base64, times are RFC 3339 in UTC. In a path, write ' +
        'the slashes of a name as %2F.',
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }, { certificate: [] }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer' },
        certificate: { type: 'mutualTLS' },
      },
      schemas: { Problem: problemSchema(), Approval: schemaOf(approvalView, 'output') },
      responses: { ...problemResponses(), ApprovalPending: approvalPending },
    },
  };
}

function operation(id: string, route: RouteDefinition): JsonObject {
  const parameters = [
    ...parametersOf('path', route.params),
    ...parametersOf('query', route.query),
    ...(route.kind === 'command' ? [idempotencyKey] : []),
    ...(mayWait(route) ? [approvalId, breakGlass] : []),
  ];
  const success =
    route.response === 'stream'
      ? { 'application/octet-stream': {} }
      : { 'application/json': { schema: schemaOf(route.response, 'output') } };
  return {
    operationId: id,
    tags: [id.split('.')[0]],
    summary: route.summary,
    ...(route.authentication === 'none' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: schemaOf(route.body, 'input') } },
          },
        }),
    responses: {
      [String(route.status ?? 200)]: { description: 'Done', content: success },
      ...(mayWait(route) ? { 202: { $ref: '#/components/responses/ApprovalPending' } } : {}),
      ...Object.fromEntries(
        problemStatuses(route).map((status) => [
          String(status),
          { $ref: `#/components/responses/Problem${status}` },
        ]),
      ),
    },
  };
}

const idempotencyKey = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description: 'Repeating a request with the same key answers what the first one answered.',
  schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' },
};

/** Commands that rules can put under dual control, as far as their kind tells. */
function mayWait({ kind, authentication }: RouteDefinition): boolean {
  return kind === 'command' && authentication === 'token';
}

const approvalId = {
  name: 'Keyreeve-Approval',
  in: 'header',
  required: false,
  description: 'The approval that is meant; without it the one for this very request is found.',
  schema: { type: 'string', pattern: '^apr_[a-z2-7]{26}$' },
};

const breakGlass = {
  name: 'Keyreeve-Break-Glass',
  in: 'header',
  required: false,
  description:
    'Why this cannot wait for the ordinary approvals; percent-encoded where it is not ASCII.',
  schema: { type: 'string', minLength: breakGlassReasonLengthMin },
};

const approvalPending = {
  description: 'Others have to approve first. Repeat the request when they have.',
  headers: {
    Location: { description: 'The approval', schema: { type: 'string', format: 'uri-reference' } },
  },
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Approval' } } },
};

function parametersOf(place: 'path' | 'query', schema: z.ZodType | undefined): JsonObject[] {
  if (schema === undefined) return [];
  const whole = schemaOf(schema, 'input');
  const required = (whole.required ?? []) as string[];
  return Object.entries((whole.properties ?? {}) as JsonObject).map(([name, property]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    schema: property,
  }));
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io }) as JsonObject;
  return rest;
}

/** Statuses that a route of this kind can answer with, beside its success. */
function problemStatuses(route: RouteDefinition): number[] {
  const statuses = new Set([400, 408, 429, 500, 503]);
  if (route.authentication === 'token') for (const status of [401, 403]) statuses.add(status);
  if (route.path.endsWith('/login')) statuses.add(401);
  if (route.params !== undefined || route.body !== undefined) statuses.add(404);
  if (route.kind !== 'read') for (const status of [409, 410]) statuses.add(status);
  if (route.body !== undefined) for (const status of [413, 415]) statuses.add(status);
  return [...statuses].sort((a, b) => a - b);
}

function problemSchema(): JsonObject {
  const codes = Object.entries(errorCodes).flatMap(([code, { status }]) =>
    status >= 400 ? [code] : [],
  );
  return {
    type: 'object',
    description: 'A problem document (RFC 9457). Some codes add facts of their own.',
    required: ['type', 'title', 'status', 'detail', 'code', 'requestId'],
    properties: {
      type: { type: 'string', format: 'uri-reference', examples: ['/errors/not-found'] },
      title: { type: 'string' },
      status: { type: 'integer' },
      detail: { type: 'string' },
      code: { type: 'string', enum: codes },
      hint: { type: 'string' },
      requestId: { type: 'string' },
      fields: {
        type: 'array',
        items: {
          type: 'object',
          required: ['in', 'field', 'problem'],
          properties: {
            in: { type: 'string', enum: ['path', 'query', 'body'] },
            field: { type: 'string' },
            problem: { type: 'string' },
          },
        },
      },
    },
  };
}

/** One response for each status that an error maps to, which names its codes. */
function problemResponses(): JsonObject {
  const problems = Object.entries(errorCodes).filter(([, { status }]) => status >= 400);
  const byStatus = Object.groupBy(problems, ([, { status }]) => status);
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, entries]) => [
      `Problem${status}`,
      {
        description: entries!.map(([code, { title }]) => `\`${code}\`: ${title}`).join('\n\n'),
        content: {
          'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
        },
      },
    ]),
  );
}
