import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import { isReviewOverdue, readReviews, reviewDueAt } from '../keystores/keystores.ts';
import type { Step, Storage } from '../storage/storage.ts';

/**
 * Tells of keystores whose access review is overdue: an event `keystore.review-overdue` for each,
 * once for each time that it was due, whichever node looks. Returns how many were told of.
 */
export async function tellOverdueReviews(
  storage: Storage,
  clock: Clock,
  fence: readonly Step[],
): Promise<number> {
  const now = clock.now();
  let told = 0;
  for (const [name, facts] of await readReviews(storage)) {
    if (!isReviewOverdue(facts, now)) continue;
    const dueAt = reviewDueAt(facts)!;
    const detail = canonicalJson({ dueAt: formatTime(dueAt) });
    const entry = serviceEntry(clock, 'keystore.review-overdue', 'ok', { resource: name, detail });
    const steps = [...fence, markStep(storage, `review-told:${name}`, String(dueAt))];
    try {
      await storage.commit({ steps, entries: [entry] });
      told += 1;
    } catch (error) {
      if (!isKeyreeveError(error, 'conflict')) throw error;
    }
  }
  return told;
}

/** Refuses the write where it was told of already. */
function markStep({ db }: Storage, name: string, value: string): Step {
  const query = db
    .insertInto('meta')
    .values({ name, value })
    .onConflict((conflict) =>
      conflict.column('name').doUpdateSet({ value }).where('meta.value', '!=', value),
    )
    .compile();
  return { query, expect: { rows: 1, code: 'conflict', message: 'It was told of already.' } };
}
