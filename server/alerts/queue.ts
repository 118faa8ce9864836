import type { AlertKind, Severity } from '../../api/alerts.ts';
import type { Clock } from '../base/clock.ts';
import type { OutboxDraft, Step, Storage } from '../storage/storage.ts';

/** The topic of alerts that were not handed to the queues of their targets yet. */
export const alertTopic = 'alert';

/** The queue of one target. */
export function queueOf(targetId: string): string {
  return `${alertTopic}:${targetId}`;
}

/** An alert that waits: `payload` is its JSON. */
export interface WaitingAlert {
  readonly id: number;
  readonly payload: string;
  readonly attempts: number;
  readonly nextAttemptAt: number;
}

/** The parts of a payload by which it finds its targets. */
export interface Addressing {
  readonly kind: AlertKind;
  readonly severity: Severity;
  readonly resource?: string;
}

const goneMeanwhile = {
  code: 'conflict',
  message: 'The alert was delivered or dropped by another process.',
} as const;

/** The oldest that wait under a topic, in their order. */
export async function waitingAlerts(
  { db }: Storage,
  topic: string,
  limit: number,
): Promise<WaitingAlert[]> {
  const rows = await db
    .selectFrom('outbox')
    .select(['id', 'payload_json', 'attempts', 'next_attempt_at'])
    .where('topic', '=', topic)
    .where('delivered_at', 'is', null)
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    id: row.id,
    payload: row.payload_json,
    attempts: row.attempts,
    nextAttemptAt: row.next_attempt_at,
  }));
}

/** How many wait, by topic; topics without any are left out. */
export async function countWaiting({ db }: Storage, topics: readonly string[]) {
  if (topics.length === 0) return new Map<string, number>();
  const rows = await db
    .selectFrom('outbox')
    .select(['topic', (expression) => expression.fn.countAll<number>().as('count')])
    .where('topic', 'in', topics)
    .where('delivered_at', 'is', null)
    .groupBy('topic')
    .execute();
  return new Map(rows.map((row) => [row.topic, Number(row.count)]));
}

/**
 * Makes the head of a queue this process's for a while. The queue is its head's: others look at the
 * head alone, so that one at a time sends, in order, whoever that is.
 */
export function claimStep({ db }: Storage, head: WaitingAlert, until: number): Step {
  const query = db
    .updateTable('outbox')
    .set({ attempts: head.attempts + 1, next_attempt_at: until })
    .where('id', '=', head.id)
    .where('attempts', '=', head.attempts)
    .compile();
  return { query, expect: { rows: 1, ...goneMeanwhile } };
}

/** Gives a claimed head back, to be tried at that time. */
export function retryStep({ db }: Storage, head: WaitingAlert, at: number): Step {
  const query = db
    .updateTable('outbox')
    .set({ next_attempt_at: at })
    .where('id', '=', head.id)
    .where('attempts', '=', head.attempts + 1)
    .compile();
  return { query, expect: { rows: 1, ...goneMeanwhile } };
}

/** Takes what was delivered out of its queue. A claim that was lost meanwhile refuses the write. */
export function settleSteps({ db }: Storage, batch: readonly WaitingAlert[]): Step[] {
  const [head, ...rest] = batch;
  if (head === undefined) return [];
  const first = db
    .deleteFrom('outbox')
    .where('id', '=', head.id)
    .where('attempts', '=', head.attempts + 1)
    .compile();
  const steps: Step[] = [{ query: first, expect: { rows: 1, ...goneMeanwhile } }];
  return rest.length === 0 ? steps : [...steps, takeStep(db, rest)];
}

/** Takes rows out of the outbox; all of them have to be there. */
export function takeStep(db: Storage['db'], rows: readonly { readonly id: number }[]): Step {
  const ids = rows.map(({ id }) => id);
  const query = db.deleteFrom('outbox').where('id', 'in', ids).compile();
  return { query, expect: { rows: ids.length, ...goneMeanwhile } };
}

/** Everything that waits for a target. */
export function dropQueueStep({ db }: Storage, targetId: string): Step {
  return { query: db.deleteFrom('outbox').where('topic', '=', queueOf(targetId)).compile() };
}

/** Lets the head of a queue be tried at once. */
export function hurryStep({ db }: Storage, targetId: string, clock: Clock): Step {
  const now = clock.now();
  const query = db
    .updateTable('outbox')
    .set({ next_attempt_at: now })
    .where('topic', '=', queueOf(targetId))
    .where('next_attempt_at', '>', now)
    .compile();
  return { query };
}

/** One copy of an alert, for the queue of a target. */
export function copyFor(targetId: string, payload: string): OutboxDraft {
  return { topic: queueOf(targetId), payload };
}

/** Takes the oldest out of a queue that is full. */
export function dropOldestStep({ db }: Storage, targetId: string, count: number): Step {
  const oldest = db
    .selectFrom('outbox')
    .select('id')
    .where('topic', '=', queueOf(targetId))
    .where('delivered_at', 'is', null)
    .orderBy('id')
    .limit(count);
  const query = db.deleteFrom('outbox').where('id', 'in', oldest).compile();
  return { query, expect: { rows: count, ...goneMeanwhile } };
}
