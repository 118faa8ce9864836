import { z } from 'zod';
import { alertKindNames, severities } from '../alerts.ts';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

const secretLengthMax = 4096;
const addressLengthMax = 2048;
const pemLengthMax = 64 * 1024;
const recipientsMax = 20;

/** webhook: signed JSON; slack: its form of JSON; syslog: RFC 5424 over TLS; mail: SMTP. */
export const alertTargetKinds = ['webhook', 'slack', 'syslog', 'mail'] as const;

/** The name of a target: it stands on command lines. */
const newName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, 'is not a name: small letters, digits, hyphens');
const name = z.string().min(1).max(60);

const severity = z.enum(severities);
const kinds = z.array(z.enum(alertKindNames)).min(1).max(alertKindNames.length);
const mailAddress = fields
  .line(254)
  .regex(/^[^\s@<>,;:"]+@[^\s@<>,;:"]+$/, 'is not a mail address');

/** Where to and how: which of them a kind of target takes stands in docs/alerts.md. */
const settings = {
  /** `https://...`, `tls://host:port`, `smtps://user@host`; not for slack, whose URL is the secret. */
  address: fields.line(addressLengthMax).min(1).optional(),
  /** Key of the signatures, password, or URL of slack: sealed, and never shown again. */
  secret: z.string().min(1).max(secretLengthMax).meta({ secret: true }).optional(),
  /** Certificates of the CAs to trust, PEM; those of the system where left out. */
  ca: z.string().max(pemLengthMax).optional(),
  from: mailAddress.optional(),
  to: z.array(mailAddress).min(1).max(recipientsMax).optional(),
};

/** A target, and how it is doing. */
export const alertTargetView = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(alertTargetKinds),
  /** Without what is secret in it. */
  address: z.string(),
  from: z.string().nullable(),
  to: z.array(z.string()).nullable(),
  /** True where a CA of its own is trusted, and no other. */
  hasCa: z.boolean(),
  hasSecret: z.boolean(),
  allowsPlainHttp: z.boolean(),
  /** Told of this severity and worse. */
  severity,
  /** Told of these kinds alone; null: of all. */
  kinds: z.array(z.string()).nullable(),
  /** Alerts that wait for it. */
  waiting: z.number(),
  deliveredAt: fields.time.nullable(),
  failingSince: fields.time.nullable(),
  reason: z.string().nullable(),
  createdAt: fields.time,
  revision: z.number(),
});
export type AlertTargetView = z.output<typeof alertTargetView>;

const targetParams = z.strictObject({ target: name });

/** The native API's routes of alerts. */
export const alertRoutes = {
  'alert.add': {
    method: 'POST',
    path: '/api/v1/alert-targets',
    summary: 'Add somebody who is told: a webhook, Slack, syslog or mail',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      name: newName,
      kind: z.enum(alertTargetKinds),
      ...settings,
      /** Lets a webhook go to another host in clear: who listens on the way reads it. */
      allowPlainHttp: z.boolean().default(false),
      severity: severity.default('notice'),
      kinds: kinds.optional(),
    }),
    response: alertTargetView,
    status: 201,
  },
  'alert.list': {
    method: 'GET',
    path: '/api/v1/alert-targets',
    summary: 'Who is told of what, and whether it arrives',
    authentication: 'token',
    kind: 'read',
    response: z.object({ items: z.array(alertTargetView) }),
  },
  'alert.show': {
    method: 'GET',
    path: '/api/v1/alert-targets/:target',
    summary: 'One target: what waits for it, when it was reached last, and why not',
    authentication: 'token',
    kind: 'read',
    params: targetParams,
    response: alertTargetView,
  },
  'alert.update': {
    method: 'PATCH',
    path: '/api/v1/alert-targets/:target',
    summary: 'Change a target; one with a secret needs the secret again where the address changes',
    authentication: 'token',
    kind: 'command',
    params: targetParams,
    body: z.strictObject({
      ...settings,
      allowPlainHttp: z.boolean().optional(),
      severity: severity.optional(),
      /** null: all of them. */
      kinds: kinds.nullable().optional(),
    }),
    response: alertTargetView,
  },
  'alert.remove': {
    method: 'DELETE',
    path: '/api/v1/alert-targets/:target',
    summary: 'Tell it no more; what waits for it goes with it',
    authentication: 'token',
    kind: 'command',
    params: targetParams,
    response: z.object({ removed: z.string(), dropped: z.number() }),
  },
  'alert.test': {
    method: 'POST',
    path: '/api/v1/alert-targets/:target/test',
    summary: 'Send an alert now and say what came of it',
    authentication: 'token',
    kind: 'command',
    params: targetParams,
    body: z.strictObject({}),
    response: z.object({
      delivered: z.boolean(),
      /** The id that the receiver was given. */
      alert: z.string(),
      milliseconds: z.number(),
      reason: z.string().nullable(),
    }),
  },
} as const satisfies Record<string, RouteDefinition>;
