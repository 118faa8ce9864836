import { z } from 'zod';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

export const keyVersionView = z.object({
  version: fields.keyVersionNumber,
  algorithm: z.string(),
  state: fields.keyState,
  fingerprint: z.string(),
  /** SPKI as PEM; null for secret keys. */
  publicKey: z.string().nullable(),
  keystore: z.string(),
  uri: z.string(),
  origin: z.string(),
  createdAt: fields.time,
  activatesAt: fields.time.nullable(),
  deactivatesAt: fields.time.nullable(),
});
export type KeyVersionView = z.output<typeof keyVersionView>;

export const keyView = z.object({
  id: z.string(),
  name: z.string(),
  folder: z.string(),
  purpose: fields.purpose,
  algorithm: z.string(),
  schemes: z.array(z.string()),
  keystore: z.string(),
  owner: z.string(),
  labels: z.record(z.string(), z.string()),
  policy: z.record(z.string(), z.unknown()),
  /** The version that protects new data; null where none is active. */
  currentVersion: z.number().nullable(),
  /** State of the current version, or of the newest. */
  state: fields.keyState,
  createdAt: fields.time,
  rotationDueAt: fields.time.nullable(),
  /** Until then the destruction can be cancelled; all use is refused meanwhile. */
  destroyAt: fields.time.nullable(),
  revision: z.number(),
  versions: z.array(keyVersionView),
});
export type KeyView = z.output<typeof keyView>;

const keyParams = z.strictObject({ key: fields.keyReference });

const making = {
  name: fields.keyName,
  algorithm: z.string().max(60),
  purpose: fields.purpose,
  /** The first is the default. Left out: the algorithm's own list for the purpose. */
  schemes: z.array(z.string().max(60)).min(1).max(20).optional(),
  keystore: z.string().max(60).optional(),
  labels: fields.labels.default({}),
  policy: fields.policy.prefault({}),
  /** Id or name of a principal; the caller where left out. */
  owner: fields.line(fields.nameLengthMax).optional(),
};

export const keyCreateBody = z.strictObject(making);

export const keyImportBody = z.strictObject({
  ...making,
  /** PKCS#8, SEC 1 or PKCS#1 as PEM or DER, or the raw secret key; base64. */
  material: z.string().max(200_000).meta({ secret: true }).optional(),
  /** Opens an encrypted PEM. */
  passphrase: z.string().max(1024).meta({ secret: true }).optional(),
  /** The key wrapped for a Keyreeve key of purpose `wrap`, by `rsa-aes-kwp` or `aes-kwp`; base64. */
  wrapped: z.string().max(200_000).meta({ secret: true }).optional(),
  wrappingKey: fields.keyReference.optional(),
  wrappingScheme: z.string().max(60).optional(),
});
export type KeyImportBody = z.output<typeof keyImportBody>;

export const keyAdoptBody = z.strictObject({
  name: fields.keyName,
  purpose: fields.purpose,
  schemes: making.schemes,
  keystore: z.string().max(60),
  labels: making.labels,
  policy: making.policy,
  owner: making.owner,
  object: fields.objectLabel.optional(),
  objectId: fields.objectId.optional(),
});
export type KeyAdoptBody = z.output<typeof keyAdoptBody>;

/** The native API's key routes. */
export const keyRoutes = {
  'key.create': {
    method: 'POST',
    path: '/api/v1/keys',
    summary: 'Make a key',
    authentication: 'token',
    kind: 'command',
    body: keyCreateBody,
    response: keyView,
    status: 201,
  },
  'key.import': {
    method: 'POST',
    path: '/api/v1/keys/import',
    summary: 'Take a key in that was made elsewhere; every component is recomputed',
    authentication: 'token',
    kind: 'command',
    body: keyImportBody,
    response: keyView,
    status: 201,
  },
  'key.adopt': {
    method: 'POST',
    path: '/api/v1/keys/adopt',
    summary: 'Take a key over that lies in a keystore already, in place',
    authentication: 'token',
    kind: 'command',
    body: keyAdoptBody,
    response: keyView,
    status: 201,
  },
  'key.list': {
    method: 'GET',
    path: '/api/v1/keys',
    summary: 'List the keys the caller may see',
    authentication: 'token',
    kind: 'read',
    query: fields.pageQuery.extend({
      folder: fields.line(fields.nameLengthMax).optional(),
      purpose: fields.purpose.optional(),
      label: fields.line(300).optional(),
    }),
    response: z.object({ items: z.array(keyView), next: z.string().nullable() }),
  },
  'key.show': {
    method: 'GET',
    path: '/api/v1/keys/:key',
    summary: 'Show a key and its versions',
    authentication: 'token',
    kind: 'read',
    params: keyParams,
    response: keyView,
  },
  'key.public': {
    method: 'GET',
    path: '/api/v1/public-keys/:key',
    summary: 'The public keys of a key, by id or name: public material',
    authentication: 'none',
    kind: 'read',
    params: keyParams,
    response: z.object({
      id: z.string(),
      name: z.string(),
      purpose: fields.purpose,
      schemes: z.array(z.string()),
      currentVersion: z.number().nullable(),
      versions: z.array(
        keyVersionView.pick({
          version: true,
          algorithm: true,
          state: true,
          fingerprint: true,
          publicKey: true,
        }),
      ),
    }),
  },
  'key.update': {
    method: 'PATCH',
    path: '/api/v1/keys/:key',
    summary: 'Change labels, owner or policy',
    authentication: 'token',
    kind: 'command',
    params: keyParams,
    body: z.strictObject({
      labels: fields.labels.optional(),
      owner: fields.line(fields.nameLengthMax).optional(),
      policy: fields.policy.optional(),
      /** Refused with `conflict` where the key has another revision by now. */
      revision: z.int().optional(),
    }),
    response: keyView,
  },
  'key.rotate': {
    method: 'POST',
    path: '/api/v1/keys/:key/rotate',
    summary: 'Make the next version; requests that saw the same version make one',
    authentication: 'token',
    kind: 'command',
    params: keyParams,
    body: z.strictObject({
      /** The newest version the caller saw; another newest one is answered as it is. */
      sawVersion: fields.keyVersionNumber.optional(),
      /** Publish the version now, use it from then on. */
      activatesAt: fields.time.optional(),
      algorithm: z.string().max(60).optional(),
    }),
    response: keyView,
  },
  'key.state': {
    method: 'POST',
    path: '/api/v1/keys/:key/state',
    summary: 'Change the state of a version',
    authentication: 'token',
    kind: 'command',
    params: keyParams,
    body: z.strictObject({
      version: fields.keyVersionNumber.optional(),
      state: z.enum(['active', 'suspended', 'deactivated', 'compromised']),
      reason: z.string().max(500).optional(),
    }),
    response: keyView,
  },
  'key.destroy': {
    method: 'POST',
    path: '/api/v1/keys/:key/destroy',
    summary: 'Destroy a key after its waiting time',
    authentication: 'token',
    kind: 'command',
    params: keyParams,
    body: z.strictObject({ afterSeconds: z.int().min(fields.destroyAfterSecondsMin).optional() }),
    response: z.object({
      key: keyView,
      backups: z.array(z.object({ id: z.string(), label: z.string(), createdAt: fields.time })),
    }),
  },
  'key.cancel-destroy': {
    method: 'POST',
    path: '/api/v1/keys/:key/cancel-destroy',
    summary: 'Take a destruction back while it waits',
    authentication: 'token',
    kind: 'command',
    params: keyParams,
    body: z.strictObject({}),
    response: keyView,
  },
} as const satisfies Record<string, RouteDefinition>;
