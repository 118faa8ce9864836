import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import type { Write } from '../../storage/storage.ts';
import { openTestCertificates, requestBy, temporaryFolder } from './certificates.fixture.ts';

const tls = { ca: 'ca', profile: 'tls-server' };
type Test = Awaited<ReturnType<typeof openTestCertificates>>;

async function due(ca: Test) {
  const row = await ca.storage.db
    .selectFrom('ca_version')
    .select(['crl_due_at', 'crl_published_at'])
    .executeTakeFirstOrThrow();
  return row;
}

/** The CRL that every new CA owes is out. */
async function published(ca: Test) {
  const { db } = ca.storage;
  const now = ca.clock.now();
  await ca.storage.commit({
    steps: [
      {
        query: db
          .updateTable('ca_version')
          .set({ crl_due_at: now + 86_400_000, crl_published_at: now })
          .compile(),
      },
    ],
    entries: [],
    raisesEpoch: true,
  });
}

/** Whether a write holds a step on this table. */
function touches(write: Write, text: string): boolean {
  return write.steps.some(({ query }) => query.sql.includes(text));
}

const crashed = new KeyreeveError('outcome-unknown', 'the disk did not answer');

for (const { when, point } of [
  { when: 'between the signature and the commit', point: 'insert into "certificate"' },
  { when: 'as the intent was written', point: 'insert into "intent"' },
]) {
  test(`what a crash ${when} left is revoked at the next start`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const folder = temporaryFolder(t);
    const csr = requestBy(openssl, folder, { subject: '/CN=www.example.org' });
    let storeKey: Buffer;
    let serial: string;
    {
      await using ca = await openTestCertificates({ folder });
      ({ storeKey } = ca);
      await ca.root('ca');
      await published(ca);
      const commit = ca.storage.commit.bind(ca.storage);
      ca.storage.commit = async (write) => {
        // The intent is written and nobody hears of it; the rows of a certificate never are.
        if (touches(write, 'insert into "intent"')) await commit(write);
        if (touches(write, point)) throw crashed;
        return touches(write, 'insert into "intent"') ? { epoch: 0, age: () => 0 } : commit(write);
      };
      await assert.rejects(ca.issue({ ...tls, csr }), crashed);
      const [intent] = await ca.intents();
      serial = JSON.parse(intent!.payload_json).certificates[0].serial;
    }
    await using ca = await openTestCertificates({ folder, storeKey });
    assert.equal(await ca.settle(), 1);
    assert.deepEqual(await ca.intents(), []);
    const shown = await ca.show(serial);
    assert.deepEqual(
      [shown.state, shown.reason, shown.subject, shown.names, shown.certificate, shown.profile],
      ['revoked', 'unspecified', 'CN=www.example.org', ['dns:www.example.org'], null, 'tls-server'],
    );
    assert.equal(shown.issuedBy, 'prn_test');
    assert.equal((await due(ca)).crl_due_at, ca.clock.now() + 5000, 'not sooner than the interval');
    assert.equal(ca.revocations.length, 1);
    const [revoked, settled] = (await ca.entries()).slice(-2);
    assert.deepEqual(
      [revoked!.action, revoked!.resource, revoked!.kind, settled!.action, settled!.outcome],
      ['certificate.revoke', `certificate ${serial}`, 'event', 'intent.settled', 'conflict'],
    );
    assert.equal(await ca.settle(), 0);
  });
}

test('an intent whose certificate has its row is settled without a change', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  let kept: Write['steps'][number] | undefined;
  const restore = ca.intercept((write) => {
    kept ??= write.steps.find(({ query }) => query.sql.startsWith('insert into "intent"'));
  });
  const made = await ca.issue({ ...tls, csr });
  restore();
  await ca.storage.commit({ steps: [kept!], entries: [] });
  assert.equal(await ca.settle(), 1);
  assert.equal((await ca.show(made.serial)).state, 'valid');
  assert.equal((await ca.entries()).at(-1)!.outcome, 'ok');
  assert.equal(ca.revocations.length, 0);
});

