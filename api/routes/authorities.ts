import { z } from 'zod';
import * as fields from '../fields.ts';
import { profile } from '../profiles.ts';
import type { RouteDefinition } from '../route.ts';

export const subjectLengthMax = 1000;
/** One PEM file: a key, a certificate with its chain. */
export const pemLengthMax = 200_000;
/** Lines of an index or certificates of a bundle, in one request of a take-over. */
export const importTextLengthMax = 1_500_000;

/** A distinguished name after RFC 4514, such as `CN=Example Root,O=Example,C=DE`. */
export const subject = fields.line(subjectLengthMax);
const pem = z.string().max(pemLengthMax);
const seconds = z
  .int()
  .min(60)
  .max(100 * 366 * 86_400);
const pathLength = z.int().min(0).max(10);

/** A general name as text: `dns:example.org`, `ip:10.0.0.0/8`, `email:example.org`, `uri:`, `dn:`. */
const constraint = fields.line(300);
const nameConstraints = z.strictObject({
  permitted: z.array(constraint).max(50).default([]),
  excluded: z.array(constraint).max(50).default([]),
});

/** How a CA is run; what is left out takes its default. */
export const caSettings = z.strictObject({
  /** How long a CRL is valid: nextUpdate after thisUpdate. */
  crlValiditySeconds: z
    .int()
    .min(600)
    .max(366 * 86_400)
    .default(7 * 86_400),
  /** How often one is published where nothing was revoked. */
  crlEverySeconds: z
    .int()
    .min(60)
    .max(366 * 86_400)
    .default(86_400),
  /** Profiles that this CA issues; every one where left out. */
  profiles: z.array(fields.line(60)).max(100).optional(),
  /** Longest validity of what it issues, whatever the profile says. */
  validitySecondsMax: seconds.optional(),
  /** Expired certificates are forgotten after that; kept for ever where left out. */
  purgeAfterSeconds: z
    .int()
    .min(0)
    .max(100 * 366 * 86_400)
    .optional(),
});
export type CaSettings = z.output<typeof caSettings>;

export const caVersionView = z.object({
  version: z.number(),
  /** In force now. */
  state: fields.keyState,
  algorithm: z.string(),
  /** SHA-256 of the public key (SPKI), and of the certificate. */
  keyFingerprint: z.string(),
  fingerprint: z.string(),
  serial: z.string(),
  notBefore: fields.time,
  notAfter: fields.time,
  certificate: z.string(),
  crlNumber: z.number(),
  crlPublishedAt: fields.time.nullable(),
  crlDueAt: fields.time.nullable(),
  /** Under the base address; null where none is configured. */
  crlUrl: z.string().nullable(),
});

export const caView = z.object({
  id: z.string(),
  name: z.string(),
  subject: z.string(),
  /** Name of the CA above; null for a root and where that CA is not in this installation. */
  parent: z.string().nullable(),
  isRoot: z.boolean(),
  state: z.enum(['active', 'importing']),
  algorithm: z.string(),
  scheme: z.string(),
  keystore: z.string(),
  pathLength: z.number().nullable(),
  nameConstraints: z.object({ permitted: z.array(z.string()), excluded: z.array(z.string()) }),
  settings: caSettings,
  currentVersion: z.number().nullable(),
  createdAt: fields.time,
  revision: z.number(),
  counts: z.object({ valid: z.number(), revoked: z.number(), expired: z.number() }),
  versions: z.array(caVersionView),
  /** What a person should know now, such as that certificates carry no addresses. */
  notes: z.array(z.string()),
});
export type CaView = z.output<typeof caView>;

const caParams = z.strictObject({ ca: fields.keyReference });
const command = { authentication: 'token', kind: 'command' } as const;
const read = { authentication: 'token', kind: 'read' } as const;

