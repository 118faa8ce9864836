import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

export const systemRoutes = {
  status: {
    method: 'GET',
    path: '/api/v1/status',
    summary: 'How the service is: version, keys, keystores, root key, record, what is due',
    authentication: 'token',
    kind: 'read',
    response: z.object({
      version: z.string(),
      installation: z.string(),
      startedAt: fields.time,
      database: z.object({
        dialect: z.string(),
        ready: z.boolean(),
        reason: z.string().nullable(),
        waiting: z.number(),
      }),
      rootKey: z.object({
        kind: z.string(),
        location: z.string(),
        fingerprint: z.string(),
        protects: z.string(),
        advice: z.string(),
      }),
      keystores: z.array(
        z.object({
          name: z.string(),
          kind: z.string(),
          ready: z.boolean(),
          reason: z.string().nullable(),
        }),
      ),
      record: z.object({
        origin: z.string(),
        size: z.number(),
        waiting: z.number(),
        publishedAt: fields.time.nullable(),
        reason: z.string().nullable(),
      }),
      keys: z.object({
        total: z.number(),
        pendingDestruction: z.number(),
        rotationDue: z.number(),
      }),
      backup: z.object({ lastAt: fields.time.nullable() }),
      tls: z.object({ expiresAt: fields.time }),
      epoch: z.number(),
    }),
  },
  'backup.create': {
    method: 'POST',
    path: '/api/v1/backups',
    summary: 'A consistent, encrypted backup as a stream; the root key is never in it',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      /** age recipients (`age1...`). */
      recipients: z.array(z.string().max(200)).min(1).max(20).optional(),
      /** Or a passphrase: an OpenPGP message that gpg alone opens. */
      passphrase: z.string().min(12).max(1024).optional(),
      label: fields.line(200).default(''),
    }),
    response: 'stream',
  },
} as const satisfies Record<string, RouteDefinition>;
