import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { ErrorCode } from '../../../api/error-codes.ts';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import {
  freshKey,
  openTestCertificates,
  requestBy,
  temporaryFolder,
} from './certificates.fixture.ts';

const is = (code: ErrorCode) => (error: unknown) => isKeyreeveError(error, code);

async function open(t: TestContext) {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return undefined;
  const ca = await openTestCertificates();
  const root = await ca.root('root');
  const web = await ca.below('root', 'web');
  const folder = temporaryFolder(t);
  const { db } = ca.storage;
  const versions = () => db.selectFrom('ca_version').selectAll().execute();
  /** The first CRLs are out. */
  const publish = async () => {
    const now = ca.clock.now();
    const set = { crl_due_at: now + 86_400_000, crl_published_at: now, crl_number: 1 };
    await ca.storage.commit({
      steps: [{ query: db.updateTable('ca_version').set(set).compile() }],
      entries: [],
      raisesEpoch: true,
    });
  };
  await publish();
  const request = (options: Parameters<typeof requestBy>[2] = {}) =>
    requestBy(openssl, folder, options);
  const leaf = (more: object = {}, options: Parameters<typeof requestBy>[2] = {}) =>
    ca.issue({ ca: 'web', profile: 'tls-server', csr: request(options), ...more });
  return Object.assign(ca, { root_: root, web, leaf, request, publish, versions });
}

test('a revoked certificate makes the CRL due, tells the publisher and raises the epoch', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf();
  ca.clock.advance(2);
  const epoch = ca.storage.epoch;
  const answer = await ca.revoke(serial, { reason: 'superseded' });
  const dueAt = '2030-01-01T00:00:05.000Z';
  assert.deepEqual(
    [answer.state, answer.reason, answer.revokedAt, answer.crlDueAt],
    ['revoked', 'superseded', '2030-01-01T00:00:02.000Z', dueAt],
  );
  assert.ok(ca.storage.epoch > epoch);
  assert.deepEqual(ca.revocations, [`${ca.web.id}@1`]);
  const version = (await ca.versions()).find(({ key_id }) => key_id === ca.web.id)!;
  assert.equal(version.crl_due_at, Date.parse(dueAt), 'five seconds after the one before');
  const entry = (await ca.entries()).at(-1)!;
  assert.deepEqual(
    [entry.action, entry.outcome, entry.resource, entry.keyName],
    ['certificate.revoke', 'ok', `certificate ${serial}`, 'web'],
  );
  await assert.rejects(ca.revoke(serial), is('already-revoked'));
  assert.equal((await ca.entries()).at(-1)!.outcome, 'already-revoked');
});

test('a CRL that is long out is due at once, and one that is due sooner stays so', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const [one, two] = [await ca.leaf(), await ca.leaf()];
  ca.clock.advance(60);
  assert.equal((await ca.revoke(one.serial)).crlDueAt, '2030-01-01T00:01:00.000Z');
  ca.clock.advance(1);
  assert.equal((await ca.revoke(two.serial)).crlDueAt, '2030-01-01T00:01:00.000Z');
});

test('a certificate on hold can be released, or revoked for good from when it was held', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const [one, two] = [await ca.leaf(), await ca.leaf()];
  const release = (serial: string) =>
    ca.ask('certificate.release', { params: { serial }, body: {} });
  await assert.rejects(release(one.serial), is('state-not-allowed'));
  for (const { serial } of [one, two]) {
    const held = await ca.revoke(serial, { reason: 'certificateHold' });
    assert.equal(held.state, 'on-hold');
    await assert.rejects(ca.revoke(serial, { reason: 'certificateHold' }), is('already-revoked'));
  }
  const released = await release(one.serial);
  assert.deepEqual([released.state, released.reason, released.revokedAt], ['valid', null, null]);
  assert.notEqual(released.crlDueAt, null);
  ca.clock.advance(100);
  const revoked = await ca.revoke(two.serial, { reason: 'keyCompromise' });
  assert.deepEqual([revoked.state, revoked.revokedAt], ['revoked', '2030-01-01T00:00:00.000Z']);
  await assert.rejects(release(two.serial), is('already-revoked'));
});

test('a compromise blocks the public key', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const key = freshKey();
  const made = await ca.leaf({}, { key });
  await ca.revoke(made.serial, { reason: 'keyCompromise', invalidFrom: '2029-12-31T12:00:00.7Z' });
  assert.equal((await ca.show(made.serial)).invalidFrom, '2029-12-31T12:00:00.000Z');
  await assert.rejects(ca.leaf({}, { key }), is('public-key-refused'));
  const { items } = await ca.ask('certificate.blocked-keys');
  assert.deepEqual(
    items.map(({ fingerprint, reason }) => [fingerprint, reason]),
    [[made.keyFingerprint, `keyCompromise: certificate ${made.serial} of web`]],
  );
});

test('the date of a compromise lies not ahead', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf();
  const body = { reason: 'keyCompromise', invalidFrom: '2030-01-01T00:00:01Z' };
  await assert.rejects(ca.revoke(serial, body), is('invalid-request'));
});

