import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { newTimedId } from '../../base/ids.ts';
import { insertCertificates } from '../certificate-record.ts';
import { openTestCertificates, requestBy, temporaryFolder } from './certificates.fixture.ts';
import { purgeExpired } from './certificates.ts';
import { purgePortionRows } from './purge.ts';

const hour = 3600;

async function open(t: TestContext) {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return undefined;
  const ca = await openTestCertificates();
  const root = await ca.root('root');
  const web = await ca.below('root', 'web', { settings: { purgeAfterSeconds: 10 * hour } });
  const folder = temporaryFolder(t);
  return Object.assign(ca, {
    root_: root,
    web,
    leaf: async (seconds: number) => {
      const csr = requestBy(openssl, folder, {});
      return ca.issue({ ca: 'web', profile: 'tls-server', csr, validitySeconds: seconds });
    },
    purge: (expiredBefore: string, name = 'web') =>
      ca.ask('certificate.purge', { body: { ca: name, expiredBefore } }),
    serials: async () => (await ca.list({ ca: 'web' })).map(({ serial }) => serial),
    time: () => new Date(ca.clock.now()).toISOString(),
    purgeExpired: () =>
      purgeExpired({ storage: ca.storage, clock: ca.clock, authorities: ca.authorities }),
  });
}

test('what expired before a time is forgotten with its names, and that is recorded', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const short = await ca.leaf(hour);
  const long = await ca.leaf(20 * hour);
  ca.clock.advance(2 * hour);
  assert.deepEqual(await ca.purge(ca.time()), { purged: 1 });
  assert.deepEqual(await ca.serials(), [long.serial]);
  assert.deepEqual(await ca.list({ name: 'www.example.org', serial: short.serial }), []);
  const names = await ca.storage.db.selectFrom('certificate_name').selectAll().execute();
  assert.deepEqual(
    names.map(({ certificate_id }) => certificate_id),
    [long.id],
  );
  const [intent, portion, outcome] = (await ca.entries()).slice(-3);
  // What allows it is settled before the first is gone: it takes many writes.
  assert.deepEqual([intent!.kind, intent!.action], ['intent', 'certificate.purge']);
  assert.deepEqual(await ca.storage.db.selectFrom('intent').selectAll().execute(), []);
  assert.deepEqual(
    [portion!.kind, portion!.action, portion!.count, portion!.keyName],
    ['event', 'certificate.purge', '1', 'web'],
  );
  assert.deepEqual([outcome!.kind, outcome!.count], ['outcome', '1']);
});

test('what lives is never forgotten', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  await ca.leaf(hour);
  await assert.rejects(ca.purge('2031-01-01T00:00:00Z'), (error) =>
    isKeyreeveError(error, 'invalid-request'),
  );
  assert.deepEqual(await ca.purge(ca.time()), { purged: 0 });
});

test('a revoked certificate is kept until it was on a CRL after its end', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf(hour);
  await ca.revoke(serial);
  await ca.crlsAreOut();
  ca.clock.advance(2 * hour);
  assert.deepEqual(await ca.purge(ca.time()), { purged: 0 });
  // Begun before the end, though it is out after it.
  await ca.crlsAreOut(2 * hour);
  assert.deepEqual(await ca.purge(ca.time()), { purged: 0 });
  await ca.crlsAreOut();
  assert.deepEqual(await ca.purge(ca.time()), { purged: 1 });
});

test('certificates of CAs stay', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  ca.clock.advance(41 * 366 * 24 * hour);
  await ca.crlsAreOut();
  assert.deepEqual(await ca.purge(ca.time(), 'root'), { purged: 0 });
  assert.equal((await ca.rows()).length, 2);
});

test('the schedule forgets what a CA keeps no longer, in portions', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const csr = await ca.leaf(hour);
  const row = (await ca.rows()).find(({ id }) => id === csr.id)!;
  const records = Array.from({ length: purgePortionRows }, (_, index) => ({
    row: { ...row, id: newTimedId('crt', index), serial: `${index}`.padStart(8, '0') },
    terms: ['dns:org.example'],
  }));
  for (let start = 0; start < records.length; start += 500) {
    const steps = insertCertificates(ca.storage, records.slice(start, start + 500));
    await ca.storage.commit({ steps, entries: [] });
  }
  const entries = (await ca.entries()).length;
  ca.clock.advance(11 * hour - 1);
  assert.equal(await ca.purgeExpired(), 0);
  ca.clock.advance(1);
  assert.equal(await ca.purgeExpired(), purgePortionRows + 1);
  assert.equal(await ca.purgeExpired(), 0);
  const written = (await ca.entries()).slice(entries);
  assert.deepEqual(
    written.map(({ kind, action, count }) => [kind, action, count]),
    [
      ['event', 'certificate.purge', String(purgePortionRows)],
      ['event', 'certificate.purge', '1'],
    ],
  );
});

test('to forget takes a right of its own', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  ca.rights.authorise = (_caller, action) => {
    if (action === 'certificate.purge') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.purge(ca.time()), (error) => isKeyreeveError(error, 'forbidden'));
});
