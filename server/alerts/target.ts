import type { AlertKind, Severity } from '../../api/alerts.ts';
import type { AlertTargetView, alertTargetKinds } from '../../api/routes/alerts.ts';
import { formatTime } from '../base/clock.ts';

export type TargetKind = (typeof alertTargetKinds)[number];

/** What is known of a target beside its secret: kept as JSON. */
export interface TargetSettings {
  /** Where to; of slack the host alone. */
  readonly address: string;
  /** PEM of the only CAs to trust; null: those of the system. */
  readonly ca: string | null;
  readonly from: string | null;
  readonly to: readonly string[] | null;
  readonly allowPlainHttp: boolean;
  /** Told of this severity and worse. */
  readonly severity: Severity;
  /** Told of these alone; null: of all. */
  readonly kinds: readonly AlertKind[] | null;
}

export interface Target {
  readonly id: string;
  readonly name: string;
  readonly kind: TargetKind;
  readonly settings: TargetSettings;
  /** Sealed by the store key. */
  readonly secret: Uint8Array | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly deliveredAt: number | null;
  /** Since when it is not reached; null while it is. */
  readonly failedAt: number | null;
  readonly reason: string | null;
  readonly revision: number;
}

/** What people see of it. */
export function viewTarget(target: Target, waiting: number): AlertTargetView {
  const { id, name, kind, settings, secret, createdAt, revision } = target;
  return {
    ...{ id, name, kind, address: settings.address },
    from: settings.from,
    to: settings.to === null ? null : [...settings.to],
    ...{ hasCa: settings.ca !== null, hasSecret: secret !== null },
    allowsPlainHttp: settings.allowPlainHttp,
    severity: settings.severity,
    kinds: settings.kinds === null ? null : [...settings.kinds],
    ...{ waiting, createdAt: formatTime(createdAt), revision, reason: target.reason },
    deliveredAt: target.deliveredAt === null ? null : formatTime(target.deliveredAt),
    failingSince: target.failedAt === null ? null : formatTime(target.failedAt),
  };
}
