/** Fills an installation with keys, while its service does not run. */
import { pino } from 'pino';
import { policy } from '../api/fields.ts';
import { entryEncoder } from '../server/audit/audit.ts';
import { systemClock as clock } from '../server/base/clock.ts';
import { newId } from '../server/base/ids.ts';
import { loadConfig } from '../server/config/config.ts';
import type { Keystore } from '../server/keystores/keystores.ts';
import { openKeystores, openRootKeys } from '../server/opening.ts';
import { openStorage, type Schema, type Storage } from '../server/storage/storage.ts';

/** Rows of one statement, and statements of one transaction. */
const rowsOfStatement = 100;
const statementsOfWrite = 20;
const keysOfFolder = 1000;

export interface FillOptions {
  readonly data: string;
  readonly count: number;
  /** Whose keys they are. */
  readonly ownerId: string;
  readonly say: (text: string) => void;
}

/**
 * Makes AES-256 keys for encryption, a thousand to a folder: each made by the keystore `wrapped:` and
 * wrapped like any other, with the rows that `key create` would write. Entries of the record and intents
 * are left out. Answers the ids in the order of the names.
 */
export async function fillKeys(options: FillOptions): Promise<string[]> {
  const { data, count, say } = options;
  const log = pino({ level: 'warn' }, pino.destination(2));
  const config = loadConfig({ KEYREEVE_DATA: data });
  const storage = await openStorage({ dataFolder: data, clock, log, entryEncoder });
  const { rootKeys, storeKeys } = await openRootKeys(config, storage, {
    ...{ log, clock },
    progress: say,
  });
  const keystore = openKeystores(config, storeKeys).named('wrapped');
  const ids: string[] = [];
  try {
    while (ids.length < count)
      ids.push(...(await fillSome(storage, keystore, options, ids.length)));
  } finally {
    await rootKeys.close();
    await storage.close();
  }
  return ids;
}

async function fillSome(
  storage: Storage,
  keystore: Keystore,
  { count, ownerId }: FillOptions,
  from: number,
): Promise<string[]> {
  const ids: string[] = [];
  const steps = [];
  for (let statement = 0; statement < statementsOfWrite; statement++) {
    const start = from + ids.length;
    const made = await Promise.all(
      Array.from({ length: Math.min(rowsOfStatement, count - start) }, (_, index) =>
        makeRows(keystore, ownerId, start + index),
      ),
    );
    if (made.length === 0) break;
    const keys = made.map(({ key }) => key);
    const versions = made.map(({ version }) => version);
    steps.push({ query: storage.db.insertInto('key').values(keys).compile() });
    steps.push({ query: storage.db.insertInto('key_version').values(versions).compile() });
    ids.push(...keys.map(({ id }) => id));
  }
  await storage.commit({ steps, entries: [] });
  return ids;
}

async function makeRows(
  keystore: Keystore,
  ownerId: string,
  number: number,
): Promise<{ key: Schema['key']; version: Schema['key_version'] }> {
  const id = newId('key');
  const now = clock.now();
  const folder = `many/${String(Math.floor(number / keysOfFolder)).padStart(4, '0')}`;
  const name = `${folder}/${String(number % keysOfFolder).padStart(3, '0')}`;
  const stored = await keystore.generate({ keyId: id, version: 1, name }, 'aes-256');
  const key = {
    ...{ id, name, folder, purpose: 'encrypt', algorithm: 'aes-256' },
    schemes_json: '["xaes-256-gcm"]',
    policy_json: JSON.stringify(policy.parse({})),
    labels_json: '{}',
    owner_id: ownerId,
    keystore: keystore.name,
    ...{ current_version: 1, created_at: now, destroy_at: null, rotation_due_at: null },
    rotation_told: null,
    revision: 1,
  };
  const version = {
    ...{ key_id: id, version: 1, algorithm: 'aes-256', state: 'active', public_key: null },
    fingerprint: stored.fingerprint,
    uri: stored.uri,
    private_blob: Buffer.from(stored.privateBlob!),
    store_key_id: stored.storeKeyId,
    origin: 'generated',
    ...{ created_at: now, activates_at: now, deactivates_at: null, state_changed_at: now },
    uses_reserved: 0,
  };
  return { key, version };
}
