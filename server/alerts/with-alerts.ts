import type { EntryDraft } from '../../api/entry.ts';
import type { Clock } from '../base/clock.ts';
import { type OutboxDraft, type Storage, type Write, withCommit } from '../storage/storage.ts';
import { alertFrom, alertOf, isRefusal, type PendingAlert } from './alert-entries.ts';
import { alertTopic } from './queue.ts';
import { Refusals } from './refusals.ts';

/**
 * Storage that puts an alert into the outbox, in the commit of the entry itself, for each entry that
 * somebody wants to be told of: one is there exactly when the other is. Uses that succeed are
 * looked at no further than their outcome.
 */
export function withAlerts(storage: Storage, clock: Clock): Storage {
  const refusals = new Refusals(clock);
  const isAnybodyTold = targetsKnown(storage);
  const commitWithAlerts = async (write: Write) => {
    const alerts = alertsOf(write.entries, refusals);
    if (alerts.length === 0 || !(await isAnybodyTold())) return storage.commit(write);
    return storage.commit({ ...write, outbox: [...(write.outbox ?? []), ...alerts.map(draft)] });
  };
  return withCommit(storage, (write) =>
    isQuiet(write.entries) ? storage.commit(write) : commitWithAlerts(write),
  );
}

/** The one check that the hot path pays. */
function isQuiet(entries: readonly EntryDraft[]): boolean {
  for (const { kind, outcome } of entries) {
    if (kind !== 'intent' && (kind !== 'use' || outcome !== 'ok')) return false;
  }
  return true;
}

function alertsOf(entries: readonly EntryDraft[], refusals: Refusals): PendingAlert[] {
  return entries.flatMap((entry) => {
    if (isRefusal(entry)) {
      const count = refusals.note(entry);
      return count === undefined ? [] : [alertFrom(entry, 'refused-repeatedly', count)];
    }
    return alertOf(entry) ?? [];
  });
}

function draft(alert: PendingAlert): OutboxDraft {
  return { topic: alertTopic, payload: JSON.stringify(alert) };
}

/** Whether there is any target: asked of the database once for each epoch, and then remembered. */
function targetsKnown(storage: Storage): () => Promise<boolean> {
  let known: { readonly epoch: number; readonly any: boolean } | undefined;
  return async () => {
    const { epoch } = storage;
    if (known?.epoch === epoch) return known.any;
    try {
      const row = await storage.db
        .selectFrom('alert_target')
        .select('id')
        .limit(1)
        .executeTakeFirst();
      known = { epoch, any: row !== undefined };
      return known.any;
    } catch {
      // Where it cannot be read, the commit says so itself; an alert too many hurts nobody.
      return true;
    }
  };
}
