import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { isAllowed } from '../../../api/states.ts';
import type { KeyreeveError } from '../../base/errors.ts';
import { parseCertificate } from '../../x509/x509.ts';
import { opensslRefuses, openTestAuthorities, pemList } from './testing.ts';

const refused = (code: string, text = /./) => ({ code, message: text });
const day = 86_400;

for (const keystore of ['wrapped', 'file']) {
  test(`a root in ${keystore} gets a new key, and each key leads to the other`, async () => {
    await using opened = await openTestAuthorities();
    const { make, ca, clock, folder, leaf } = opened;
    const nameConstraints = { permitted: ['dns:example.org'], excluded: [] };
    const first = await make('root', { pathLength: 2, nameConstraints, keystore });
    const oldLeaf = await leaf('root');
    clock.advance(30 * day);
    const second = await ca('ca.rekey', 'root', { algorithm: 'p-384' });
    const [oldRoot, newRoot] = second.versions.map((version) => version.certificate);
    assert.equal(oldRoot, first.versions[0]!.certificate);
    assert.deepEqual(
      second.versions.map(({ state, algorithm }) => [state, algorithm]),
      [
        ['deactivated', 'p-256'],
        ['active', 'p-384'],
      ],
    );
    assert.deepEqual([second.subject, second.pathLength], [first.subject, 2]);
    assert.deepEqual(second.nameConstraints, nameConstraints);
    assert.ok(isAllowed('ca', 'sign-crl', second.versions[0]!.state), 'it goes on to sign CRLs');
    assert.deepEqual(await ca('ca.show', 'root'), second);
    const newLeaf = await leaf('root');
    const chain = await ca('ca.chain', 'root');
    assert.equal(chain.chain, newRoot);
    const crossed = pemList(chain.cross);
    assert.equal(crossed.length, 2);
    const now = clock.now();
    const way = { untrusted: chain.cross, now };
    // Who trusts one key comes to what the other one signed, over the certificate between them.
    assert.equal(opensslRefuses(folder, newLeaf, { ...way, trusted: oldRoot! }), undefined);
    assert.equal(opensslRefuses(folder, oldLeaf, { ...way, trusted: newRoot! }), undefined);
    // Without it there is no way.
    for (const [certificate, trusted] of [
      [newLeaf, oldRoot!],
      [oldLeaf, newRoot!],
    ] as const) {
      assert.match(opensslRefuses(folder, certificate, { trusted, now })!, /unable to get/);
    }
    const [newWithOld, oldWithNew] = crossed.map((pem) => parseCertificate(derOf(pem)));
    const [before, after] = [oldRoot!, newRoot!].map((pem) => parseCertificate(derOf(pem)));
    assert.deepEqual([newWithOld!.spki, oldWithNew!.spki], [after!.spki, before!.spki]);
    // From the making of the new key to the end of the old one.
    assert.deepEqual(
      [newWithOld!, oldWithNew!].map(({ notBefore, notAfter }) => [notBefore, notAfter]),
      [
        [after!.notBefore, before!.notAfter],
        [after!.notBefore, before!.notAfter],
      ],
    );
    assert.deepEqual(newWithOld!.extensions.nameConstraints, before!.extensions.nameConstraints);
    // The chain of an older version is there too.
    assert.equal((await ca('ca.chain', 'root', {}, { version: 1 })).chain, oldRoot);
    await assert.rejects(ca('ca.chain', 'root', {}, { version: 3 }), refused('not-found'));
    clock.advance(30 * 365 * day);
    assert.equal((await ca('ca.chain', 'root')).cross, '', 'what has ended leads nowhere');
  });
}

test('an ML-DSA root crosses to its new key', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca } = opened;
  await make('root', { algorithm: 'ml-dsa-44' });
  const view = await ca('ca.rekey', 'root');
  const [before, after] = view.versions.map((each) => new X509Certificate(each.certificate));
  const crossed = pemList((await ca('ca.chain', 'root')).cross).map(
    (pem) => new X509Certificate(pem),
  );
  assert.ok(crossed[0]!.verify(before!.publicKey) && crossed[1]!.verify(after!.publicKey));
  assert.ok(crossed[0]!.publicKey.equals(after!.publicKey));
  assert.ok(!crossed[0]!.verify(after!.publicKey));
});

test('an intermediate gets a new key by its parent; what the old one issued goes on', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, clock, folder, leaf } = opened;
  await make('root');
  await make('below', { parent: 'root', pathLength: 0 });
  const oldLeaf = await leaf('below');
  const oldChain = await ca('ca.chain', 'below');
  const view = await ca('ca.rekey', 'below', { validitySeconds: 100 * day });
  assert.equal(view.currentVersion, 2);
  assert.equal(view.pathLength, 0);
  assert.equal(
    Date.parse(view.versions[1]!.notAfter),
    clock.now() + 100 * day * 1000 - 1000,
    'as asked',
  );
  const newLeaf = await leaf('below');
  const chain = await ca('ca.chain', 'below');
  const [own, root] = pemList(chain.chain);
  const given = { trusted: root!, now: clock.now() };
  assert.equal(opensslRefuses(folder, newLeaf, { ...given, untrusted: own! }), undefined);
  assert.equal(opensslRefuses(folder, oldLeaf, { ...given, untrusted: oldChain.chain }), undefined);
  assert.notEqual(
    opensslRefuses(folder, newLeaf, { ...given, untrusted: oldChain.chain }),
    undefined,
  );
  // The root has a new key: what the old one certified leads to the certificate of then.
  const renewed = await ca('ca.rekey', 'root');
  const [, top] = pemList((await ca('ca.chain', 'below')).chain);
  assert.equal(top, root);
  assert.notEqual(renewed.versions[1]!.certificate, root);
  assert.equal(pemList((await ca('ca.chain', 'below')).cross).length, 2);
});

