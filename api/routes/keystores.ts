import { z } from 'zod';
import { assuranceNames } from '../assurance.ts';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

const uriLengthMax = 4096;
const variablesMax = 20;
const deadlineSecondsMax = 30;
const reviewDaysMax = 366;
const noteLengthMax = 1000;
export const deadlineSecondsDefault = 1;

/** The name of a keystore that is added: it stands in policies and on command lines. */
const newName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, 'is not a name: small letters, digits, hyphens');
const name = z.string().min(1).max(60);

const kind = z.enum(['wrapped', 'file', 'pkcs11', 'group']);
const assurance = z.enum(assuranceNames);
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'a SHA-256 in lower-case hex');

const reviewEveryDays = z.int().min(1).max(reviewDaysMax);

/** When it is to be reviewed, and was, who has access to what lies in a keystore. */
const keystoreReview = z.object({
  /** Null: at no fixed times. */
  everyDays: z.number().nullable(),
  dueAt: fields.time.nullable(),
  /** Keys there are neither made nor destroyed nor exported meanwhile. */
  isOverdue: z.boolean(),
  lastAt: fields.time.nullable(),
  lastBy: z.string().nullable(),
});
export type KeystoreReview = z.output<typeof keystoreReview>;

/** What a keystore is, and how it is. */
export const keystoreView = z.object({
  name: z.string(),
  kind,
  /** Of the configuration, and not added by command. */
  isBuiltIn: z.boolean(),
  /** Names module, token and PIN file; null where there is none. */
  uri: z.string().nullable(),
  environment: z.record(z.string(), z.string()),
  declaredAssurance: assurance.nullable(),
  group: z
    .object({
      primary: z.string(),
      secondary: z.string(),
      deadlineSeconds: z.number(),
      /** Who does the work now. */
      active: z.enum(['primary', 'secondary']),
    })
    .nullable(),
  ready: z.boolean(),
  reason: z.string().nullable(),
  /** Keys with a version that is not destroyed. */
  keys: z.number(),
  /** Null for those of the configuration. */
  review: keystoreReview.nullable(),
  createdAt: fields.time.nullable(),
  revision: z.number(),
});
export type KeystoreView = z.output<typeof keystoreView>;

const drillMember = z.object({
  keystore: z.string(),
  ok: z.boolean(),
  milliseconds: z.number().nullable(),
  reason: z.string().nullable(),
});

/** What a drill came to. */
export const keystoreDrill = z.object({
  ok: z.boolean(),
  at: fields.time,
  algorithm: z.string(),
  /** Whether the two members of a group signed with one and the same key; null for one keystore. */
  isShared: z.boolean().nullable(),
  members: z.array(drillMember),
});
export type KeystoreDrill = z.output<typeof keystoreDrill>;

/** What only the keystore itself can tell: null while it does not answer. */
const keystoreDetails = z.object({
  assurance: assurance.nullable(),
  assuranceFrom: z.string().nullable(),
  device: z
    .object({
      label: z.string(),
      manufacturer: z.string(),
      model: z.string(),
      serial: z.string(),
      firmware: z.string(),
    })
    .nullable(),
  abilities: z.array(z.object({ algorithm: z.string(), schemes: z.array(z.string()) })).nullable(),
  figures: z
    .object({
      sessions: z.number(),
      restarts: z.number(),
      waiting: z.number(),
      calls: z.number(),
      medianMilliseconds: z.number().nullable(),
      slowMilliseconds: z.number().nullable(),
    })
    .nullable(),
  /** Keys of a group that are in one member alone, such as those that were there before it. */
  unmirrored: z
    .array(z.object({ key: z.string(), version: z.number(), only: z.string().nullable() }))
    .nullable(),
  failovers: z.number(),
  switchedAt: fields.time.nullable(),
  lastDrill: keystoreDrill.nullable(),
});

export const keystoreShowView = keystoreView.extend(keystoreDetails.shape);
export type KeystoreShowView = z.output<typeof keystoreShowView>;

/** What a principal may do, and in which folders: with one key there at least. */
const accessRight = z.object({
  actions: z.array(z.string()),
  /** Empty for what is no matter of folders. */
  folders: z.array(z.string()),
});

/** Who may do what with the keys of a keystore, by the access rules in force. */
export const keystoreAccess = z.object({
  keystore: z.string(),
  /** Keys in it, in others of the same token, and in the groups that it is a member of. */
  keys: z.number(),
  /** The folders that were asked about: `""` is the top. */
  folders: z.array(z.string()),
  principals: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      kind: z.string(),
      roles: z.array(z.string()),
      rights: z.array(accessRight),
    }),
  ),
  /** False where there is more than is looked at. */
  isComplete: z.boolean(),
  /** SHA-256 of all the above but the count, in canonical JSON: what a review vouches for. */
  digest: digest,
});
export type KeystoreAccess = z.output<typeof keystoreAccess>;

