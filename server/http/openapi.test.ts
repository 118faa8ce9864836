import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '../../api/error-codes.ts';
import type { RouteDefinition } from '../../api/route.ts';
import { routes } from '../../api/routes.ts';
import { openApiDocument } from './openapi.ts';

interface Operation {
  operationId: string;
  summary: string;
  security?: unknown[];
  parameters?: { name: string; in: string; required: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
  responses: Record<string, { $ref?: string; content?: Record<string, { schema?: object }> }>;
}

const document = JSON.parse(JSON.stringify(openApiDocument('1.2.3')));
const paths = document.paths as Record<string, Record<string, Operation>>;
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

test('the document has the members that OpenAPI 3.1 asks for', () => {
  assert.match(document.openapi, /^3\.1\.\d+$/);
  assert.deepEqual([document.info.title, document.info.version], ['Keyreeve', '1.2.3']);
  for (const path of Object.keys(paths)) assert.match(path, /^\/[^:]*$/);
});

test('every route is in it once, with its method, status and security', () => {
  assert.equal(operations.length, Object.keys(routes).length);
  assert.equal(
    new Set(operations.map(({ operation }) => operation.operationId)).size,
    operations.length,
  );
  for (const [id, route] of Object.entries(routes as Record<string, RouteDefinition>)) {
    const found = operations.find(({ operation }) => operation.operationId === id);
    assert.ok(found, id);
    assert.equal(found.method, route.method.toLowerCase());
    assert.equal(found.path, route.path.replace(/:(\w+)/g, '{$1}'));
    assert.ok(found.operation.responses[String(route.status ?? 200)], id);
    assert.equal('security' in found.operation, route.authentication === 'none', id);
    assert.equal(found.operation.requestBody !== undefined, route.body !== undefined, id);
  }
});

test('every parameter of a path is declared and required, and no other is', () => {
  for (const { path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const declared = (operation.parameters ?? []).filter((one) => one.in === 'path');
    assert.deepEqual(declared.map(({ name }) => name).sort(), inPath.sort(), path);
    assert.ok(declared.every(({ required }) => required));
    for (const one of operation.parameters ?? []) assert.equal(typeof one.schema, 'object');
  }
});

test('commands declare the idempotency key, other routes do not', () => {
  for (const { operation } of operations) {
    const { kind } = (routes as Record<string, RouteDefinition>)[operation.operationId]!;
    const declares = (operation.parameters ?? []).some(({ name }) => name === 'Idempotency-Key');
    assert.equal(declares, kind === 'command', operation.operationId);
  }
});

test('every error code is named in the schema and in the answer of its status', () => {
  const { schemas, responses } = document.components;
  // To wait for approvals is an answer of its own, and no problem.
  const problems = Object.entries(errorCodes).filter(([, { status }]) => status >= 400);
  assert.deepEqual(
    schemas.Problem.properties.code.enum,
    problems.map(([code]) => code),
  );
  for (const [code, { status }] of problems) {
    assert.ok(responses[`Problem${status}`].description.includes(`\`${code}\``), code);
  }
});

test('every reference leads somewhere', () => {
  const follow = (reference: string) => {
    assert.match(reference, /^#\//);
    const found = reference
      .slice(2)
      .split('/')
      .reduce((inner, step) => inner?.[step], document);
    assert.equal(typeof found, 'object', reference);
  };
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      if (name === '$ref') follow(inner as string);
      else visit(inner);
    }
  };
  visit(document);
});

test('required fields of a body are those that a caller has to send', () => {
  const create = paths['/api/v1/keys']!.post!.requestBody!.content['application/json']!.schema;
  assert.deepEqual(create.required, ['name', 'algorithm', 'purpose']);
  assert.equal(create.additionalProperties, false);
  assert.ok(!('$schema' in create));
});
