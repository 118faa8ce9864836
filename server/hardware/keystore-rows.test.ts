import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type CompiledQuery, sql } from 'kysely';
import { systemClock } from '../base/clock.ts';
import { newId } from '../base/ids.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { countKeys } from './keystore-rows.ts';

let folder: string;
let storage: Storage;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-keystore-rows-'));
  storage = await openStorage({
    dataFolder: folder,
    clock: systemClock,
    log: { info() {}, warn() {}, error() {} },
    entryEncoder: new URL('../../test/plain-encoder.ts', import.meta.url),
  });
});
after(async () => {
  await storage.close();
  rmSync(folder, { recursive: true });
});

test('keys are counted by keystore, and those without a living version are not', async () => {
  await addKey('wrapped', ['active']);
  await addKey('wrapped', ['destroyed', 'active']);
  await addKey('wrapped', ['destroyed', 'destroyed']);
  await addKey('token', ['destroyed']);
  await addKey('token', ['deactivated']);
  await addKey('emptied', ['destroyed']);
  const counts = await countKeys(storage);
  assert.deepEqual([...counts].sort(), [
    ['emptied', 0],
    ['token', 1],
    ['wrapped', 2],
  ]);
});

test('a page of the keys of a purpose is read by an index, however many there are', async () => {
  const page = storage.db
    .selectFrom('key')
    .selectAll()
    .where('name', '>', 'a')
    .where('purpose', '=', 'sign')
    .orderBy('name')
    .limit(200);
  assert.match(await planOf(page.compile()), /USING INDEX key_by_purpose/);
});

async function planOf({ sql: text, parameters }: CompiledQuery): Promise<string> {
  const values = parameters.map((value) => sql.lit(value));
  const parts = text.split('?').map((part) => sql.raw(part));
  const query = sql.join(
    parts.flatMap((part, index) => (index < values.length ? [part, values[index]!] : [part])),
    sql.raw(' '),
  );
  const { rows } = await sql<{ detail: string }>`EXPLAIN QUERY PLAN ${query}`.execute(storage.db);
  return rows.map(({ detail }) => detail).join('\n');
}

async function addKey(keystore: string, states: readonly string[]): Promise<void> {
  const id = newId('key');
  const key = {
    ...{ id, name: `test/${id}`, folder: 'test', purpose: 'sign', algorithm: 'p-256' },
    ...{ schemes_json: '[]', policy_json: '{}', labels_json: '{}', owner_id: 'x', keystore },
    ...{ current_version: states.length, created_at: 0, destroy_at: null, rotation_due_at: null },
    revision: 1,
  };
  const versions = states.map((state, index) => ({
    ...{ key_id: id, version: index + 1, algorithm: 'p-256', state, public_key: null },
    ...{ fingerprint: newId('key'), uri: 'wrapped:', private_blob: null, store_key_id: null },
    ...{ origin: 'generated', created_at: 0, activates_at: null, deactivates_at: null },
    ...{ state_changed_at: 0, uses_reserved: 0 },
  }));
  await storage.commit({
    steps: [
      { query: storage.db.insertInto('key').values(key).compile() },
      { query: storage.db.insertInto('key_version').values(versions).compile() },
    ],
    entries: [],
  });
}
