import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

/** The opened fields of an entry (api/entry.ts), with its place in the tree once it has one. */
export const entryView = z
  .object({ place: z.number().nullable() })
  .catchall(z.string().or(z.number()).nullable());

export const auditProblem = z.object({
  code: z.string(),
  message: z.string(),
  place: z.number().optional(),
  entry: z.string().optional(),
  path: z.string().optional(),
});

export const auditReport = z.object({
  ok: z.boolean(),
  origin: z.string(),
  size: z.number(),
  /** Entries whose fields are in cold storage or redacted: their leaves are checked all the same. */
  withoutOpening: z.number(),
  checkpoint: z.string(),
  logKey: z.string(),
  problems: z.array(auditProblem),
});

export const auditRoutes = {
  'audit.list': {
    method: 'GET',
    path: '/api/v1/audit/entries',
    summary: 'Search the record, newest first',
    authentication: 'token',
    kind: 'read',
    query: fields.pageQuery.extend({
      key: fields.keyReference.optional(),
      principal: fields.line(100).optional(),
      correlationId: z.string().max(100).optional(),
      action: z.string().max(60).optional(),
      outcome: z.string().max(60).optional(),
      since: fields.time.optional(),
      until: fields.time.optional(),
    }),
    response: z.object({ items: z.array(entryView), next: z.string().nullable() }),
  },
  'audit.entry': {
    method: 'GET',
    path: '/api/v1/audit/entries/:place',
    summary: 'One entry with the proof that it is in the tree',
    authentication: 'token',
    kind: 'read',
    params: z.strictObject({ place: z.coerce.number().int().min(0) }),
    response: z.object({
      entry: entryView,
      leaf: z.string(),
      proof: z.array(z.string()),
      size: z.number(),
      checkpoint: z.string(),
    }),
  },
  'audit.checkpoint': {
    method: 'GET',
    path: '/api/v1/audit/checkpoint',
    summary: 'The newest signed checkpoint and the public key that checks it: public material',
    authentication: 'none',
    kind: 'read',
    response: z.object({ checkpoint: z.string(), logKey: z.string() }),
  },
  'audit.export': {
    method: 'POST',
    path: '/api/v1/audit/export',
    summary:
      'The whole record as a tar: tiles, bundles, openings less the redacted fields, checkpoint',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({ redact: z.array(z.string().max(60)).max(30).default([]) }),
    response: 'stream',
  },
  'audit.verify': {
    method: 'POST',
    path: '/api/v1/audit/verify',
    summary: 'Recompute the record in the database against a checkpoint that the caller holds',
    authentication: 'token',
    kind: 'read',
    body: z.strictObject({
      checkpoint: z.string().max(10_000).optional(),
      logKey: z.string().max(1000).optional(),
    }),
    response: auditReport,
  },
  'audit.retain': {
    method: 'POST',
    path: '/api/v1/audit/retain',
    summary: 'Move the fields of entries older than a time to the archive folder',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({ before: fields.time }),
    response: z.object({ bundles: z.number(), entries: z.number(), folder: z.string() }),
  },
} as const satisfies Record<string, RouteDefinition>;
