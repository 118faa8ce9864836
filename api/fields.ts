import { z } from 'zod';
import {
  approvalTtlSecondsMax,
  approvalTtlSecondsMin,
  approverRoles,
  approversMax,
  keyPolicyActions,
} from './approvals.ts';
import { assuranceNames } from './assurance.ts';
import { operations, purposes } from './purposes.ts';
import { keyStates } from './states.ts';
import { storageClassNames } from './storage-classes.ts';

/** Fields that many requests share, each with its limit. */

export const nameLengthMax = 200;
export const nameSegmentsMax = 8;
/** One plaintext, message or ciphertext of a call: longer ones are hashed or streamed by the client. */
export const dataBytesMax = 1024 * 1024;
export const batchItemsMax = 1000;
export const labelsMax = 32;
export const pageSizeMax = 500;
export const pageSizeDefault = 50;

const segment = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?';
const namePattern = new RegExp(`^${segment}(?:/${segment}){0,${nameSegmentsMax - 1}}$`);

/** `folder/name`: up to eight parts of letters, digits, `.`, `_`, `-`. */
export const keyName = z
  .string()
  .max(nameLengthMax)
  .regex(namePattern, 'parts of letters, digits, ".", "_" and "-", joined by "/"');

/**
 * Text that people give, in one line: without control characters, which databases refuse and
 * terminals obey, and without halves of surrogate pairs, which no UTF-8 has.
 */
export function line(lengthMax: number) {
  return z
    .string()
    .max(lengthMax)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, 'no control characters');
}

/** A key by id or name, as it stands in a URL (the slashes of a name percent-encoded). */
export const keyReference = line(nameLengthMax).min(1);

export const keyVersionNumber = z.int().min(1).max(1_000_000);

/** Standard base64 with padding (RFC 4648, section 4), strict. */
export const base64 = z.base64().max(Math.ceil(dataBytesMax / 3) * 4);

export const purpose = z.enum(purposes);
export const keyState = z.enum(keyStates);
export const operation = z.enum(operations);

export const time = z.iso.datetime();

export const labels = z
  .record(z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/), line(200))
  .refine((value) => Object.keys(value).length <= labelsMax, `at most ${labelsMax} labels`);

/** What a keystore calls a key that lies there: CKA_LABEL of a token, the name of a key file. */
export const objectLabel = line(nameLengthMax).min(1);
/** CKA_ID of a token, in lower-case hex. */
export const objectId = z
  .string()
  .max(200)
  .regex(/^(?:[0-9a-f]{2})+$/, 'lower-case hex');

const secondsMax = 100 * 366 * 86_400;
export const destroyAfterSecondsMin = 3600;
export const destroyAfterSecondsDefault = 7 * 86_400;

/** Roles of which somebody has to approve. */
export const approverRoleList = z
  .array(z.enum(approverRoles))
  .min(1)
  .max(approverRoles.length)
  .refine((list) => new Set(list).size === list.length, 'a role stands there twice');

/** Commands on one key that need the approval of others, as its own policy says. */
export const dualControl = z.strictObject({
  actions: z.array(z.enum(keyPolicyActions)).min(1).max(keyPolicyActions.length),
  approvals: z.int().min(1).max(approversMax),
  roles: approverRoleList,
  ttlSeconds: z.int().min(approvalTtlSecondsMin).max(approvalTtlSecondsMax).optional(),
});
export type DualControl = z.output<typeof dualControl>;

/** What governs a key, as it is asked for; what is left out takes its default. */
export const policy = z.strictObject({
  /** How long a version may protect new data, from its activation. */
  validitySeconds: z.int().min(60).max(secondsMax).optional(),
  /** After how long the key is due to be rotated: shown, and done by the scheduler. */
  rotateEverySeconds: z.int().min(60).max(secondsMax).optional(),
  /** overlap: the old version stays active for `overlapSeconds`; supersede: it is deactivated at
   * once; expire: it stays active until its own end. Old versions always verify and decrypt. */
  onRotation: z.enum(['overlap', 'supersede', 'expire']).default('supersede'),
  overlapSeconds: z.int().min(0).max(secondsMax).default(0),
  /** Keystores in which versions may be made; all that are configured where left out. */
  keystores: z.array(z.string().max(60)).min(1).max(20).optional(),
  /**
   * none: the private key is left out of backups; replica: backups hold it, wrapped. Fixed at
   * creation; left out it follows from the keystore: none in hardware and where export is locked.
   */
  recovery: z.enum(['none', 'replica']).optional(),
  /**
   * Refuses that the private half leaves its keystore in any way: no export, no transfer, no backup.
   * Left out: true in hardware, else false. Can be locked later, never unlocked.
   */
  exportLocked: z.boolean().optional(),
  /** The assurance level that the keystore of every version has to have. Can be raised, never lowered. */
  assurance: z.enum(assuranceNames).optional(),
  /** Class of the storage table: which keystores may hold the key. Fixed at creation. */
  storage: z.enum(storageClassNames).optional(),
  /** How long a destruction waits, at least. */
  destroyAfterSeconds: z
    .int()
    .min(destroyAfterSecondsMin)
    .max(366 * 86_400)
    .default(destroyAfterSecondsDefault),
  /** How often the owner has to review the key. */
  reviewEverySeconds: z.int().min(86_400).max(secondsMax).optional(),
  /**
   * Commands on this key that need the approval of others; so does every change of the key itself.
   * Left out in a change it stays as it is, null ends it.
   */
  dualControl: dualControl.nullable().optional(),
});
export type PolicyRequest = z.output<typeof policy>;

/** The policy of a key: what was left out is settled when the key is made. */
export type Policy = PolicyRequest & {
  readonly recovery: 'none' | 'replica';
};

export const pageQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(pageSizeMax).default(pageSizeDefault),
  /** `next` of the page before. */
  after: line(400).optional(),
});
