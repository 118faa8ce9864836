import type { EntryDraft } from '../../api/entry.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Step, Storage } from '../storage/storage.ts';

/** Whether nobody works on what a node has begun: it is gone, and does not come back. */
export type IsOrphan = (nodeId: string) => boolean;

/** Where one process serves the database, all that is found at its start was left behind. */
export const everyNodeIsGone: IsOrphan = () => true;

/** The node of an intent that was taken away from the node which had begun it: anybody settles it. */
const nobody = '';

/** An intent whose node is gone. */
export interface OrphanedIntent {
  readonly id: string;
  readonly payload: unknown;
  readonly createdAt: number;
  readonly nodeId: string;
}

/** The intents of a kind that were left behind. */
export async function orphanedIntents(
  { db }: Storage,
  kind: string,
  isOrphan: IsOrphan,
): Promise<OrphanedIntent[]> {
  const rows = await db
    .selectFrom('intent')
    .select(['id', 'payload_json', 'created_at', 'node_id'])
    .where('kind', '=', kind)
    .orderBy('created_at')
    .execute();
  return rows
    .filter((row) => row.node_id === nobody || isOrphan(row.node_id))
    .map((row) => ({
      id: row.id,
      payload: JSON.parse(row.payload_json),
      createdAt: row.created_at,
      nodeId: row.node_id,
    }));
}

/**
 * Takes an intent away from its node, before anything of it is taken back: a node that only slept
 * cannot write its outcome from then on, since that settles the intent under its own name. False
 * where it is settled.
 */
export async function takeIntent(storage: Storage, intent: OrphanedIntent): Promise<boolean> {
  if (intent.nodeId === nobody) return true;
  const query = storage.db
    .updateTable('intent')
    .set({ node_id: nobody })
    .where('id', '=', intent.id)
    .where('node_id', '=', intent.nodeId)
    .compile();
  return unlessLost(storage, [{ query, expect: { rows: 1, ...settledMeanwhile } }], []);
}

/** Settles an intent by one write. False where another node has settled it meanwhile. */
export function settleIntent(
  storage: Storage,
  intent: OrphanedIntent,
  entry: EntryDraft,
): Promise<boolean> {
  return unlessLost(storage, [settleStep(storage, intent)], [entry]);
}

/** The step of that write, for those that write more with it: it fails (`conflict`) where it is settled. */
export function settleStep({ db }: Storage, { id }: OrphanedIntent): Step {
  const query = db.deleteFrom('intent').where('id', '=', id).compile();
  return { query, expect: { rows: 1, ...settledMeanwhile } };
}

const settledMeanwhile = {
  code: 'conflict',
  message: 'The intent was settled meanwhile.',
} as const;

async function unlessLost(
  storage: Storage,
  steps: readonly Step[],
  entries: readonly EntryDraft[],
): Promise<boolean> {
  try {
    await storage.commit({ steps, entries });
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'conflict')) return false;
    throw error;
  }
}
