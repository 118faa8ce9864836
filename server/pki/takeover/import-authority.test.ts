import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { policy as policySchema } from '../../../api/fields.ts';
import { findProgram, requireProgram } from '../../../test/tools.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { makeOpensslCa, type OpensslCa, openTestTakeover } from './takeover.fixture.ts';

const openssl = findProgram('openssl');
const day = 86_400_000;
const cleaning: (() => void)[] = [];
let shared: OpensslCa | undefined;
after(() => {
  for (const clean of cleaning) clean();
});

/** A root that openssl made: one for all tests that do not change it. */
function oldRoot(t: TestContext): OpensslCa | undefined {
  if (requireProgram(t, 'openssl') === undefined) return undefined;
  shared ??= makeOpensslCa({ after: (clean) => cleaning.push(clean) }, openssl!);
  return shared;
}

function body(old: OpensslCa, more: object = {}) {
  return { key: old.key(), certificate: old.certificate(), ...more };
}

test('a CA that comes in signs and publishes nothing before the take-over is ended', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  const view = await test.importCa('old', body(old, { crlNumber: '2A' }));
  assert.equal(view.versions[0]!.crlNumber, 0x2a);
  assert.equal(view.versions[0]!.crlDueAt, null);
  await test.pki.publishDue();
  old.issue(['/CN=x']);
  const params = { ca: 'old' };
  await assert.rejects(test.ask('crl.get', { params }), { code: 'crl-unavailable' });
  await assert.rejects(test.ask('crl.publish', { params }), { code: 'ca-importing' });
  await assert.rejects(test.ask('ca.rekey', { params }), { code: 'ca-importing' });
  await assert.rejects(test.ask('ca.renew', { params }), { code: 'ca-importing' });
  await assert.rejects(
    test.ask('certificate.issue', {
      body: { ca: 'old', profile: 'code-signing', csr: old.read('request-0.csr') },
    }),
    { code: 'ca-importing' },
  );
  await assert.rejects(
    test.ask('ca.create', {
      body: { name: 'below', parent: 'old', subject: 'CN=Below', algorithm: 'p-256' },
    }),
    { code: 'ca-importing' },
  );
  assert.equal((await test.show('old')).state, 'importing');
  const { chain } = await test.ask('ca.chain', { params });
  assert.deepEqual(new X509Certificate(chain).raw, new X509Certificate(old.certificate()).raw);
});

test('the key is imported, its life counts from the certificate, and the record holds no secret', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const passphrase = 'a passphrase of the tests';
  const old = makeOpensslCa(t, openssl!, { passphrase, newkey: ['rsa:2048'] });
  await using test = await openTestTakeover();
  await assert.rejects(test.importCa('old', body(old)), { code: 'wrong-passphrase' });
  await assert.rejects(test.importCa('old', body(old, { passphrase: 'another' })), {
    code: 'wrong-passphrase',
  });
  await test.importCa('old', body(old, { passphrase }));
  const key = await test.keys.store.find('old');
  const [version] = key!.versions;
  assert.equal(version!.origin, 'imported');
  assert.equal(version!.activatesAt, Date.parse(new X509Certificate(old.certificate()).validFrom));
  assert.deepEqual(key!.schemes, ['rsa-pkcs1-sha256']);
  const entries = JSON.stringify(await test.entries());
  assert.match(entries, /"action":"ca.import"/);
  for (const secret of [passphrase, 'PRIVATE KEY', old.key().slice(100, 140)]) {
    assert.equal(entries.includes(secret), false);
  }
  assert.deepEqual(await test.storage.db.selectFrom('intent').selectAll().execute(), []);
});

test('a key in a file is taken in, and what a refusal left is taken away', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  const place = join(test.folder, 'files', 'private');
  await test.importCa('first', body(old, { keystore: 'file' }));
  assert.equal(readdirSync(place).length, 1);
  // Of the same subject: refused, and the second key file is gone again.
  await assert.rejects(test.importCa('second', body(old, { keystore: 'file' })), {
    code: 'already-exists',
  });
  assert.equal(readdirSync(place).length, 1);
  assert.deepEqual(await test.storage.db.selectFrom('intent').selectAll().execute(), []);
});

