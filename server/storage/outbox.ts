import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Step, Storage } from './contract.ts';

const firstRetrySeconds = 2;
const longestRetrySeconds = 3600;

/** A message that is being delivered: it comes back after the claim, unless it is settled. */
export interface OutboxRow {
  readonly id: number;
  readonly topic: string;
  readonly payload: string;
  readonly createdAt: number;
  /** Attempts so far, this one included. */
  readonly attempts: number;
}

/**
 * Claims what is due for one topic, oldest first, at most `limit`. A claim holds for `claimSeconds`:
 * a process that dies meanwhile leaves its messages to the next claim, so that each is delivered at
 * least once. Receivers tell repeats by the row's id.
 */
export async function claimOutbox(
  storage: Storage,
  topic: string,
  limit: number,
  claimSeconds: number,
  clock: Clock,
): Promise<readonly OutboxRow[]> {
  const now = clock.now();
  const due = await storage.db
    .selectFrom('outbox')
    .select(['id', 'topic', 'payload_json', 'created_at', 'attempts'])
    .where('delivered_at', 'is', null)
    .where('next_attempt_at', '<=', now)
    .where('topic', '=', topic)
    .orderBy('id')
    .limit(limit)
    .execute();
  const claimed = await Promise.all(
    due.map(async (row): Promise<OutboxRow | undefined> => {
      const attempts = row.attempts + 1;
      const query = storage.db
        .updateTable('outbox')
        .set({ attempts, next_attempt_at: now + claimSeconds * 1000 })
        .where('id', '=', row.id)
        .where('attempts', '=', row.attempts)
        .where('delivered_at', 'is', null)
        .compile();
      if (!(await committed(storage, expectOne(query)))) return undefined;
      const { id, payload_json: payload, created_at: createdAt } = row;
      return { id, topic, payload, createdAt, attempts };
    }),
  );
  return claimed.filter((row) => row !== undefined);
}

/** The step that settles a claimed message as delivered. */
export function deliveredStep(storage: Storage, row: OutboxRow, clock: Clock): Step {
  const query = storage.db
    .updateTable('outbox')
    .set({ delivered_at: clock.now() })
    .where('id', '=', row.id)
    .where('attempts', '=', row.attempts)
    .compile();
  return expectOne(query);
}

/** The step that puts a claimed message back, to be tried again after a growing pause. */
export function failedStep(storage: Storage, row: OutboxRow, clock: Clock): Step {
  const query = storage.db
    .updateTable('outbox')
    .set({ next_attempt_at: clock.now() + retryDelaySeconds(row.attempts) * 1000 })
    .where('id', '=', row.id)
    .where('attempts', '=', row.attempts)
    .compile();
  return expectOne(query);
}

/** Seconds to wait after so many attempts: doubling from two seconds up to one hour. */
export function retryDelaySeconds(attempts: number): number {
  return Math.min(firstRetrySeconds * 2 ** Math.max(0, attempts - 1), longestRetrySeconds);
}

/** Removes messages delivered before a time (milliseconds since 1970). */
export async function pruneOutbox(storage: Storage, deliveredBefore: number): Promise<void> {
  const query = storage.db
    .deleteFrom('outbox')
    .where('delivered_at', '<', deliveredBefore)
    .compile();
  await storage.commit({ steps: [{ query }], entries: [] });
}

function expectOne(query: Step['query']): Step {
  const message = 'the message was claimed or settled by another process';
  return { query, expect: { rows: 1, code: 'conflict', message } };
}

async function committed(storage: Storage, step: Step): Promise<boolean> {
  try {
    await storage.commit({ steps: [step], entries: [] });
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'conflict')) return false;
    throw error;
  }
}
