import type { Action } from './actions.ts';
import type { EntryDraft } from './entry.ts';
import type { Event } from './events.ts';

/** Severities of RFC 5424, section 6.2.1, the worst first: the place is the number. */
export const severities = [
  'emergency',
  'alert',
  'critical',
  'error',
  'warning',
  'notice',
  'informational',
  'debug',
] as const;
export type Severity = (typeof severities)[number];

export interface AlertKindFacts {
  readonly severity: Severity;
  /** What happened, for people. */
  readonly title: string;
}

/** Everything that somebody may want to be told of. A closed set. */
export const alertKinds = {
  'access-rules-changed': { severity: 'warning', title: 'Access rules changed' },
  'alerts-changed': { severity: 'warning', title: 'Who is told of alerts changed' },
  'alerts-dropped': { severity: 'error', title: 'Alerts of a target were dropped' },
  'approval-decided': { severity: 'notice', title: 'An approval was decided' },
  'approval-ended': { severity: 'notice', title: 'An approval was withdrawn, or its time is over' },
  'approval-executed': { severity: 'notice', title: 'An approved command ran' },
  'approval-requested': { severity: 'notice', title: 'A command waits for approval' },
  'approval-rules-changed': { severity: 'warning', title: 'Approval rules changed' },
  'backup-failed': { severity: 'error', title: 'A backup failed' },
  'backup-made': { severity: 'notice', title: 'A backup was made' },
  'backup-restored': { severity: 'critical', title: 'A backup was restored' },
  'break-glass': { severity: 'critical', title: 'Break-glass was used' },
  'ca-made': { severity: 'warning', title: 'A certificate authority was made or taken over' },
  'ca-rekeyed': { severity: 'warning', title: 'A certificate authority got a new key' },
  'certificate-expiring': { severity: 'warning', title: 'A certificate is about to expire' },
  'certificate-revoked': { severity: 'notice', title: 'A certificate was revoked' },
  'job-failing': { severity: 'error', title: 'Repeated work of the service fails' },
  'job-recovered': { severity: 'notice', title: 'Repeated work of the service runs again' },
  'key-compromised': { severity: 'critical', title: 'A key was declared compromised' },
  'key-destroyed': { severity: 'warning', title: 'A key was destroyed' },
  'key-destruction-requested': { severity: 'warning', title: 'A key is to be destroyed' },
  'key-suspended': { severity: 'warning', title: 'A key was suspended' },
  'keystore-available': { severity: 'notice', title: 'A keystore answers again' },
  'keystore-changed': { severity: 'warning', title: 'A keystore was added, changed or removed' },
  'keystore-failover': { severity: 'warning', title: 'A keystore group changed sides' },
  'keystore-unavailable': { severity: 'error', title: 'A keystore does not answer' },
  'node-gone': { severity: 'error', title: 'A node is gone' },
  'node-joined': { severity: 'notice', title: 'A node joined' },
  'principal-changed': { severity: 'warning', title: 'A principal or its roles changed' },
  'refused-repeatedly': { severity: 'warning', title: 'A caller is refused again and again' },
  'review-overdue': { severity: 'warning', title: 'A review is overdue' },
  'root-key-moved': { severity: 'critical', title: 'The root key was moved' },
  'rotation-due': { severity: 'notice', title: 'A key is due to be rotated' },
  'rotation-failed': { severity: 'error', title: 'An automatic rotation failed' },
  'target-failing': { severity: 'error', title: 'Alerts do not reach a target' },
  'target-recovered': { severity: 'notice', title: 'Alerts reach a target again' },
  test: { severity: 'informational', title: 'A test: somebody tries whether alerts arrive' },
  'token-for-another': { severity: 'notice', title: 'A token was made for somebody else' },
  upgraded: { severity: 'notice', title: 'The database was upgraded' },
} as const satisfies Record<string, AlertKindFacts>;

export type AlertKind = keyof typeof alertKinds;
export const alertKindNames = Object.keys(alertKinds) as readonly AlertKind[];

/** Which entries of the record are alerts. Intents and uses never are. */
export interface AlertRule {
  readonly action: Action | Event;
  /** `ok`: it was done. `failed`: it was not, and not because it may not be done, or not yet. */
  readonly outcome: 'ok' | 'failed' | 'any';
  readonly kind: AlertKind;
  /** What else has to hold. `detail` is the entry's, parsed. */
  readonly when?: (entry: EntryDraft, detail: Readonly<Record<string, unknown>>) => boolean;
}

/**
 * Entry to alert. The first rule that fits counts. Refusals for lack of rights are no alerts each
 * by itself: a caller that is refused again and again is one (`refused-repeatedly`).
 */
