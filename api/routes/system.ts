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
          /** By when it is to be reviewed who has access; null where no review is demanded. */
          reviewDueAt: fields.time.nullable(),
          reviewOverdue: z.boolean(),
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
      /** The processes that serve the database. */
      nodes: z.array(
        z.object({
          id: z.string(),
          /** Host and process. */
          name: z.string(),
          version: z.string(),
          startedAt: fields.time,
          /** When the database last heard of it. */
          seenAt: fields.time,
          /** The one that answers. */
          isThis: z.boolean(),
        }),
      ),
      /** What the service does by itself, again and again. */
      jobs: z.array(
        z.object({
          name: z.string(),
          /** Done by each node for itself (shown: the one that answers), or by one for all. */
          scope: z.enum(['each-node', 'one-node']),
          everySeconds: z.number(),
          /** Where it ran last. */
          node: z.string().nullable(),
          startedAt: fields.time.nullable(),
          succeededAt: fields.time.nullable(),
          nextAt: fields.time.nullable(),
          /** In a row. */
          failures: z.number(),
          reason: z.string().nullable(),
        }),
      ),
      backup: z.object({ lastAt: fields.time.nullable() }),
      approvals: z.object({
        /** 0 where no rules are in force. */
        rulesVersion: z.number(),
        /** Requests that wait until others agree, those of break-glass included. */
        open: z.number(),
        breakGlass: z.number(),
      }),
      alerts: z.object({
        /** Alerts that were not handed to their targets yet. */
        waiting: z.number(),
        targets: z.array(
          z.object({
            name: z.string(),
            kind: z.string(),
            waiting: z.number(),
            deliveredAt: fields.time.nullable(),
            failingSince: fields.time.nullable(),
            reason: z.string().nullable(),
          }),
        ),
      }),
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
      passphrase: z.string().min(12).max(1024).meta({ secret: true }).optional(),
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
