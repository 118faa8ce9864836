import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { policy } from '../../api/fields.ts';
import { startPostgres } from '../../test/postgres.ts';
import { entryEncoder } from '../audit/audit.ts';
import { systemClock } from '../base/clock.ts';
import { openStorage } from '../storage/storage.ts';
import { KeyStore } from './key-store.ts';
import { newKey } from './make-key.ts';

test('a folder is the same on PostgreSQL in a language that takes upper and lower case for one', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const plain = server.createDatabase('plain');
  const english = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
  server.sql('postgres', `CREATE DATABASE "english" ${english}`);
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const storage = await openStorage({
    dataFolder: tmpdir(),
    databaseUrl: plain.replace('/plain?', '/english?'),
    clock: systemClock,
    entryEncoder,
    log,
  });
  t.after(() => storage.close());
  const store = new KeyStore(storage);
  const names = ['App/b', 'app-x/a', 'app.x/a', 'app/Z', 'app/a', 'app/sub/a', 'app0/a'];
  const facts = {
    algorithm: 'p-256',
    purpose: 'sign',
    labels: {},
    policy: policy.parse({}),
  } as const;
  const steps = names.map((name) => {
    const key = newKey({ name, ...facts }, { ownerId: 'prn_test', kind: 'wrapped', now: 0 });
    return store.insertKey({ ...key, versions: [{ version: 1 }] as never }, 0);
  });
  await storage.commit({ steps, entries: [] });
  const found = await store.page({ folder: 'app' }, '', 50);
  assert.deepEqual(
    found.map((key) => key.name),
    ['app/Z', 'app/a', 'app/sub/a'],
  );
  const all = await store.page({}, '', 50);
  assert.deepEqual(
    all.map((key) => key.name),
    [...names].sort(),
  );
});
