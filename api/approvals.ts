import type { Action } from './actions.ts';
import { type RoleName, roleNames } from './roles.ts';

/** Those asked of a key: rules may narrow them to folders, labels, purposes and keystores. */
export const keyGatedActions = [
  'key.create',
  'key.import',
  'key.adopt',
  'key.update',
  'key.rotate',
  'key.state',
  'key.destroy',
  'key.cancel-destroy',
  'ca.create',
  'ca.import',
  'ca.update',
  'ca.rekey',
  'ca.renew',
  'ca.certify',
  'certificate.issue',
  'certificate.export',
  'certificate.revoke',
  'certificate.purge',
  'crl.publish',
] as const satisfies readonly Action[];

/** Those asked of a keystore: rules may narrow them to keystores. */
export const keystoreGatedActions = [
  'keystore.add',
  'keystore.test',
  'keystore.update',
  'keystore.review',
  'keystore.remove',
] as const satisfies readonly Action[];

/**
 * The commands that can be put under dual control, a closed set. Left out is what stops harm
 * (`token.revoke`), what only looks, and the words of approvals themselves.
 */
export const gatedActions = [
  ...keyGatedActions,
  ...keystoreGatedActions,
  'certificate.block-key',
  'profile.apply',
  'principal.create',
  'principal.update',
  'principal.enrol',
  'principal.bind',
  'token.create',
  'audit.export',
  'audit.retain',
  'backup.create',
  'root-key.move',
  'access.apply',
  'alert.add',
  'alert.update',
  'alert.remove',
  'approval.apply-rules',
] as const satisfies readonly Action[];
export type GatedAction = (typeof gatedActions)[number];

/** What a key's own policy can put under dual control: the commands on a key that is there. */
export const keyPolicyActions = [
  'key.update',
  'key.rotate',
  'key.state',
  'key.destroy',
  'key.cancel-destroy',
  'ca.update',
  'ca.rekey',
  'ca.renew',
  'ca.certify',
  'certificate.issue',
  'certificate.revoke',
  'certificate.purge',
  'crl.publish',
] as const satisfies readonly Action[];

/** Roles that may approve: who audits does nothing else. */
export const approverRoles: readonly RoleName[] = roleNames.filter((name) => name !== 'auditor');

/**
 * pending: words are missing; approved: it runs when the requester repeats the request; void: what
 * it rested on changed. Stored as `pending` until it ends.
 */
export const approvalStates = [
  'pending',
  'approved',
  'executed',
  'rejected',
  'withdrawn',
  'expired',
  'void',
] as const;
export type ApprovalState = (typeof approvalStates)[number];

export const approvalKinds = ['ordinary', 'break-glass'] as const;
export type ApprovalKind = (typeof approvalKinds)[number];

export const approvalRulesMax = 100;
export const approversMax = 10;
export const approvalTtlSecondsMin = 60;
export const approvalTtlSecondsDefault = 86_400;
export const approvalTtlSecondsMax = 30 * 86_400;
export const breakGlassTtlSeconds = 3600;
export const breakGlassReasonLengthMin = 10;
export const breakGlassReasonLengthMax = 500;
