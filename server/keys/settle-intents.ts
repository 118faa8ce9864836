import { z } from 'zod';
import { isKeyreeveError } from '../base/errors.ts';
import {
  everyNodeIsGone,
  type IsOrphan,
  orphanedIntents,
  serviceEntry,
  settleIntent,
  takeIntent,
} from '../commands/commands.ts';
import type { Keystore } from '../keystores/keystores.ts';
import type { Keys } from './key-ring.ts';

const makePayload = z.object({
  keyId: z.string(),
  version: z.number(),
  /** Not there in intents of before nodes made versions at the same time. */
  attempt: z.string().optional(),
  name: z.string(),
  keystore: z.string(),
});

type Making = z.output<typeof makePayload>;

export interface SettlingLimits {
  /** Only what lies in these keystores: a token may be away, and a start does not wait for it. */
  readonly among?: (keystore: Keystore) => boolean;
  /** Whose intents were left behind: those of commands under way are theirs. */
  readonly isOrphan?: IsOrphan;
}

/**
 * Settles what a node that is gone left half done: an intent whose key version is in the database
 * was finished; of any other, what lies in the keystore is removed. Where the keystore is away, the
 * intent waits until it is back. Returns how many were settled.
 */
export async function settleIntents(
  keys: Keys,
  { among = () => true, isOrphan = everyNodeIsGone }: SettlingLimits = {},
): Promise<number> {
  const { storage, clock } = keys;
  let settled = 0;
  for (const intent of await orphanedIntents(storage, 'key.make', isOrphan)) {
    const making = makePayload.parse(intent.payload);
    const keystore = keys.keystores.all().find(({ name }) => name === making.keystore);
    if (keystore === undefined) continue;
    // 1. From here on its node cannot finish it any more.
    if (!(await takeIntent(storage, intent))) continue;
    // 2. What is not in the database is nobody's.
    const isFinished = await wasFinished(keys, keystore, making);
    if (!isFinished && !(among(keystore) && (await removeOrphan(keystore, making)))) continue;
    // 3. Done, on the record.
    const entry = serviceEntry(clock, 'intent.settled', isFinished ? 'ok' : 'conflict', {
      intentId: intent.id,
      keyId: making.keyId,
      keyName: making.name,
      keyVersion: String(making.version),
    });
    if (await settleIntent(storage, intent, entry)) settled++;
  }
  return settled;
}

/** Whether the version is in the database, and is the one that this making made. */
async function wasFinished({ storage }: Keys, keystore: Keystore, making: Making) {
  const row = await storage.db
    .selectFrom('key_version')
    .select('uri')
    .where('key_id', '=', making.keyId)
    .where('version', '=', making.version)
    .executeTakeFirst();
  if (row === undefined || making.attempt === undefined) return row !== undefined;
  return keystore.isAt(making, row.uri);
}

/** False where the keystore cannot be reached. */
async function removeOrphan(keystore: Keystore, making: Making): Promise<boolean> {
  try {
    if (await keystore.exists(making)) await keystore.discard(making);
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'keystore-unavailable')) return false;
    throw error;
  }
}
