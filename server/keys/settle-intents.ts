import { z } from 'zod';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Keystore } from '../keystores/keystores.ts';
import type { Keys } from './key-ring.ts';

const makePayload = z.object({
  keyId: z.string(),
  version: z.number(),
  name: z.string(),
  keystore: z.string(),
});

export interface SettlingLimits {
  /** Only what lies in these keystores: a token may be away, and a start does not wait for it. */
  readonly among: (keystore: Keystore) => boolean;
  /** Only intents from before: those of commands under way are theirs. Milliseconds since 1970. */
  readonly before?: number;
}

/**
 * Settles what a crash left half done: an intent whose key version is in the database was
 * finished; of any other, what lies in the keystore is removed. Where the keystore is away, the
 * intent waits until it is back. Returns how many were settled.
 */
export async function settleIntents(
  keys: Keys,
  { among, before = Number.MAX_SAFE_INTEGER }: SettlingLimits = { among: () => true },
): Promise<number> {
  const { storage, clock } = keys;
  const intents = await storage.db
    .selectFrom('intent')
    .select(['id', 'kind', 'payload_json'])
    .where('kind', '=', 'key.make')
    .where('created_at', '<', before)
    .execute();
  let settled = 0;
  for (const intent of intents) {
    const payload = makePayload.parse(JSON.parse(intent.payload_json));
    const isFinished = await versionExists(keys, payload.keyId, payload.version);
    if (!isFinished && !(await removeOrphan(keys, payload, among))) continue;
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
async function removeOrphan(
  keys: Keys,
  payload: z.output<typeof makePayload>,
  among: SettlingLimits['among'],
): Promise<boolean> {
  const keystore = keys.keystores.all().find(({ name }) => name === payload.keystore);
  if (keystore === undefined || !among(keystore)) return false;
  try {
    if (await keystore.exists(payload)) await keystore.discard(payload);
    return true;
  } catch (error) {
    if (isKeyreeveError(error, 'keystore-unavailable')) return false;
    throw error;
  }
}
