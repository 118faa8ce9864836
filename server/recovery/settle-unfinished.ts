import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Storage } from '../storage/storage.ts';

/**
 * Settles the intents of a kind whose work a crash ended, with an entry each that says so: what was
 * finished has none. Returns how many there were.
 */
export async function settleUnfinished(
  storage: Storage,
  clock: Clock,
  kind: string,
): Promise<number> {
  const intents = await storage.db
    .selectFrom('intent')
    .select(['id', 'payload_json', 'created_at'])
    .where('kind', '=', kind)
    .execute();
  for (const intent of intents) {
    const { id } = JSON.parse(intent.payload_json) as { id?: string };
    await storage.commit({
      steps: [{ query: storage.db.deleteFrom('intent').where('id', '=', intent.id).compile() }],
      entries: [
        serviceEntry(clock, 'intent.settled', 'conflict', {
          intentId: intent.id,
          ...(id === undefined ? {} : { resource: id }),
          detail: canonicalJson({ begunAt: formatTime(intent.created_at) }),
        }),
      ],
    });
  }
  return intents.length;
}