test('many requests that saw one version make one version', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, storage } = opened;
  await make('root', { keystore: 'file' });
  const views = await Promise.all(
    Array.from({ length: 8 }, () => ca('ca.rekey', 'root', { sawVersion: 1 })),
  );
  for (const view of views) assert.equal(view.versions.length, 2);
  const own = await storage.db
    .selectFrom('certificate')
    .select(['profile', 'revoked_at'])
    .orderBy('id')
    .execute();
  assert.deepEqual(own.map((row) => row.profile).sort(), ['cross', 'cross', 'root', 'root']);
  assert.ok(own.every((row) => row.revoked_at === null));
});

test('a CA that may not sign is not re-keyed nor renewed, for the reason that it has', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, call, clock } = opened;
  await make('root');
  await make('below', { parent: 'root' });
  const refuses = async (name: string, code: string, text?: RegExp) => {
    for (const route of ['ca.rekey', 'ca.renew'] as const) {
      await assert.rejects(ca(route, name), refused(code, text));
    }
  };
  await assert.rejects(ca('ca.rekey', 'root', { algorithm: 'rsa-3072' }), (error: KeyreeveError) =>
    /schemes/.test(error.message),
  );
  await assert.rejects(ca('ca.rekey', 'nobody'), refused('not-found', /no CA "nobody"/));
  await call('key.state', 'root', { state: 'suspended' });
  await refuses('root', 'state-not-allowed', /suspended/);
  // Nor is what it would have to certify.
  await refuses('below', 'state-not-allowed', /root.*suspended/);
  await call('key.state', 'root', { state: 'active' });
  await call('key.state', 'below', { state: 'compromised' });
  await refuses('below', 'state-not-allowed', /compromised/);
  await make('lone');
  await call('key.destroy', 'lone', {});
  await refuses('lone', 'key-pending-destruction');
  // A root whose certificate has ended vouches for no key; its own it may certify anew.
  clock.advance(21 * 365 * day);
  await assert.rejects(ca('ca.rekey', 'root'), refused('state-not-allowed', /ended/));
  const renewed = await ca('ca.renew', 'root');
  assert.equal(renewed.currentVersion, 1);
  assert.equal((await ca('ca.rekey', 'root')).currentVersion, 2);
});

test('a CA certified elsewhere is neither re-keyed nor renewed here', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, storage } = opened;
  await make('root');
  const below = await make('below', { parent: 'root' });
  // As a take-over leaves it.
  const { db } = storage;
  await storage.commit({
    steps: [
      {
        query: db
          .updateTable('ca')
          .set({ parent_id: null })
          .where('key_id', '=', below.id)
          .compile(),
      },
      {
        query: db
          .updateTable('certificate')
          .set({ ca_id: null, ca_version: null })
          .where('key_id', '=', below.id)
          .compile(),
      },
    ],
    entries: [],
    raisesEpoch: true,
  });
  for (const route of ['ca.rekey', 'ca.renew'] as const) {
    await assert.rejects(
      ca(route, 'below'),
      refused('state-not-allowed', /not in this installation/),
    );
  }
  assert.equal((await ca('ca.show', 'below')).parent, null);
  assert.equal(pemList((await ca('ca.chain', 'below')).chain).length, 1);
  const importing = db.updateTable('ca').set({ state: 'importing' }).where('key_id', '=', below.id);
  await storage.commit({ steps: [{ query: importing.compile() }], entries: [], raisesEpoch: true });
  for (const route of ['ca.rekey', 'ca.renew'] as const) {
    await assert.rejects(ca(route, 'below'), refused('ca-importing'));
  }
});

test('where the write of a new key is refused, all its signatures are on the list', async () => {
  let isDisturbed = true;
  await using opened = await openTestAuthorities({
    signing: (signer) => ({
      signSelf: (...asked) => signer.signSelf(...asked),
      undo: (made) => signer.undo(made),
      sign: async (...asked) => {
        const signed = await signer.sign(...asked);
        if (isDisturbed && asked[0].version.version === 2) {
          isDisturbed = false;
          await opened.ca('ca.update', 'root', { settings: { validitySecondsMax: 86_400 } });
        }
        return signed;
      },
    }),
  });
  const { make, ca, storage } = opened;
  await make('root', { keystore: 'file' });
  await assert.rejects(ca('ca.rekey', 'root'), refused('conflict'));
  const view = await ca('ca.show', 'root');
  assert.equal(view.versions.length, 1);
  assert.deepEqual(view.counts, { valid: 1, revoked: 3, expired: 0 });
  assert.deepEqual(await storage.db.selectFrom('intent').select('id').execute(), []);
  assert.equal((await ca('ca.rekey', 'root')).currentVersion, 2, 'and the next try goes through');
});

function derOf(pem: string): Buffer {
  return new X509Certificate(pem).raw;
}
