import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgresPair } from '../../test/postgres-pair.ts';
import { addMeta, entry, eventually, metaNames, openAt } from './storage.fixture.ts';
import { hasCode } from './storage.suite.ts';

const cancelWaiting = `SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
  WHERE wait_event = 'SyncRep'`;

test('a commit is not answered as done where the standby does not have it', async (t) => {
  const pair = await startPostgresPair(t);
  if (pair === undefined) return;
  t.after(() => pair.remove());
  const { ports, password, caFile } = pair;
  const hosts = `localhost:${ports.db1},localhost:${ports.db2}`;
  const databaseUrl = `postgresql://keyreeve:${password}@${hosts}/keyreeve?sslmode=verify-full&sslrootcert=${caFile}`;
  const place = { dataFolder: join(tmpdir(), 'unused'), databaseUrl };
  const storage = await openAt(place, { commitTimeoutSeconds: 4 });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'whole')], entries: [entry()] });
  await pair.stop('db2', 'fast');

  // Nobody ends the wait: the caller hears in time that it is not known.
  const waiting = storage.commit({ steps: [addMeta(storage, 'waited')], entries: [entry()] });
  await assert.rejects(waiting, hasCode('outcome-unknown'));
  // Somebody ends it: PostgreSQL calls it done, though one disk alone has it.
  await pair.sql('db1', cancelWaiting);
  await eventually(async () => {
    const write = { steps: [], entries: [entry()] };
    const cancelled = storage.commit(write).then(
      () => 'committed',
      (error) => error.code,
    );
    const ending = setInterval(() => void pair.sql('db1', cancelWaiting).catch(() => {}), 300);
    const outcome = await cancelled;
    clearInterval(ending);
    assert.notEqual(outcome, 'committed');
    return outcome === 'outcome-unknown';
  }, 30_000);

  await pair.start('db2');
  await pair.synchronous('on');
  await eventually(() => storage.health().ready);
  await storage.commit({ steps: [addMeta(storage, 'again')], entries: [] });
  const names = await metaNames(storage);
  assert.ok(names.includes('whole') && names.includes('again'));
});