test('an expired certificate is not revoked', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf({ validitySeconds: 3600 });
  ca.clock.advance(2 * 3600);
  await assert.rejects(ca.revoke(serial), is('state-not-allowed'));
});

test('the certificate of a CA is revoked by the CA above it', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = ca.web.versions[0]!;
  const answer = await ca.revoke(serial, { reason: 'cACompromise' });
  assert.deepEqual([answer.ca, answer.key, answer.keyVersion], ['root', 'web', 1]);
  assert.deepEqual(ca.revocations, [`${ca.root_.id}@1`]);
});

test('to revoke the certificate of a CA takes the right to certify one', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf();
  ca.rights.authorise = (_caller, action) => {
    if (action === 'ca.certify') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.revoke(ca.web.versions[0]!.serial), is('forbidden'));
  assert.equal((await ca.revoke(serial)).state, 'revoked');
});

test('a root does not revoke itself', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  await assert.rejects(ca.revoke(ca.root_.versions[0]!.serial), (error) => {
    assert.ok(isKeyreeveError(error, 'state-not-allowed'));
    assert.match(error.hint!, /keyreeve key state root/);
    return true;
  });
});

test('serial numbers are found as people paste them, and among several CAs by the name', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const made = await ca.leaf();
  const pasted = made.serial.toUpperCase().match(/../g)!.join(':');
  assert.equal((await ca.show(`00:${pasted}`)).id, made.id);
  // The same number at another CA, as a take-over brings it.
  await ca.root('other');
  const other = (await ca.keys.store.find('other'))!;
  const row = (await ca.rows()).find(({ id }) => id === made.id)!;
  await ca.storage.commit({
    steps: [
      {
        query: ca.storage.db
          .insertInto('certificate')
          .values({ ...row, id: 'crt_aaaaaaaaaaaaaaaaaaaaaaaaaa', ca_id: other.id })
          .compile(),
      },
    ],
    entries: [],
  });
  await assert.rejects(ca.show(made.serial), (error) => {
    assert.ok(isKeyreeveError(error, 'serial-ambiguous'));
    assert.match(error.message, /web/);
    assert.match(error.message, /other/);
    return true;
  });
  await assert.rejects(ca.revoke(made.serial), is('serial-ambiguous'));
  assert.equal((await ca.show(made.serial, { ca: 'web' })).id, made.id);
  await assert.rejects(ca.show(made.serial, { ca: 'root' }), is('not-found'));
  await assert.rejects(ca.show(made.serial, { ca: 'none' }), is('not-found'));
  // Who may not see the other CA is not told of it.
  ca.rights.authorise = (_caller, _action, resource) => {
    if (resource.type === 'key' && resource.name === 'other') {
      throw new KeyreeveError('forbidden', 'no');
    }
  };
  assert.equal((await ca.show(made.serial)).id, made.id);
});

test('who may see a certificate and not revoke it is refused; who may not see it learns nothing', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf();
  ca.rights.authorise = (_caller, action) => {
    if (action === 'certificate.revoke') throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.revoke(serial), is('forbidden'));
  ca.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'no');
  };
  for (const number of [serial, 'abcdef']) {
    await assert.rejects(ca.revoke(number), is('forbidden'));
    await assert.rejects(ca.show(number), is('forbidden'));
  }
  await assert.rejects(ca.show(serial, { ca: 'web' }), is('forbidden'));
});

test('of two revocations at once one is told that it came second', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const { serial } = await ca.leaf();
  const outcomes = await Promise.allSettled([
    ca.revoke(serial, { reason: 'superseded' }),
    ca.revoke(serial, { reason: 'keyCompromise' }),
  ]);
  const refused = outcomes.filter((one) => one.status === 'rejected');
  assert.equal(refused.length, 1);
  assert.ok(['conflict', 'already-revoked'].includes(refused[0]!.reason.code));
});

test('public keys are blocked by digest or PEM, and taken off the list', async (t) => {
  await using ca = await open(t);
  if (ca === undefined) return;
  const key = freshKey();
  const made = await ca.leaf({}, { key });
  const block = (text: string, reason: string) =>
    ca.ask('certificate.block-key', { body: { key: text, reason } });
  const forms = [
    made.keyFingerprint!.toUpperCase(),
    ca.request({ key }),
    made.certificate!,
    (await import('node:crypto')).createPublicKey(key).export({ type: 'spki', format: 'pem' }),
  ];
  for (const form of forms) {
    assert.deepEqual(await block(form as string, 'why'), {
      fingerprint: made.keyFingerprint,
      reason: 'why',
      certificates: 1,
    });
  }
  await assert.rejects(block('nonsense', 'why'), is('invalid-request'));
  const unblock = () =>
    ca.ask('certificate.unblock-key', { params: { fingerprint: made.keyFingerprint } });
  assert.deepEqual(await unblock(), { fingerprint: made.keyFingerprint });
  await assert.rejects(unblock(), is('not-found'));
  await ca.leaf({}, { key });
  ca.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(block(made.keyFingerprint!, 'why'), is('forbidden'));
  await assert.rejects(unblock(), is('forbidden'));
  await assert.rejects(ca.ask('certificate.blocked-keys'), is('forbidden'));
});
