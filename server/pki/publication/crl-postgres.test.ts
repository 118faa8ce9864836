import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../../../test/postgres.ts';
import { openTestPublication, serialsOf } from './publication.fixture.ts';

test('CRLs are published on PostgreSQL as on SQLite', async (t) => {
  const postgres = startPostgres(t);
  if (postgres === undefined) return;
  t.after(() => postgres.stop());
  const databaseUrl = postgres.createDatabase('crls');
  let between: () => Promise<unknown> = async () => undefined;
  const ca = await openTestPublication(t, {
    databaseUrl,
    signing:
      (sign) =>
      async (...asked) => {
        await between();
        return sign(...asked);
      },
  });
  await ca.root('ca', { settings: { crlEverySeconds: 3600, crlValiditySeconds: 7200 } });
  const serials = await Promise.all([ca.issued('ca'), ca.issued('ca')]);
  await ca.round();
  ca.clock.advance(5);
  await ca.revoke(serials[0], { reason: 'superseded' });
  between = async () => {
    between = async () => undefined;
    await ca.revoke(serials[1]);
  };
  await ca.round();
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serials[0]]);
  assert.equal((await ca.state('ca')).crl_due_at, ca.clock.now() + 5000);
  ca.clock.advance(5);
  await ca.round();
  const third = await ca.crl('ca');
  assert.equal(third.number, 3n);
  assert.deepEqual(serialsOf(third), [...serials].sort());
  assert.deepEqual(await ca.publication.state(), {
    nextDueAt: third.thisUpdate + 3_600_000,
    overdue: 0,
    problems: [],
  });
  for (let count = 0; count < 5; count++) {
    ca.clock.advance(3600);
    await ca.round();
  }
  const rows = await ca.storage.db.selectFrom('crl').select('number').orderBy('number').execute();
  assert.deepEqual(
    rows.map(({ number }) => number),
    [4, 5, 6, 7, 8],
  );
  assert.equal((await ca.publish('ca')).number, 8);
});
