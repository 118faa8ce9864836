import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { makeOpensslCa, openTestTakeover } from './takeover.fixture.ts';

function chainOf(pem: string): string[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([block]) => block.replaceAll(/\s/g, ''),
  );
}

test('of a CA below others the certificates above come along and are shown in its chain', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const root = makeOpensslCa(t, openssl, { newkey: ['rsa:2048'] });
  const middle = makeOpensslCa(t, openssl, { parent: root, subject: '/CN=Middle' });
  const old = makeOpensslCa(t, openssl, { parent: middle, subject: '/CN=Low' });
  await using test = await openTestTakeover();
  const key = old.key();
  const refused = (certificate: string, code = 'invalid-request') =>
    assert.rejects(test.importCa('low', { key, certificate }), { code });
  // Alone nothing tells who has signed it; in another order it is no chain.
  await refused(old.certificate());
  await refused(old.certificate() + root.certificate() + middle.certificate());
  await refused(old.certificate() + old.certificate());
  const whole = old.certificate() + middle.certificate() + root.certificate();
  const ca = await test.importCa('low', { key, certificate: whole });
  assert.equal(ca.isRoot, false);
  assert.equal(ca.parent, null);
  await test.finish('low', 0, 0);
  const { chain } = await test.ask('ca.chain', { params: { ca: 'low' } });
  assert.deepEqual(chainOf(chain), chainOf(whole));
  // A second one below the same CAs shares their rows.
  const second = makeOpensslCa(t, openssl, { parent: middle, subject: '/CN=Second' });
  const again = second.certificate() + middle.certificate() + root.certificate();
  await test.importCa('second', { key: second.key(), certificate: again });
  const other = await test.ask('ca.chain', { params: { ca: 'second' } });
  assert.deepEqual(chainOf(other.chain), chainOf(again));
  assert.equal((await test.rows()).length, 4);
});

test('a CA below one of this installation takes its place there: its row is the parent’s', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const root = makeOpensslCa(t, openssl);
  const old = makeOpensslCa(t, openssl, { parent: root, subject: '/CN=Below' });
  const stranger = makeOpensslCa(t, openssl, { subject: '/CN=Stranger' });
  await using test = await openTestTakeover();
  await test.importCa('root', { key: root.key(), certificate: root.certificate() });
  await test.portion('root', { index: root.index() });
  await test.finish('root', 1, 0);
  await test.importCa('stranger', { key: stranger.key(), certificate: stranger.certificate() });
  const key = old.key();
  const certificate = old.certificate();
  await assert.rejects(test.importCa('below', { key, certificate, parent: 'stranger' }), {
    code: 'invalid-request',
  });
  await assert.rejects(test.importCa('below', { key, certificate, parent: 'nobody' }), {
    code: 'not-found',
  });
  // Not named, it would not notice that its parent revokes it.
  await assert.rejects(
    test.importCa('below', { key, certificate: certificate + root.certificate() }),
    { code: 'invalid-request', hint: /parent/ },
  );
  await assert.rejects(
    test.importCa('a-root', { key: root.key(), certificate: root.certificate(), parent: 'root' }),
    { code: 'invalid-request' },
  );
  // It adds to what the parent has issued: that takes the right to it as well.
  test.rights.authorise = (_caller, action, resource) => {
    const isRoot = resource.type === 'key' && resource.name === 'root';
    if (action === 'ca.import' && isRoot) throw new KeyreeveError('forbidden', 'Not for you.');
  };
  await assert.rejects(test.importCa('below', { key, certificate, parent: 'root' }), {
    code: 'forbidden',
  });
  test.rights.authorise = () => undefined;
  // A parent that is to be destroyed would not revoke it any more.
  await test.storage.commit({
    steps: [
      {
        query: test.storage.db
          .updateTable('key')
          .set({ destroy_at: test.clock.now() + 1000 })
          .where('name', '=', 'root')
          .compile(),
      },
    ],
    entries: [],
    raisesEpoch: true,
  });
  await assert.rejects(test.importCa('below', { key, certificate, parent: 'root' }), {
    code: 'key-pending-destruction',
  });
  await test.call('key.cancel-destroy', 'root');
  const ca = await test.importCa('below', { key, certificate, parent: 'root' });
  assert.equal(ca.parent, 'root');
  const rows = (await test.rows()).filter((row) => row.subject === 'CN=Below');
  assert.equal(rows.length, 1, 'the line of the index was completed');
  assert.equal(rows[0]!.key_id, ca.id);
  assert.notEqual(rows[0]!.der, null);
  assert.deepEqual((await test.show('root')).counts, { valid: 2, revoked: 0, expired: 0 });
  const { chain } = await test.ask('ca.chain', { params: { ca: 'below' } });
  assert.deepEqual(chainOf(chain), chainOf(certificate + root.certificate()));
});

