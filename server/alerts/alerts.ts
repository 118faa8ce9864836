import type { ResponseOf } from '../../api/route.ts';
import type { alertRoutes } from '../../api/routes/alerts.ts';
import type { Routes } from '../../api/routes.ts';
import type { Authorise } from '../base/caller.ts';
import { formatTime } from '../base/clock.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import type { Step } from '../storage/storage.ts';
import { Dispatcher, type DispatcherOptions } from './dispatcher.ts';
import { tellOverdueReviews } from './overdue-reviews.ts';
import { alertTopic, countWaiting, hurryStep, queueOf } from './queue.ts';
import { createTargetHandlers } from './target-handlers.ts';
import { readTargets } from './target-store.ts';

export { forgetAlertsSteps } from './target-store.ts';
export { withAlerts } from './with-alerts.ts';

/** Tells those who want to know what happens, from the outbox, at least once. */
export interface Alerts {
  handlers(authorise: Authorise, commands: Commands): Handlers<keyof typeof alertRoutes>;
  /** Hands new alerts to their queues and begins to deliver what is due; waits for no receiver. */
  round(): Promise<void>;
  status(): Promise<ResponseOf<Routes['status']>['alerts']>;
  /** Puts overdue reviews of keystores on the record, each once; `fence` guards the writes. */
  tellOverdueReviews(fence: readonly Step[]): Promise<number>;
  /** Ends what is under way; what was not delivered waits for the next start. */
  stop(): Promise<void>;
}

export function createAlerts(options: DispatcherOptions): Alerts {
  const dispatcher = new Dispatcher(options);
  let hasBegun = false;
  return {
    handlers: (authorise, commands) => createTargetHandlers({ ...options, authorise }, commands),
    round: async () => {
      if (!hasBegun) await freeClaims(options);
      hasBegun = true;
      await dispatcher.round();
    },
    status: () => statusOf(options),
    tellOverdueReviews: (fence) => tellOverdueReviews(options.storage, options.clock, fence),
    stop: () => dispatcher.stop(),
  };
}

/** One process serves SQLite: what is claimed at its start, a former life of it had claimed. */
async function freeClaims({ storage, clock }: DispatcherOptions): Promise<void> {
  if (storage.dialect !== 'sqlite') return;
  const targets = await readTargets(storage);
  if (targets.length === 0) return;
  const steps = targets.map(({ id }) => hurryStep(storage, id, clock));
  await storage.commit({ steps, entries: [] });
}

async function statusOf({ storage }: DispatcherOptions) {
  const targets = await readTargets(storage);
  const waiting = await countWaiting(storage, [
    alertTopic,
    ...targets.map(({ id }) => queueOf(id)),
  ]);
  const text = (time: number | null) => (time === null ? null : formatTime(time));
  return {
    waiting: waiting.get(alertTopic) ?? 0,
    targets: targets.map(({ id, name, kind, deliveredAt, failedAt, reason }) => ({
      ...{ name, kind, waiting: waiting.get(queueOf(id)) ?? 0, reason },
      ...{ deliveredAt: text(deliveredAt), failingSince: text(failedAt) },
    })),
  };
}
