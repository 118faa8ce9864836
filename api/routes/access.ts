import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

const principalName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$/);
const roles = z.array(z.string().max(60)).max(20);

export const principalView = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['person', 'service', 'device']),
  state: z.enum(['active', 'disabled']),
  roles: z.array(z.string()),
  createdAt: fields.time,
});

export const tokenView = z.object({
  id: z.string(),
  principal: z.string(),
  label: z.string(),
  roles: z.array(z.string()),
  folders: z.array(z.string()).nullable(),
  createdAt: fields.time,
  expiresAt: fields.time,
  revokedAt: fields.time.nullable(),
});

export const tokenTtlSecondsMin = 60;
export const tokenTtlSecondsMax = 366 * 86_400;

export const accessRoutes = {
  login: {
    method: 'POST',
    path: '/api/v1/login',
    summary: 'Turn a one-time login code into a token',
    authentication: 'none',
    kind: 'command',
    body: z.strictObject({ code: z.string().max(200) }),
    response: z.object({ token: z.string(), principal: principalView, expiresAt: fields.time }),
  },
  'principal.create': {
    method: 'POST',
    path: '/api/v1/principals',
    summary: 'Make a person, service or device that may call',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      name: principalName,
      kind: z.enum(['person', 'service', 'device']),
      roles: roles.default([]),
    }),
    response: principalView,
    status: 201,
  },
  'principal.list': {
    method: 'GET',
    path: '/api/v1/principals',
    summary: 'List principals',
    authentication: 'token',
    kind: 'read',
    query: fields.pageQuery,
    response: z.object({ items: z.array(principalView), next: z.string().nullable() }),
  },
  'principal.show': {
    method: 'GET',
    path: '/api/v1/principals/:principal',
    summary: 'Show a principal, by id or name; `me` is the caller',
    authentication: 'token',
    kind: 'read',
    params: z.strictObject({ principal: fields.line(100) }),
    response: principalView,
  },
  'principal.update': {
    method: 'PATCH',
    path: '/api/v1/principals/:principal',
    summary: 'Change the roles or the state of a principal; conflicting roles are refused',
    authentication: 'token',
    kind: 'command',
    params: z.strictObject({ principal: fields.line(100) }),
    body: z.strictObject({
      roles: roles.optional(),
      state: z.enum(['active', 'disabled']).optional(),
    }),
    response: principalView,
  },
  'principal.enrol': {
    method: 'POST',
    path: '/api/v1/principals/:principal/enrolment',
    summary: 'Make a one-time login code for a principal; earlier ones that were not used end',
    authentication: 'token',
    kind: 'command',
    params: z.strictObject({ principal: fields.line(100) }),
    body: z.strictObject({
      /** How long the token lasts that the login gives. */
      tokenTtlSeconds: z.int().min(tokenTtlSecondsMin).max(tokenTtlSecondsMax).optional(),
    }),
    response: z.object({ principal: principalView, code: z.string(), expiresAt: fields.time }),
    status: 201,
  },
  'token.create': {
    method: 'POST',
    path: '/api/v1/tokens',
    summary: 'Make a token, never with more rights than its maker has',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      /** Whose token; the caller where left out. */
      principal: fields.line(100).optional(),
      /** Narrowed to these roles; all of the principal where left out. */
      roles: roles.min(1).optional(),
      /** Narrowed to keys in these folders and below. */
      folders: z.array(fields.keyName).min(1).max(50).optional(),
      label: fields.line(200).default(''),
      ttlSeconds: z.int().min(tokenTtlSecondsMin).max(tokenTtlSecondsMax),
    }),
    response: tokenView.extend({ token: z.string() }),
    status: 201,
  },
  'token.list': {
    method: 'GET',
    path: '/api/v1/tokens',
    summary: 'List tokens: the caller’s own, or all where allowed',
    authentication: 'token',
    kind: 'read',
    query: fields.pageQuery.extend({ principal: fields.line(100).optional() }),
    response: z.object({ items: z.array(tokenView), next: z.string().nullable() }),
  },
  'token.revoke': {
    method: 'DELETE',
    path: '/api/v1/tokens/:token',
    summary: 'Revoke a token and all that were made with it; `current` is the caller’s',
    authentication: 'token',
    kind: 'command',
    params: z.strictObject({ token: fields.line(100) }),
    response: tokenView,
  },
  'access.apply': {
    method: 'POST',
    path: '/api/v1/access',
    summary: 'Put access rules (Cedar) in force',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      policies: z.string().min(1).max(500_000),
      /** Refused with `conflict` where another version is in force by now. */
      sawVersion: z.int().min(0).optional(),
    }),
    response: z.object({ version: z.number(), digest: z.string(), appliedAt: fields.time }),
  },
  'access.show': {
    method: 'GET',
    path: '/api/v1/access',
    summary: 'Show the access rules in force, the roles and which of them conflict',
    authentication: 'token',
    kind: 'read',
    response: z.object({
      version: z.number(),
      digest: z.string(),
      policies: z.string(),
      roles: z.array(
        z.object({ name: z.string(), title: z.string(), conflictsWith: z.array(z.string()) }),
      ),
    }),
  },
} as const satisfies Record<string, RouteDefinition>;