test('a CA that its parent here has revoked is not taken over', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const root = makeOpensslCa(t, openssl);
  const old = makeOpensslCa(t, openssl, { parent: root, subject: '/CN=Below' });
  root.revoke('1000');
  await using test = await openTestTakeover();
  await test.importCa('root', { key: root.key(), certificate: root.certificate() });
  await test.portion('root', { index: root.index() });
  await test.finish('root', 1, 1);
  const body = { key: old.key(), certificate: old.certificate(), parent: 'root' };
  await assert.rejects(test.importCa('below', body), { code: 'already-revoked' });
});

for (const [by, portion] of [
  ['a line', (root: { index(): string }) => ({ index: root.index() })],
  ['its certificate', (root: { bundle(): string }) => ({ certificates: root.bundle() })],
] as const) {
  test(`a root that comes after the CA below it finds it by ${by}, and can revoke it`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const root = makeOpensslCa(t, openssl);
    const old = makeOpensslCa(t, openssl, { parent: root, subject: '/CN=Below' });
    await using test = await openTestTakeover();
    const certificate = old.certificate() + root.certificate();
    const below = await test.importCa('below', { key: old.key(), certificate });
    await test.finish('below', 0, 0);
    // The root's certificate is there already, as one above: it gets a row as a CA's own.
    await test.importCa('root', { key: root.key(), certificate: root.certificate() });
    assert.deepEqual(await test.portion('root', portion({ ...root })), {
      added: 1,
      completed: 0,
      known: 0,
    });
    await test.finish('root', 1, 0);
    assert.equal((await test.show('below')).parent, 'root');
    assert.equal((await test.rows()).filter((row) => row.key_id === below.id).length, 1);
    const [serial] = (await test.rows()).filter((row) => row.key_id === below.id);
    await test.ask('certificate.revoke', {
      params: { serial: serial!.serial },
      body: { ca: 'root' },
    });
    await assert.rejects(
      test.ask('certificate.issue', {
        body: { ca: 'below', profile: 'code-signing', csr: old.read('ca.csr') },
      }),
      { code: 'state-not-allowed' },
    );
  });
}

test('a file with a certificate twice, or one that an older key of the CA signed, is refused', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const root = makeOpensslCa(t, openssl);
  const low = makeOpensslCa(t, openssl, { parent: root, subject: '/CN=Low' });
  const rolled = makeOpensslCa(t, openssl, {
    parent: root,
    subject: '/C=DE/O=Example/CN=Old Root',
  });
  // For roots the storage table asks more than for what is below them.
  await using test = await openTestTakeover({ storageTable: 'enforced' });
  for (const [ca, chain, message] of [
    [low, [root, root], /twice/],
    [rolled, [root], /another key of the same CA/],
  ] as const) {
    const certificate = [ca, ...chain].map((each) => each.certificate()).join('');
    await assert.rejects(test.importCa('ca', { key: ca.key(), certificate }), {
      code: 'invalid-request',
      message,
    });
  }
  assert.deepEqual(await test.rows(), []);
});
