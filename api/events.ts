/**
 * What the service does by itself and puts on the record: the actions of entries of the kind
 * `event`, beside the commands (`api/actions.ts`) that it carries out by itself. A closed set.
 */
export const events = [
  'alert.dropped',
  'alert.failing',
  'alert.recovered',
  'alert.tested',
  'approval.break-glass',
  'approval.execute',
  'approval.expire',
  'approval.request',
  'approval.void',
  'backup.restored',
  'backup.sent',
  'certificate.expiring',
  'intent.settled',
  'job.failing',
  'job.recovered',
  'key.destroyed',
  'key.rotation-due',
  'keystore.available',
  'keystore.drill',
  'keystore.failback',
  'keystore.failover',
  'keystore.review-overdue',
  'keystore.unavailable',
  'log.continued',
  'log.started',
  'login',
  'node.gone',
  'node.joined',
  'record.archived',
  'root-key.moved',
  'system.upgraded',
] as const;
export type Event = (typeof events)[number];
