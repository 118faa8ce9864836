import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../../test/postgres.ts';
import { tellOverdueReviews } from './overdue-reviews.ts';
import { alertTopic } from './queue.ts';
import { openTestAlerts, type TestAlerts } from './testing.ts';

const day = 86_400;

async function tellEachOnce(alerts: TestAlerts): Promise<void> {
  const { storage, clock } = alerts;
  const { db } = storage;
  await alerts.add({ kind: 'syslog', address: 'tls://127.0.0.1:1' });
  for (const [name, settings] of [
    ['hsm', { reviewEveryDays: 30 }],
    ['free', {}],
  ] as const) {
    const row = {
      ...{ name, kind: 'pkcs11', uri: null, settings_json: JSON.stringify(settings) },
      ...{ state: 'available', refused_pin: null, drill_json: null, created_at: clock.now() },
      ...{ created_by: 'prn_a', revision: 1, reviewed_at: null, reviewed_by: null },
    };
    await storage.commit({
      steps: [{ query: db.insertInto('keystore').values(row).compile() }],
      entries: [],
    });
  }
  const tell = () => tellOverdueReviews(storage, clock, []);
  clock.advance(30 * day);
  assert.equal(await tell(), 0);
  clock.advance(1);
  assert.deepEqual([await tell(), await tell()], [1, 0]);
  const query = db
    .updateTable('keystore')
    .set({ reviewed_at: clock.now() })
    .where('name', '=', 'hsm');
  await storage.commit({ steps: [{ query: query.compile() }], entries: [] });
  assert.equal(await tell(), 0);
  clock.advance(30 * day + 1);
  assert.deepEqual([await tell(), await tell()], [1, 0]);
  const told = await alerts.waiting(alertTopic);
  assert.deepEqual(
    told.map(({ kind, resource }) => [kind, resource]),
    [
      ['review-overdue', 'hsm'],
      ['review-overdue', 'hsm'],
    ],
  );
}

test('an overdue review is told of once, and again when it is overdue again', async (t) => {
  await tellEachOnce(await openTestAlerts(t));
});

test('the same on PostgreSQL', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  await tellEachOnce(await openTestAlerts(t, { databaseUrl: server.createDatabase('reviews') }));
  t.after(() => server.remove());
});
