import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres } from '../../test/postgres.ts';
import { systemClock } from '../base/clock.ts';
import { makeBench } from './audit.fixture.ts';
import { verifyExport, writeExport } from './audit.ts';

test('the record is the same on PostgreSQL', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const databaseUrl = server.createDatabase('record');
  const bench = await makeBench(t, { databaseUrl, clock: systemClock });
  const { record, storage } = bench;
  await bench.add(300);
  await record.sequenceNow();
  const early = await record.checkpoint();
  // A number that was drawn and never committed leaves a gap, as an undone transaction does.
  server.sql('record', `SELECT nextval(pg_get_serial_sequence('entry_tail', 'id'))`);
  const [added] = await Promise.all([bench.add(300), record.sequenceNow(), record.sequenceNow()]);
  await record.sequenceNow();
  const left = await storage.db.selectFrom('entry_tail').select('id').execute();
  assert.deepEqual(left, []);
  const logKey = (await record.keyLines()).join('\n');
  const live = await record.verify({ checkpoint: early, logKey });
  assert.deepEqual([live.ok, live.size, live.problems], [true, 601, []]);
  const { entries } = await record.search({ keyId: 'key_a'.padEnd(30, 'a'), limit: 5 });
  assert.equal(entries.length, 5);
  const { id, correlationId, keyId } = added[7]!;
  const found = await record.search({ correlationId: correlationId!, keyId: keyId!, since: 0 });
  assert.deepEqual([found.entries.map((entry) => entry.fields.id), found.next], [[id], undefined]);
  const folder = join(bench.folder, 'export');
  await writeExport(record.export(), folder);
  const result = await verifyExport(folder, { checkpoint: early, logKey });
  assert.deepEqual([result.ok, result.problems], [true, []]);
  server.sql('record', `UPDATE bundle SET leaves = set_byte(leaves, 3000, 0) WHERE number = 0`);
  const damaged = await record.verify();
  assert.deepEqual(
    damaged.problems.map(({ code }) => code),
    ['entry-damaged'],
  );
});
