import { z } from 'zod';
import {
  approvalKinds,
  approvalRulesMax,
  approvalStates,
  approvalTtlSecondsDefault,
  approvalTtlSecondsMax,
  approvalTtlSecondsMin,
  approversMax,
  gatedActions,
} from '../approvals.ts';
import * as fields from '../fields.ts';
import type { RouteDefinition } from '../route.ts';

const who = z.object({ id: z.string(), name: z.string() });

/** What has to be met before the command runs; all of them have to. */
export const approvalRequirement = z.object({
  /** The rule it comes from, or what else asks for it. */
  rule: z.string(),
  why: z.enum(['rule', 'key-policy', 'weakening', 'approver-given', 'break-glass']),
  approvals: z.number(),
  /** Each word that counts is of somebody with one of these roles. */
  roles: z.array(z.string()),
  /** How many words count for it by now. */
  given: z.number(),
});

export const approvalDecision = z.object({
  principal: who,
  decision: z.enum(['approve', 'reject']),
  roles: z.array(z.string()),
  reason: z.string().nullable(),
  decidedAt: fields.time,
});

export const approvalSummary = z.object({
  id: z.string(),
  state: z.enum(approvalStates),
  kind: z.enum(approvalKinds),
  action: z.string(),
  /** What it is done to, for people: a name of a key, a principal. */
  subject: z.string(),
  requester: who,
  /** The network address that it was asked from. */
  address: z.string(),
  /** Why it cannot wait: break-glass alone. */
  reason: z.string().nullable(),
  requirements: z.array(approvalRequirement),
  decisions: z.array(approvalDecision),
  /** SHA-256 of everything that is agreed to, hexadecimal: approvers send back what they saw. */
  digest: z.string(),
  createdAt: fields.time,
  expiresAt: fields.time,
  endedAt: fields.time.nullable(),
});

export const approvalView = approvalSummary.extend({
  nonce: z.string(),
  /** Exactly what will run; secrets as salted commitments. */
  command: z.record(z.string(), z.unknown()),
});
export type ApprovalView = z.output<typeof approvalView>;

const ruleName = z.string().regex(/^[a-z0-9](?:[a-z0-9._-]{0,58}[a-z0-9])?$/);

export const approvalRule = z.strictObject({
  name: ruleName,
  actions: z.array(z.enum(gatedActions)).min(1).max(gatedActions.length),
  /** Keys in these folders and below. All that is given has to fit; of a list, one. */
  folders: z.array(fields.keyName).min(1).max(50).optional(),
  /** Keys that carry all of these. */
  labels: fields.labels.optional(),
  purposes: z.array(fields.purpose).min(1).max(20).optional(),
  /** Keys with a version in one of these keystores. */
  keystores: z.array(z.string().max(60)).min(1).max(20).optional(),
  /** How many have to approve. */
  approvals: z.int().min(1).max(approversMax),
  /** Who may: people with one of these roles. */
  roles: fields.approverRoleList,
  ttlSeconds: z
    .int()
    .min(approvalTtlSecondsMin)
    .max(approvalTtlSecondsMax)
    .default(approvalTtlSecondsDefault),
  /** Whether one of each break-glass role can stand in for it in an emergency. */
  breakGlass: z.boolean().default(false),
});
export type ApprovalRule = z.output<typeof approvalRule>;

const approvalParams = z.strictObject({ approval: fields.line(100).min(1) });
const digest = z.string().regex(/^[0-9a-f]{64}$/, 'SHA-256 in lower-case hex');
const remark = fields.line(500).optional();

export const approvalRoutes = {
  'approval.list': {
    method: 'GET',
    path: '/api/v1/approvals',
    summary: 'Approvals that the caller asked for, may decide or may see; newest first',
    authentication: 'token',
    kind: 'read',
    query: fields.pageQuery.extend({ state: z.enum(approvalStates).optional() }),
    response: z.object({ items: z.array(approvalSummary), next: z.string().nullable() }),
  },
  'approval.show': {
    method: 'GET',
    path: '/api/v1/approvals/:approval',
    summary: 'One approval: exactly what will run, who has to agree, who has',
    authentication: 'token',
    kind: 'read',
    params: approvalParams,
    response: approvalView,
  },
  'approval.approve': {
    method: 'POST',
    path: '/api/v1/approvals/:approval/approve',
    summary: 'Agree to a command, by the digest of what was seen',
    authentication: 'token',
    kind: 'command',
    params: approvalParams,
    body: z.strictObject({ digest, reason: remark }),
    response: approvalView,
  },
  'approval.reject': {
    method: 'POST',
    path: '/api/v1/approvals/:approval/reject',
    summary: 'Refuse a command: one word ends the approval',
    authentication: 'token',
    kind: 'command',
    params: approvalParams,
    body: z.strictObject({ reason: remark }),
    response: approvalView,
  },
  'approval.withdraw': {
    method: 'POST',
    path: '/api/v1/approvals/:approval/withdraw',
    summary: 'Take an own request back',
    authentication: 'token',
    kind: 'command',
    params: approvalParams,
    body: z.strictObject({}),
    response: approvalView,
  },
  'approval.rules.show': {
    method: 'GET',
    path: '/api/v1/approval-rules',
    summary: 'Which commands need the approval of others',
    authentication: 'token',
    kind: 'read',
    response: z.object({
      /** 0 where none were ever applied. */
      version: z.number(),
      digest: z.string(),
      appliedAt: fields.time.nullable(),
      appliedBy: z.string().nullable(),
      rules: z.array(approvalRule),
    }),
  },
  'approval.rules.apply': {
    method: 'POST',
    path: '/api/v1/approval-rules',
    summary: 'Put approval rules in force; weakening one needs the approvals it asks for',
    authentication: 'token',
    kind: 'command',
    body: z.strictObject({
      rules: z.array(approvalRule).max(approvalRulesMax),
      /** Refused with `conflict` where another version is in force by now. */
      sawVersion: z.int().min(0).optional(),
    }),
    response: z.object({ version: z.number(), digest: z.string(), appliedAt: fields.time }),
  },
} as const satisfies Record<string, RouteDefinition>;
