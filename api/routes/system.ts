import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

const sealLengthMax = 8 * 1024;

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
        /** False while its token is away: what is open stays open, and a start would fail. */
        ready: z.boolean(),
        reason: z.string().nullable(),
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
      authorities: z.object({
        total: z.number(),
        certificates: z.object({ valid: z.number(), revoked: z.number(), expired: z.number() }),
      }),
      publication: z.object({
        /** Where CRLs and CA certificates are served by plain HTTP; null where that is off. */
        url: z.string().nullable(),
        /** The base of addresses in certificates; null where they carry none. */
        base: z.string().nullable(),
        /** When the next CRL is due; null where no CA has one to publish. */
        nextDueAt: fields.time.nullable(),
        /** Versions of CAs whose CRL should have been published a minute ago. */
        overdue: z.number(),
        /** CRLs that could not be published, and why. */
        problems: z.array(
          z.object({ ca: z.string(), version: z.number(), since: fields.time, reason: z.string() }),
        ),
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
  'root-key.move': {
    method: 'POST',
    path: '/api/v1/root-key/move',
    summary: 'Wrap all under a root key at another place, without interruption',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      /** As `KEYREEVE_SEAL` says it; seen from the host of the service. */
      to: fields.line(sealLengthMax).min(1),
    }),
    response: z.object({
      /** False where the new root key was in force already. */
      moved: z.boolean(),
      from: z.string(),
      to: z.string(),
      fingerprint: z.string(),
      /** Settings to change before the next start. */
      settings: z.record(z.string(), z.string()),
      advice: z.string(),
    }),
  },
} as const satisfies Record<string, RouteDefinition>;
