import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { startPostgres } from '../../../test/postgres.ts';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import {
  freshKey,
  openTestCertificates,
  requestBy,
  temporaryFolder,
} from './certificates.fixture.ts';

test('certificates are issued, refused, settled, revoked and purged on PostgreSQL', async (t: TestContext) => {
  const openssl = requireProgram(t, 'openssl');
  const server = startPostgres(t);
  if (openssl === undefined || server === undefined) return;
  t.after(() => server.remove());
  const folder = temporaryFolder(t);
  const databaseUrl = server.createDatabase('keyreeve');
  await using ca = await openTestCertificates({ folder, databaseUrl });
  await ca.root('web');
  const tls = { ca: 'web', profile: 'tls-server' };
  const key = freshKey();
  const csr = requestBy(openssl, folder, { key });
  const refused = (error: unknown) => isKeyreeveError(error, 'public-key-refused');

  // The same subject renews; another one does not get the key.
  const made = await ca.issue({ ...tls, csr, validitySeconds: 3600 });
  await ca.issue({ ...tls, csr });
  const other = { ...tls, csr, subject: 'CN=other.example.org', names: ['dns:other.example.org'] };
  await assert.rejects(ca.issue(other), refused);

  // A batch: one intent, one outcome, failures of their own.
  const hosts = [0, 1, 2].map((index) => ({
    ...tls,
    csr: requestBy(openssl, folder, { names: [`DNS:host${index}.example.org`] }),
  }));
  const { items } = await ca.ask('certificate.issue.batch', { body: { items: [...hosts, other] } });
  assert.deepEqual(
    items.map((item) => ('error' in item ? item.error.code : 'ok')),
    ['ok', 'ok', 'ok', 'public-key-refused'],
  );

  // What was signed and not stored is revoked at the next start.
  const restore = ca.intercept((write) => {
    if (write.steps.some(({ query }) => query.sql.startsWith('insert into "certificate"'))) {
      throw new KeyreeveError('outcome-unknown', 'the disk did not answer');
    }
  });
  await assert.rejects(ca.issue({ ...tls, csr: hosts[0]!.csr }));
  restore();
  assert.equal(await ca.settle(), 1);
  assert.equal((await ca.rows()).filter(({ reason }) => reason === 'unspecified').length, 1);

  // Revoked, which blocks the key and makes the CRL due.
  const revoked = await ca.revoke(made.serial, { reason: 'keyCompromise' });
  assert.deepEqual([revoked.state, revoked.crlDueAt], ['revoked', revoked.revokedAt]);
  await assert.rejects(ca.issue({ ...tls, csr }), refused);
  await ca.ask('certificate.block-key', { body: { key: made.keyFingerprint, reason: 'again' } });

  // Forgotten once a CRL after its end is out.
  ca.clock.advance(7200);
  const purge = () =>
    ca.ask('certificate.purge', {
      body: { ca: 'web', expiredBefore: new Date(ca.clock.now()).toISOString() },
    });
  assert.deepEqual(await purge(), { purged: 0 });
  await ca.crlsAreOut();
  assert.deepEqual(await purge(), { purged: 1 });
});