test('who may not take CAs over is told nothing and changes nothing', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  await test.importCa('old', body(old));
  const before = await test.rows();
  test.rights.authorise = (_caller, action) => {
    if (action === 'ca.import') throw new KeyreeveError('forbidden', 'Not for you.');
  };
  const forbidden = { code: 'forbidden' };
  await assert.rejects(test.importCa('other', body(old)), forbidden);
  await assert.rejects(test.portion('old', { index: old.index() }), forbidden);
  await assert.rejects(test.portion('nowhere', { index: old.index() }), forbidden);
  await assert.rejects(test.finish('old', 0, 0), forbidden);
  assert.deepEqual(await test.rows(), before);
});

test('an idempotency key answers the same again, and the CA is there once', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  const ask = () =>
    test.ask('ca.import', { body: { name: 'old', ...body(old) }, idempotencyKey: 'once' });
  assert.deepEqual(await ask(), await ask());
});

for (const [what, extensions, message] of [
  ['without basicConstraints', ['keyUsage=keyCertSign,cRLSign'], /not that of a CA/],
  ['with CA:FALSE', ['basicConstraints=CA:FALSE'], /not that of a CA/],
  [
    'that may sign no certificates',
    ['basicConstraints=CA:TRUE', 'keyUsage=cRLSign'],
    /keyCertSign/,
  ],
  ['that may sign no CRLs', ['basicConstraints=CA:TRUE', 'keyUsage=keyCertSign'], /cRLSign/],
] as const) {
  test(`refused: a certificate ${what}`, async (t) => {
    if (requireProgram(t, 'openssl') === undefined) return;
    const parent = makeOpensslCa(t, openssl!);
    const old = makeOpensslCa(t, openssl!, { parent, extensions, subject: '/CN=Below' });
    await using test = await openTestTakeover();
    const certificate = old.certificate() + parent.certificate();
    await assert.rejects(test.importCa('old', body(old, { certificate })), {
      code: 'invalid-request',
      message,
    });
  });
}

test('a certificate without keyUsage is that of a CA', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!, { extensions: ['basicConstraints=CA:TRUE'] });
  await using test = await openTestTakeover();
  await test.importCa('old', body(old));
});

test('refused: a key of another certificate, and what is no key or no certificate', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  const other = makeOpensslCa(t, openssl!);
  await using test = await openTestTakeover();
  for (const [key, certificate, code] of [
    [other.key(), old.certificate(), 'invalid-key-material'],
    [old.key(), other.key(), 'certificate-malformed'],
    [old.certificate(), old.certificate(), 'invalid-key-material'],
    [old.key(), old.certificate().replace(/\n[^-]{20}/, '\n'), 'certificate-malformed'],
    ['', old.certificate(), 'invalid-key-material'],
    [old.key(), '', 'certificate-malformed'],
  ] as const) {
    await assert.rejects(test.importCa('old', { key, certificate }), { code });
  }
  assert.deepEqual(await test.rows(), []);
  assert.equal(await test.keys.store.find('old'), undefined);
});

test('refused: a certificate that has ended, a number beyond counting, a scheme of other keys', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  const refused = (more: object, code: string) =>
    assert.rejects(test.importCa('old', body(old, more)), { code });
  await refused({ crlNumber: 'F'.repeat(20) }, 'invalid-request');
  await refused({ scheme: 'ed25519' }, 'unknown-scheme');
  await refused({ keystore: 'hsm' }, 'invalid-request');
  await refused({ settings: { crlValiditySeconds: 600, crlEverySeconds: 700 } }, 'invalid-request');
  test.clock.wall += 3651 * day;
  await refused({}, 'validity-not-allowed');
});

test('refused: a key that is blocked, and one that is too short', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  await test.ask('certificate.block-key', {
    body: { key: old.certificate(), reason: 'lost' },
  });
  await assert.rejects(test.importCa('old', body(old)), { code: 'public-key-refused' });
  const short = makeOpensslCa(t, openssl!, { newkey: ['rsa:1024'], subject: '/CN=Short' });
  await assert.rejects(test.importCa('short', body(short)), { code: 'public-key-refused' });
  assert.deepEqual(await test.rows(), []);
});