test('what was signed while the CA was changed is stored as revoked', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  await published(ca);
  ca.clock.advance(60);
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const sign = ca.keys.sign.bind(ca.keys);
  ca.keys.sign = async (...asked) => {
    const signature = await sign(...asked);
    await ca.call('key.update', 'ca', { labels: { changed: 'meanwhile' } });
    return signature;
  };
  await assert.rejects(ca.issue({ ...tls, csr }), (error) => isKeyreeveError(error, 'conflict'));
  const row = (await ca.rows()).find(({ subject }) => subject === '')!;
  assert.deepEqual([row.reason, row.revoked_at], ['unspecified', ca.clock.now()]);
  assert.ok(new X509Certificate(Buffer.from(row.der!)).subjectAltName?.includes('www.example.org'));
  assert.equal((await due(ca)).crl_due_at, ca.clock.now());
  assert.deepEqual(await ca.intents(), []);
  assert.equal(ca.revocations.length, 1);
  assert.equal((await ca.entries()).at(-1)!.outcome, 'conflict');
});

test('a key that is blocked while its certificate is signed gets none', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const sign = ca.keys.sign.bind(ca.keys);
  ca.keys.sign = async (...asked) => {
    await ca.ask('certificate.block-key', { body: { key: csr, reason: 'stolen' } });
    return sign(...asked);
  };
  await assert.rejects(ca.issue({ ...tls, csr }), (error) => isKeyreeveError(error, 'conflict'));
  const row = (await ca.rows()).find(({ subject }) => subject === '')!;
  assert.equal(row.reason, 'unspecified');
});

test('a signature that does not verify never leaves, and nothing is issued', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const sign = ca.keys.sign.bind(ca.keys);
  ca.keys.sign = async (version, scheme, data) => {
    const flipped = Buffer.from(data);
    flipped[20]! ^= 1;
    return sign(version, scheme, flipped);
  };
  const rows = (await ca.rows()).length;
  await assert.rejects(ca.issue({ ...tls, csr }), (error) =>
    isKeyreeveError(error, 'integrity-failed'),
  );
  assert.equal((await ca.rows()).length, rows);
  assert.deepEqual(await ca.intents(), []);
});

test('a keystore that is away leaves neither certificate nor intent', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const sign = ca.keys.sign;
  ca.keys.sign = async () => {
    throw new KeyreeveError('keystore-unavailable', 'the token is gone');
  };
  await assert.rejects(ca.issue({ ...tls, csr }), (error) =>
    isKeyreeveError(error, 'keystore-unavailable'),
  );
  assert.deepEqual(await ca.intents(), []);
  ca.keys.sign = sign;
  await ca.issue({ ...tls, csr });
});

test('a CA whose own making failed leaves nothing that would have to be revoked', async () => {
  await using ca = await openTestCertificates();
  const restore = ca.intercept((write) => {
    if (touches(write, 'insert into "certificate"')) throw crashed;
  });
  await assert.rejects(ca.root('ca'), crashed);
  restore();
  assert.equal((await ca.intents()).length, 1);
  assert.equal(await ca.settle(), 1);
  assert.deepEqual(await ca.rows(), []);
  assert.deepEqual(await ca.intents(), []);
});

test('an intermediate whose key was never stored is revoked without naming the key', async () => {
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const restore = ca.intercept((write) => {
    if (touches(write, 'insert into "ca"')) throw new KeyreeveError('conflict', 'somebody else');
  });
  await assert.rejects(ca.below('ca', 'sub'), (error) => isKeyreeveError(error, 'conflict'));
  restore();
  const row = (await ca.rows()).find(({ subject }) => subject === 'CN=sub')!;
  assert.deepEqual([row.reason, row.key_id], ['unspecified', null]);
  assert.deepEqual(await ca.intents(), []);
});

test('of twenty requests at once for one key and two subjects one subject wins', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await openTestCertificates();
  await ca.root('ca');
  const csr = requestBy(openssl, temporaryFolder(t), {});
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      ca.issue({
        ...tls,
        csr,
        subject: `CN=host${index % 2}.example.org`,
        names: [`dns:host${index % 2}.example.org`],
      }),
    ),
  );
  const subjects = new Set(
    outcomes.flatMap((one) => (one.status === 'fulfilled' ? [one.value.subject] : [])),
  );
  const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason.code] : []));
  assert.equal(subjects.size, 1);
  assert.deepEqual(refused, new Array(10).fill('public-key-refused'));
  assert.equal((await ca.rows()).filter((row) => row.reason !== null).length, 0);
});
