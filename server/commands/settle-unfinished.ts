import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import type { Storage } from '../storage/storage.ts';
import { serviceEntry } from './entries.ts';
import { type IsOrphan, orphanedIntents, settleIntent } from './orphaned-intents.ts';

/**
 * Settles the intents of a kind whose work ended with its node, with an entry each that says so:
 * what was finished has none. Returns how many there were.
 */
export async function settleUnfinished(
  storage: Storage,
  clock: Clock,
  kind: string,
  isOrphan: IsOrphan,
): Promise<number> {
  let settled = 0;
  for (const intent of await orphanedIntents(storage, kind, isOrphan)) {
    const { id } = intent.payload as { id?: string };
    const entry = serviceEntry(clock, 'intent.settled', 'conflict', {
      intentId: intent.id,
      ...(id === undefined ? {} : { resource: id }),
      detail: canonicalJson({ begunAt: formatTime(intent.createdAt) }),
    });
    if (await settleIntent(storage, intent, entry)) settled++;
  }
  return settled;
}