export const caCreateBody = z.strictObject({
  name: fields.keyName,
  /** The CA that certifies the new one; a root where left out. */
  parent: fields.keyReference.optional(),
  subject,
  algorithm: z.string().max(60),
  /** How it signs; the algorithm's first scheme where left out. */
  scheme: z.string().max(60).optional(),
  keystore: z.string().max(60).optional(),
  validitySeconds: seconds.optional(),
  pathLength: pathLength.optional(),
  nameConstraints: nameConstraints.optional(),
  settings: caSettings.prefault({}),
  labels: fields.labels.default({}),
  policy: fields.policy.prefault({}),
  owner: fields.line(fields.nameLengthMax).optional(),
});

const renewal = z.strictObject({
  validitySeconds: seconds.optional(),
  /** Refused with `conflict` where another version is the newest by now. */
  sawVersion: fields.keyVersionNumber.optional(),
});

/** The native API's routes of certificate authorities and profiles. */
export const authorityRoutes = {
  'ca.create': {
    method: 'POST',
    path: '/api/v1/cas',
    summary: 'Make a certificate authority: its key and its certificate',
    ...command,
    body: caCreateBody,
    response: caView,
    status: 201,
  },
  'ca.list': {
    method: 'GET',
    path: '/api/v1/cas',
    summary: 'List the certificate authorities the caller may see',
    ...read,
    query: fields.pageQuery,
    response: z.object({ items: z.array(caView), next: z.string().nullable() }),
  },
  'ca.show': {
    method: 'GET',
    path: '/api/v1/cas/:ca',
    summary: 'Show a certificate authority and its versions',
    ...read,
    params: caParams,
    response: caView,
  },
  'ca.chain': {
    method: 'GET',
    path: '/api/v1/ca-chains/:ca',
    summary: 'The certificates from a CA up to its root, as PEM: public material',
    authentication: 'none',
    kind: 'read',
    params: caParams,
    query: z.strictObject({ version: z.coerce.number().int().min(1).optional() }),
    response: z.object({
      name: z.string(),
      version: z.number(),
      chain: z.string(),
      /** Certificates that lead from an older root to this one and back. */
      cross: z.string(),
    }),
  },
  'ca.update': {
    method: 'PATCH',
    path: '/api/v1/cas/:ca',
    summary: 'Change how a CA is run',
    ...command,
    params: caParams,
    /** What is left out stays; null takes a limit away. */
    body: z.strictObject({
      settings: z.strictObject({
        crlValiditySeconds: caSettings.shape.crlValiditySeconds.unwrap().optional(),
        crlEverySeconds: caSettings.shape.crlEverySeconds.unwrap().optional(),
        profiles: caSettings.shape.profiles.nullable(),
        validitySecondsMax: caSettings.shape.validitySecondsMax.nullable(),
        purgeAfterSeconds: caSettings.shape.purgeAfterSeconds.nullable(),
      }),
      revision: z.int().optional(),
    }),
    response: caView,
  },
  'ca.rekey': {
    method: 'POST',
    path: '/api/v1/cas/:ca/rekey',
    summary: 'Give a CA a new key; a root is cross-signed in both directions',
    ...command,
    params: caParams,
    body: renewal.extend({ algorithm: z.string().max(60).optional() }),
    response: caView,
  },
  'ca.renew': {
    method: 'POST',
    path: '/api/v1/cas/:ca/renew',
    summary: 'Give the current key of a CA a new certificate',
    ...command,
    params: caParams,
    body: renewal,
    response: caView,
  },
  'ca.import': {
    method: 'POST',
    path: '/api/v1/cas/import',
    summary: 'Begin to take over a CA that was run elsewhere: its key and certificate',
    ...command,
    body: z.strictObject({
      name: fields.keyName,
      /** PKCS#8, PKCS#1 or SEC 1 as PEM; left out, the key is adopted where it lies. */
      key: pem.meta({ secret: true }).optional(),
      passphrase: z.string().max(1024).meta({ secret: true }).optional(),
      /** The key as `keystore` calls it, which holds it already. */
      object: fields.objectLabel.optional(),
      objectId: fields.objectId.optional(),
      /** The certificate of the CA, then those above it. */
      certificate: pem,
      /** Number of the newest CRL it has published (hexadecimal, as openssl keeps it); the next one
       * is one more. */
      crlNumber: z
        .string()
        .regex(/^[0-9A-Fa-f]{1,40}$/)
        .optional(),
      /** The CA of this installation that certifies it, where there is one. */
      parent: fields.keyReference.optional(),
      scheme: z.string().max(60).optional(),
      keystore: z.string().max(60).optional(),
      settings: caSettings.prefault({}),
      labels: fields.labels.default({}),
      policy: fields.policy.prefault({}),
      owner: fields.line(fields.nameLengthMax).optional(),
    }),
    response: caView,
    status: 201,
  },
  'ca.import-certificates': {
    method: 'POST',
    path: '/api/v1/cas/:ca/import',
    summary: 'Take in what a CA issued and revoked elsewhere; what is known already counts as done',
    ...command,
    params: caParams,
    body: z.strictObject({
      /** Lines of the `index.txt` of `openssl ca`. */
      index: z.string().max(importTextLengthMax).optional(),
      /** Certificates as PEM, one after another. */
      certificates: z.string().max(importTextLengthMax).optional(),
    }),
    response: z.object({ added: z.number(), completed: z.number(), known: z.number() }),
  },
  'ca.import-finish': {
    method: 'POST',
    path: '/api/v1/cas/:ca/import/finish',
    summary: 'End a take-over: from now on the CA issues and publishes here',
    ...command,
    params: caParams,
    /** What there has to be, or the take-over is not ended. */
    body: z.strictObject({ issued: z.int().min(0), revoked: z.int().min(0) }),
    response: caView,
  },
  'crl.get': {
    method: 'GET',
    path: '/api/v1/crls/:ca',
    summary: 'The newest CRL of a CA, as DER: public material',
    authentication: 'none',
    kind: 'read',
    params: caParams,
    query: z.strictObject({
      /** Of which version of the CA's key; the current one where left out. */
      version: z.coerce.number().int().min(1).optional(),
      /** Wait, some seconds at most, until everything revoked so far is in it. */
      fresh: z.enum(['true', 'false']).default('false'),
    }),
    response: 'stream',
  },
  'crl.publish': {
    method: 'POST',
    path: '/api/v1/cas/:ca/crl',
    summary: 'Publish a new CRL now',
    ...command,
    params: caParams,
    body: z.strictObject({ version: fields.keyVersionNumber.optional() }),
    response: z.object({
      version: z.number(),
      number: z.number(),
      entries: z.number(),
      thisUpdate: fields.time,
      nextUpdate: fields.time,
    }),
  },
  'profile.list': {
    method: 'GET',
    path: '/api/v1/certificate-profiles',
    summary: 'List the certificate profiles',
    ...read,
    response: z.object({ items: z.array(profile.extend({ isBuiltIn: z.boolean() })) }),
  },
  'profile.show': {
    method: 'GET',
    path: '/api/v1/certificate-profiles/:profile',
    summary: 'Show a certificate profile',
    ...read,
    params: z.strictObject({ profile: fields.line(60) }),
    response: profile.extend({ isBuiltIn: z.boolean() }),
  },
  'profile.apply': {
    method: 'POST',
    path: '/api/v1/certificate-profiles',
    summary: 'Make a certificate profile, or change one of your own',
    ...command,
    body: profile,
    response: profile.extend({ isBuiltIn: z.boolean() }),
  },
  'profile.remove': {
    method: 'DELETE',
    path: '/api/v1/certificate-profiles/:profile',
    summary: 'Remove a certificate profile of your own',
    ...command,
    params: z.strictObject({ profile: fields.line(60) }),
    response: z.object({ removed: z.string() }),
  },
} as const satisfies Record<string, RouteDefinition>;
