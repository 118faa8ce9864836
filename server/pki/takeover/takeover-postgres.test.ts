import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../../../test/postgres.ts';
import { requireProgram } from '../../../test/tools.ts';
import { makeOpensslCa, openTestTakeover, revokedIn } from './takeover.fixture.ts';

test('on PostgreSQL a CA is taken over as on SQLite', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const root = makeOpensslCa(t, openssl, { subject: '/CN=Root' });
  const old = makeOpensslCa(t, openssl, { parent: root });
  old.issue(Array.from({ length: 250 }, (_, at) => `/CN=${at % 3}`));
  old.revoke('1000', '-crl_reason', 'keyCompromise');
  old.revoke('1001', '-crl_compromise', '20260101120000Z');
  old.publish();

  await using test = await openTestTakeover({ databaseUrl: server.createDatabase('takeover') });
  await test.importCa('old', {
    key: old.key(),
    certificate: old.certificate() + root.certificate(),
    crlNumber: old.newestCrlNumber(),
  });
  const lines = old.index().trimEnd().split('\n');
  await test.portion('old', { index: lines.slice(0, 130).join('\n') });
  const all = { index: old.index(), certificates: old.bundle() };
  assert.deepEqual(await test.portion('old', all), { added: 120, completed: 250, known: 130 });
  await assert.rejects(
    test.portion('old', { index: lines[0]!.replace('keyCompromise', 'superseded') }),
    { code: 'conflict' },
  );
  await assert.rejects(test.finish('old', 250, 1), { code: 'conflict' });
  await test.finish('old', 250, 2);
  const crl = await test.crl('old', old.nextCrlNumber());
  const expected = revokedIn(openssl, Buffer.from(old.publish()), 'PEM');
  assert.deepEqual(revokedIn(openssl, crl, 'DER'), expected);

  await test.importCa('root', { key: root.key(), certificate: root.certificate() });
  await test.portion('root', { index: root.index() });
  await test.finish('root', 1, 0);
  assert.equal((await test.show('old')).parent, 'root');
});