export const alertRules: readonly AlertRule[] = [
  { action: 'access.apply', outcome: 'ok', kind: 'access-rules-changed' },
  { action: 'alert.add', outcome: 'ok', kind: 'alerts-changed' },
  { action: 'alert.update', outcome: 'ok', kind: 'alerts-changed' },
  { action: 'alert.remove', outcome: 'ok', kind: 'alerts-changed' },
  { action: 'alert.dropped', outcome: 'any', kind: 'alerts-dropped' },
  { action: 'alert.failing', outcome: 'any', kind: 'target-failing' },
  { action: 'alert.recovered', outcome: 'any', kind: 'target-recovered' },
  { action: 'approval.request', outcome: 'any', kind: 'approval-requested' },
  { action: 'approval.decide', outcome: 'ok', kind: 'approval-decided' },
  { action: 'approval.execute', outcome: 'any', kind: 'approval-executed' },
  { action: 'approval.withdraw', outcome: 'ok', kind: 'approval-ended' },
  { action: 'approval.expire', outcome: 'any', kind: 'approval-ended' },
  { action: 'approval.void', outcome: 'any', kind: 'approval-ended' },
  { action: 'approval.break-glass', outcome: 'any', kind: 'break-glass' },
  { action: 'approval.apply-rules', outcome: 'ok', kind: 'approval-rules-changed' },
  { action: 'backup.create', outcome: 'ok', kind: 'backup-made' },
  { action: 'backup.create', outcome: 'failed', kind: 'backup-failed' },
  { action: 'backup.restored', outcome: 'any', kind: 'backup-restored' },
  { action: 'ca.create', outcome: 'ok', kind: 'ca-made' },
  { action: 'ca.import', outcome: 'ok', kind: 'ca-made' },
  { action: 'ca.rekey', outcome: 'ok', kind: 'ca-rekeyed' },
  { action: 'certificate.revoke', outcome: 'ok', kind: 'certificate-revoked' },
  { action: 'certificate.expiring', outcome: 'any', kind: 'certificate-expiring' },
  { action: 'job.failing', outcome: 'any', kind: 'job-failing' },
  { action: 'job.recovered', outcome: 'any', kind: 'job-recovered' },
  { action: 'key.rotation-due', outcome: 'any', kind: 'rotation-due' },
  {
    // By the service itself (whoever asks for a rotation knows what came of it), and once.
    ...{ action: 'key.rotate', outcome: 'failed', kind: 'rotation-failed' },
    when: (_entry, detail) => detail.scheduled === true && detail.repeated !== true,
  },
  {
    ...{ action: 'key.state', outcome: 'ok', kind: 'key-compromised' },
    when: (_entry, detail) => detail.to === 'compromised',
  },
  {
    ...{ action: 'key.state', outcome: 'ok', kind: 'key-suspended' },
    when: (_entry, detail) => detail.to === 'suspended',
  },
  { action: 'key.destroy', outcome: 'ok', kind: 'key-destruction-requested' },
  { action: 'key.destroyed', outcome: 'any', kind: 'key-destroyed' },
  { action: 'keystore.add', outcome: 'ok', kind: 'keystore-changed' },
  { action: 'keystore.remove', outcome: 'ok', kind: 'keystore-changed' },
  { action: 'keystore.update', outcome: 'ok', kind: 'keystore-changed' },
  { action: 'keystore.available', outcome: 'any', kind: 'keystore-available' },
  { action: 'keystore.unavailable', outcome: 'any', kind: 'keystore-unavailable' },
  { action: 'keystore.failover', outcome: 'any', kind: 'keystore-failover' },
  { action: 'keystore.failback', outcome: 'any', kind: 'keystore-failover' },
  { action: 'keystore.review-overdue', outcome: 'any', kind: 'review-overdue' },
  { action: 'node.gone', outcome: 'any', kind: 'node-gone' },
  { action: 'node.joined', outcome: 'any', kind: 'node-joined' },
  { action: 'principal.bind', outcome: 'ok', kind: 'principal-changed' },
  { action: 'principal.create', outcome: 'ok', kind: 'principal-changed' },
  { action: 'principal.enrol', outcome: 'ok', kind: 'principal-changed' },
  { action: 'principal.update', outcome: 'ok', kind: 'principal-changed' },
  { action: 'root-key.move', outcome: 'ok', kind: 'root-key-moved' },
  { action: 'root-key.moved', outcome: 'any', kind: 'root-key-moved' },
  { action: 'system.upgraded', outcome: 'any', kind: 'upgraded' },
  {
    ...{ action: 'token.create', outcome: 'ok', kind: 'token-for-another' },
    when: (entry, detail) => detail.principal !== entry.principalId,
  },
];

/** One alert, as receivers get it (docs/alerts.md). Holds no secret. */
export interface Alert {
  /** The id of the entry of the record: the same however often it is sent. */
  readonly id: string;
  readonly time: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly title: string;
  readonly action: string;
  /** `ok` or an error code. */
  readonly outcome: string;
  readonly installation: string;
  readonly principalId?: string;
  readonly principalName?: string;
  readonly address?: string;
  readonly keyId?: string;
  readonly keyName?: string;
  readonly keyVersion?: string;
  /** What else it is about: a certificate's serial number, a keystore, a target of alerts. */
  readonly resource?: string;
  readonly correlationId?: string;
  /** How often it happened, where one alert stands for many. */
  readonly count?: number;
}
