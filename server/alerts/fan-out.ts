import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { OutboxDraft, Step, Storage } from '../storage/storage.ts';
import {
  type Addressing,
  alertTopic,
  copyFor,
  countWaiting,
  dropOldestStep,
  queueOf,
  takeStep,
  waitingAlerts,
} from './queue.ts';
import type { Target } from './target.ts';
import { wants } from './target-rules.ts';
import { holdTargets } from './target-store.ts';

/** Alerts handed to the queues in one commit, and copies of them: others wait for that commit. */
const batchMax = 200;
const copiesMax = 2000;
/** Told of a target's own trouble are the others. */
const aboutTargets: readonly string[] = ['alerts-dropped', 'target-failing', 'target-recovered'];

export interface FanOutOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly installationId: string;
  /** The most that waits for one target. */
  readonly queueMax: number;
}

/**
 * Hands what is in the outbox to the queues of those who want to be told, each batch in one commit:
 * an alert is either still there or in all its queues. Returns how many were handed on.
 */
export async function fanOut(options: FanOutOptions, targets: readonly Target[]): Promise<number> {
  const { storage, installationId } = options;
  const limit = Math.min(batchMax, Math.floor(copiesMax / Math.max(1, targets.length)));
  const rows = await waitingAlerts(storage, alertTopic, limit);
  if (rows.length === 0) return 0;
  const copies = new Map<string, OutboxDraft[]>();
  for (const { payload } of rows) {
    const alert = JSON.parse(payload) as Addressing;
    const whole = JSON.stringify({ ...alert, installation: installationId });
    for (const { id, name, settings } of targets) {
      const isItsOwn = aboutTargets.includes(alert.kind) && alert.resource === name;
      if (isItsOwn || !wants(settings, alert)) continue;
      copies.set(id, [...(copies.get(id) ?? []), copyFor(id, whole)]);
    }
  }
  const told = targets.filter(({ id }) => copies.has(id));
  const dropped = await overflow(options, told, copies);
  await storage.commit({
    steps: [
      ...(told.length === 0 ? [] : [holdTargets(storage, told)]),
      takeStep(storage.db, rows),
      ...dropped.steps,
    ],
    entries: dropped.entries,
    outbox: [...copies.values()].flat(),
  });
  return rows.length;
}

/** Queues that would grow beyond their limit lose their oldest, and the record says so. */
async function overflow(
  { storage, clock, queueMax }: FanOutOptions,
  targets: readonly Target[],
  copies: ReadonlyMap<string, readonly OutboxDraft[]>,
) {
  const waiting = await countWaiting(
    storage,
    targets.map(({ id }) => queueOf(id)),
  );
  const steps: Step[] = [];
  const entries = targets.flatMap(({ id, name }) => {
    const present = waiting.get(queueOf(id)) ?? 0;
    const surplus = present + (copies.get(id)?.length ?? 0) - queueMax;
    if (surplus <= 0) return [];
    // Many at once: each time is an entry.
    const count = Math.min(present, Math.max(surplus, Math.ceil(queueMax / 100)));
    steps.push(dropOldestStep(storage, id, count));
    const detail = canonicalJson({ target: id, waiting: present });
    const about = { resource: name, count: String(count), detail };
    return [serviceEntry(clock, 'alert.dropped', 'overloaded', about)];
  });
  return { steps, entries };
}
