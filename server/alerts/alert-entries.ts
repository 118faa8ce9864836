import {
  type Alert,
  type AlertKind,
  type AlertRule,
  alertKinds,
  alertRules,
} from '../../api/alerts.ts';
import type { EntryDraft } from '../../api/entry.ts';

/** An alert as it lies in the outbox: which installation it is of is added when it is sent. */
export type PendingAlert = Omit<Alert, 'installation'>;

/** Outcomes that are refusals for lack of rights: each by itself is nobody's alarm. */
const lackOfRights: readonly string[] = ['forbidden', 'unauthenticated', 'login-code-invalid'];
/** Neither done nor failed: it may not be done, or has to wait for others. */
const notFailures: readonly string[] = [...lackOfRights, 'approval-pending'];

// Built once from the closed table: entries are looked up by their action.
const rulesByAction = Map.groupBy(alertRules, ({ action }) => action as string);

/** The alert that an entry of the record is, by the table of `api/alerts.ts`. */
export function alertOf(entry: EntryDraft): PendingAlert | undefined {
  if (entry.kind !== 'outcome' && entry.kind !== 'event') return undefined;
  const rules = rulesByAction.get(entry.action);
  if (rules === undefined) return undefined;
  const detail = detailOf(entry);
  const rule = rules.find((one) => fits(one, entry, detail));
  return rule === undefined ? undefined : alertFrom(entry, rule.kind);
}

/** The alert of this kind about an entry. */
export function alertFrom(
  entry: EntryDraft,
  kind: AlertKind,
  count = entry.count === undefined ? undefined : Number(entry.count),
): PendingAlert {
  const { id, time, action, outcome } = entry;
  const { severity, title } = alertKinds[kind];
  const { principalId, principalName, address, keyId, keyName, keyVersion } = entry;
  const { resource, correlationId } = entry;
  const about = { principalId, principalName, address, keyId, keyName, keyVersion };
  const known = Object.entries({ ...about, resource, correlationId, count });
  return {
    ...{ id, time, kind, severity, title, action, outcome },
    ...Object.fromEntries(known.filter(([, value]) => value !== undefined)),
  };
}

/** Whether the entry says that somebody was refused for lack of rights. */
export function isRefusal(entry: EntryDraft): boolean {
  return entry.kind !== 'intent' && lackOfRights.includes(entry.outcome);
}

function fits(
  rule: AlertRule,
  entry: EntryDraft,
  detail: Readonly<Record<string, unknown>>,
): boolean {
  const { outcome } = entry;
  if (rule.outcome === 'ok' && outcome !== 'ok') return false;
  if (rule.outcome === 'failed' && (outcome === 'ok' || notFailures.includes(outcome))) {
    return false;
  }
  return rule.when === undefined || rule.when(entry, detail);
}

function detailOf({ detail }: EntryDraft): Readonly<Record<string, unknown>> {
  if (detail === undefined) return {};
  try {
    const parsed: unknown = JSON.parse(detail);
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  } catch {
    return {};
  }
}