test('refused, with what to do: a certificate that is signed with SHA-1', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!, { digest: 'sha1', newkey: ['rsa:2048'] });
  await using test = await openTestTakeover();
  await assert.rejects(test.importCa('old', body(old)), {
    code: 'unknown-scheme',
    hint: /SHA-256/,
  });
  // As the hint says: the same name and key, signed again.
  old.command(...['x509', '-in', 'ca.crt', '-key', 'ca.key', '-sha256', '-out', 'ca.crt.new']);
  await test.importCa('old', { key: old.key(), certificate: old.read('ca.crt.new') });
});

test('refused: a root of a name that is taken, in whatever case', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  await test.ask('ca.create', {
    body: { name: 'new', subject: 'CN=OLD ROOT,O=Example,C=DE', algorithm: 'p-256' },
  });
  await assert.rejects(test.importCa('old', body(old)), { code: 'already-exists' });
  await assert.rejects(test.importCa('new', body(old)), { code: 'already-exists' });
  await assert.rejects(test.importCa('system/old', body(old)), { code: 'forbidden' });
});

test('where the storage table is enforced, a root comes into no keystore of this process', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const root = makeOpensslCa(t, openssl!);
  const below = makeOpensslCa(t, openssl!, { parent: root, subject: '/CN=Below' });
  await using test = await openTestTakeover({ storageTable: 'enforced' });
  for (const keystore of ['wrapped', 'file']) {
    await assert.rejects(test.importCa('root', body(root, { keystore })), {
      code: 'storage-not-allowed',
    });
  }
  const certificate = below.certificate() + root.certificate();
  await test.importCa('below', body(below, { certificate }));
});

test('the key of a CA is here once: under no other subject, and not as a key that signs for callers', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!);
  const extensions = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
  old.command(
    ...[
      'req',
      '-x509',
      '-config',
      'ca.cnf',
      '-key',
      'ca.key',
      '-subj',
      '/CN=Other',
      '-out',
      'b.crt',
    ],
    ...extensions.flatMap((extension) => ['-addext', extension]),
  );
  await using test = await openTestTakeover();
  const twice = { code: 'already-exists', message: /is here once/ };
  const importKey = (name: string) =>
    test.call('key.import', name, {
      ...{ name, algorithm: 'p-256', purpose: 'sign', labels: {}, policy: policySchema.parse({}) },
      material: Buffer.from(old.key()).toString('base64'),
    });
  await test.importCa('old', body(old));
  await assert.rejects(test.importCa('b', { ...body(old), certificate: old.read('b.crt') }), twice);
  await assert.rejects(importKey('apps/sign'), twice);
  const other = makeOpensslCa(t, openssl!, { subject: '/CN=Second' });
  await test.call('key.import', 'apps/other', {
    ...{ name: 'apps/other', algorithm: 'p-256', purpose: 'sign', labels: {} },
    policy: policySchema.parse({}),
    material: Buffer.from(other.key()).toString('base64'),
  });
  await assert.rejects(test.importCa('second', body(other)), twice);
});

test('nothing is taken in for a CA whose key waits to be destroyed', async (t) => {
  const old = oldRoot(t);
  if (old === undefined) return;
  await using test = await openTestTakeover();
  await test.importCa('old', body(old));
  await test.call('key.destroy', 'old');
  const waits = { code: 'key-pending-destruction' };
  const index = 'V\t351231235959Z\t\t1000\tunknown\t/CN=x\n';
  await assert.rejects(test.portion('old', { index }), waits);
  await assert.rejects(test.finish('old', 0, 0), waits);
  await test.call('key.cancel-destroy', 'old');
  // Asked for while a portion is under way, which knows the key as it was.
  await test.show('old');
  const { db } = test.storage;
  const waiting = db
    .updateTable('key')
    .set({ destroy_at: test.clock.now() + 1000 })
    .compile();
  await test.storage.commit({ steps: [{ query: waiting }], entries: [] });
  await assert.rejects(test.portion('old', { index }), { code: 'state-not-allowed' });
  assert.equal((await test.rows()).length, 1);
});
