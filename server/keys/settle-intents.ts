import { z } from 'zod';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Keys } from './key-ring.ts';

const makePayload = z.object({
  keyId: z.string(),
  version: z.number(),
  name: z.string(),
  keystore: z.string(),
});

/**
 * Settles what a crash left half done: an intent whose key version is in the database was
 * finished; of any other, what lies in the keystore is removed. Where the keystore is away, the
 * intent waits for a start that has it. Returns how many were settled.
 */
export async function settleIntents(keys: Keys): Promise<number> {
  const { storage, clock } = keys;
  const intents = await storage.db
    .selectFrom('intent')
    .select(['id', 'kind', 'payload_json'])
    .where('kind', '=', 'key.make')
    .execute();
  let settled = 0;
  for (const intent of intents) {
    const payload = makePayload.parse(JSON.parse(intent.payload_json));
    const isFinished = await versionExists(keys, payload.keyId, payload.version);
    if (!isFinished && !(await removeOrphan(keys, payload))) continue;
    await storage.commit({
      steps: [{ query: storage.db.deleteFrom('intent').where('id', '=', intent.id).compile() }],
      entries: [
        serviceEntry(clock, 'intent.settled', isFinished ? 'ok' : 'conflict', {
          intentId: intent.id,
          keyId: payload.keyId,
          keyName: payload.name,
          keyVersion: String(payload.version),
        }),
      ],
    });
    settled++;
  }
  return settled;
}

async function versionExists(keys: Keys, keyId: string, version: number): Promise<boolean> {
  const row = await keys.storage.db
    .selectFrom('key_version')
    .select('version')
    .where('key_id', '=', keyId)
    .where('version', '=', version)
    .executeTakeFirst();
  return row !== undefined;
}

/** False where the keystore cannot be reached. */
async function removeOrphan(keys: Keys, payload: z.output<typeof makePayload>): Promise<boolean> {
  const keystore = keys.keystores.all().find(({ name }) => name === payload.keystore);
  if (keystore === undefined) return false;
  try {
    if (await keystore.exists(payload)) await keystore.discard(payload);
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'keystore-unavailable')) return false;
    throw error;
  }
}
