import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alertTopic } from './queue.ts';
import { refusalWindowSeconds } from './refusals.ts';
import { draftEntry, openTestAlerts, suspended } from './testing.ts';

const syslog = { kind: 'syslog', address: 'tls://127.0.0.1:1' } as const;

test('an entry and its alert are written by one commit, or neither is', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add(syslog);
  await alerts.plain.commit({
    steps: [{ query: alerts.storage.db.deleteFrom('outbox').compile() }],
    entries: [],
  });
  const query = alerts.storage.db.deleteFrom('meta').where('name', '=', 'nothing').compile();
  const expect = { rows: 1, code: 'conflict', message: 'it is gone' } as const;
  const broken = { query, expect };
  await assert.rejects(
    alerts.storage.commit({ steps: [broken], entries: [suspended(alerts.clock, 'a')] }),
    { code: 'conflict' },
  );
  assert.deepEqual(await alerts.waiting(alertTopic), []);
  await alerts.happen('b');
  const [alert, ...more] = await alerts.waiting(alertTopic);
  assert.deepEqual([alert.keyName, more.length], ['b', 0]);
});

test('where nobody is told, nothing is written; from the first target on it is', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.happen('before');
  assert.deepEqual(await alerts.waiting(alertTopic), []);
  await alerts.add(syslog);
  await alerts.happen('after');
  assert.deepEqual(
    (await alerts.waiting(alertTopic)).map(({ keyName }) => keyName),
    ['after'],
  );
  await alerts.remove('target');
  await alerts.happen('gone');
  const kinds = (await alerts.waiting(alertTopic)).map(({ kind }) => kind);
  assert.ok(!kinds.slice(1).includes('key-suspended'));
});

test('uses that succeed are looked at no further', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add(syslog);
  const before = await alerts.waiting(alertTopic);
  const use = draftEntry(alerts.clock, { kind: 'use', action: 'key.destroy' });
  await alerts.storage.commit({ steps: [], entries: [use] });
  assert.deepEqual(await alerts.waiting(alertTopic), before);
});

test('a caller that is refused again and again is a few alerts, not a flood', async (t) => {
  const alerts = await openTestAlerts(t);
  await alerts.add(syslog);
  const refuse = (principalId: string, times: number) =>
    Promise.all(
      Array.from({ length: times }, (_, index) =>
        alerts.storage.commit({
          steps: [],
          entries: [
            draftEntry(alerts.clock, {
              ...{ kind: index % 2 === 0 ? 'use' : 'outcome', action: 'key.sign' },
              ...{ outcome: 'forbidden', principalId },
            }),
          ],
        }),
      ),
    );
  const counts = async (principalId: string) =>
    (await alerts.waiting(alertTopic))
      .filter((one) => one.kind === 'refused-repeatedly' && one.principalId === principalId)
      .map(({ count }) => count);
  await refuse('prn_some', 4);
  assert.deepEqual(await counts('prn_some'), []);
  await refuse('prn_many', 1000);
  assert.deepEqual(await counts('prn_many'), [5, 20, 80, 320]);
  await refuse('prn_some', 1);
  assert.deepEqual(await counts('prn_some'), [5]);
  alerts.clock.advance(refusalWindowSeconds + 1);
  await refuse('prn_many', 4);
  assert.equal((await counts('prn_many')).length, 4);
  await refuse('prn_many', 1);
  assert.equal((await counts('prn_many')).length, 5);
});