const keystoreParams = z.strictObject({ keystore: name });

/** The native API's routes of keystores. */
export const keystoreRoutes = {
  'keystore.add': {
    method: 'POST',
    path: '/api/v1/keystores',
    summary: 'Add a keystore: the token of a PKCS #11 module, which is tried first',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      name: newName,
      /** RFC 7512: `pkcs11:token=T?module-path=/path/module.so&pin-source=file:/path`. */
      uri: z.string().max(uriLengthMax),
      /** The certified level, where the token does not tell. */
      assurance: assurance.optional(),
      /** For the module, by name; docs/keystores.md lists which. */
      environment: z
        .record(z.string().max(100), z.string().max(uriLengthMax))
        .refine((all) => Object.keys(all).length <= variablesMax, `more than ${variablesMax}`)
        .default({}),
      reviewEveryDays: reviewEveryDays.optional(),
    }),
    response: keystoreShowView,
    status: 201,
  },
  'keystore.group': {
    method: 'POST',
    path: '/api/v1/keystore-groups',
    summary: 'Make a keystore of two: keys are in both, and one stands in for the other',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      name: newName,
      primary: name,
      secondary: name,
      /** A member that has work and answers nothing for so long is taken for away. */
      deadlineSeconds: z.int().min(1).max(deadlineSecondsMax).default(deadlineSecondsDefault),
      reviewEveryDays: reviewEveryDays.optional(),
    }),
    response: keystoreShowView,
    status: 201,
  },
  'keystore.list': {
    method: 'GET',
    path: '/api/v1/keystores',
    summary: 'Every keystore, those of the configuration included',
    authentication: 'token',
    kind: 'read',
    response: z.object({ items: z.array(keystoreView) }),
  },
  'keystore.show': {
    method: 'GET',
    path: '/api/v1/keystores/:keystore',
    summary: 'One keystore: device, level, figures, keys that are in one member alone, last drill',
    authentication: 'token',
    kind: 'read',
    params: keystoreParams,
    response: keystoreShowView,
  },
  'keystore.test': {
    method: 'POST',
    path: '/api/v1/keystores/:keystore/test',
    summary: 'Ask a keystore now what it is and what it can do; changes nothing there',
    authentication: 'token',
    kind: 'command',
    params: keystoreParams,
    body: z.strictObject({}),
    response: keystoreShowView,
  },
  'keystore.drill': {
    method: 'POST',
    path: '/api/v1/keystores/:keystore/drill',
    summary: 'Sign with a test key, in a group on both members, and check the signatures',
    authentication: 'token',
    kind: 'command',
    params: keystoreParams,
    body: z.strictObject({}),
    response: keystoreDrill,
  },
  'keystore.update': {
    method: 'PATCH',
    path: '/api/v1/keystores/:keystore',
    summary: 'Change how often the access to a keystore is reviewed',
    authentication: 'token',
    kind: 'command',
    params: keystoreParams,
    body: z.strictObject({
      /** Null: at no fixed times. Less often is refused while a review is overdue. */
      reviewEveryDays: reviewEveryDays.nullable(),
    }),
    response: keystoreShowView,
  },
  'keystore.access': {
    method: 'GET',
    path: '/api/v1/keystores/:keystore/access',
    summary: 'Who may do what with the keys of a keystore: what a review looks at',
    authentication: 'token',
    kind: 'read',
    params: keystoreParams,
    response: keystoreAccess,
  },
  'keystore.review': {
    method: 'POST',
    path: '/api/v1/keystores/:keystore/review',
    summary: 'Vouch for who has access to a keystore, as it was shown',
    authentication: 'token',
    kind: 'command',
    params: keystoreParams,
    body: z.strictObject({
      /** Of the list that was looked at; one that is out of date is refused. */
      digest: digest,
      note: z.string().max(noteLengthMax).optional(),
    }),
    response: z.object({ review: keystoreReview, access: keystoreAccess }),
  },
  'keystore.remove': {
    method: 'DELETE',
    path: '/api/v1/keystores/:keystore',
    summary: 'Remove a keystore that holds no keys; the token is left as it is',
    authentication: 'token',
    kind: 'command',
    params: keystoreParams,
    response: z.object({ removed: z.string() }),
  },
} as const satisfies Record<string, RouteDefinition>;
