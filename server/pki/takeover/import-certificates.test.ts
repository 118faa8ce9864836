import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, type TestContext, test } from 'node:test';
import { findProgram, requireProgram } from '../../../test/tools.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { makeOpensslCa, type OpensslCa, openTestTakeover, revokedIn } from './takeover.fixture.ts';

const openssl = findProgram('openssl');
const cleaning: (() => void)[] = [];
let shared: OpensslCa | undefined;
after(() => {
  for (const clean of cleaning) clean();
});

const names = ['/CN=one', '/C=DE/O=a\\/OU=b/CN=two', '/CN=Grün', '/CN=four', '/CN=five'];

/** A CA with five certificates, two of them revoked: one for all tests, which leave it as it is. */
function oldCa(t: TestContext): OpensslCa | undefined {
  if (requireProgram(t, 'openssl') === undefined) return undefined;
  if (shared === undefined) {
    shared = makeOpensslCa({ after: (clean) => cleaning.push(clean) }, openssl!);
    shared.issue(names);
    shared.revoke('1001', '-crl_reason', 'superseded');
    shared.revoke('1003', '-crl_reason', 'keyCompromise');
  }
  return shared;
}

async function begun(old: OpensslCa) {
  const test = await openTestTakeover();
  await test.importCa('old', { key: old.key(), certificate: old.certificate() });
  /** What the CA issued, by serial number, without what differs from run to run. */
  const stored = async () => {
    const rows = (await test.rows()).filter((row) => row.ca_id !== null);
    return rows
      .map(({ id: _, created_at: __, der, ...row }) => ({ ...row, hasDer: der !== null }))
      .sort((left, right) => (left.serial < right.serial ? -1 : 1));
  };
  const lines = old.index().trimEnd().split('\n');
  const certificates = old.bundle().split(/(?<=-----END CERTIFICATE-----\n)/);
  return Object.assign(test, { stored, lines, certificates });
}

test('lines and certificates come in any order and portion, and as often as one likes', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using together = await begun(old);
  const { lines, certificates } = together;
  const all = { index: old.index(), certificates: old.bundle() };
  assert.deepEqual(await together.portion('old', all), { added: 5, completed: 5, known: 0 });
  assert.deepEqual(await together.portion('old', all), { added: 0, completed: 0, known: 10 });
  const expected = await together.stored();
  assert.equal(expected.length, 5);
  assert.deepEqual(
    expected.map(({ serial, subject, reason, hasDer }) => [serial, subject, reason, hasDer]),
    [
      ['1000', 'CN=one', null, true],
      ['1001', 'CN=two,O=a/OU=b,C=DE', 'superseded', true],
      ['1002', 'CN=Grün', null, true],
      ['1003', 'CN=four', 'keyCompromise', true],
      ['1004', 'CN=five', null, true],
    ],
  );
  assert.equal(expected[0]!.names_json, '["dns:www.example.org","email:ada@example.org"]');
  const found = await together.ask('certificate.list', { query: { name: 'www.example.org' } });
  assert.equal(found.items.length, 5);

  await using apart = await begun(old);
  const counts = [
    await apart.portion('old', { certificates: certificates.slice(0, 3).join('') }),
    await apart.portion('old', { index: lines.slice(1, 4).join('\n') }),
    await apart.portion('old', { certificates: certificates.slice(2).join('') }),
    await apart.portion('old', { index: lines.join('\r\n') }),
  ];
  assert.deepEqual(counts, [
    { added: 3, completed: 0, known: 0 },
    // 1001 is revoked, 1002 known, 1003 new.
    { added: 1, completed: 1, known: 1 },
    { added: 1, completed: 1, known: 1 },
    { added: 0, completed: 0, known: 5 },
  ]);
  // The id of the CA differs from one installation to the other.
  const plain = (rows: readonly object[]) => rows.map((row) => ({ ...row, ca_id: '' }));
  assert.deepEqual(plain(await apart.stored()), plain(expected));
});

test('lines alone are enough: what is revoked is on the CRL, without its certificate', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using test = await begun(old);
  await test.portion('old', { index: old.index() });
  assert.deepEqual(
    (await test.stored()).map(({ subject, hasDer }) => [subject, hasDer]),
    [
      ['CN=one', false],
      ['CN=two,O=a/OU=b,C=DE', false],
      ['CN=Grün', false],
      ['CN=four', false],
      ['CN=five', false],
    ],
  );
  await test.finish('old', 5, 2);
  const crl = await test.crl('old', 1);
  assert.deepEqual([...revokedIn(openssl!, crl, 'DER').keys()].sort(), ['1001', '1003']);
});

test('an index of older versions, which do not escape slashes, fits its certificates as well', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  const index = old.index().replaceAll('\\/', '/');
  assert.match(index, /\/O=a\/OU=b\/CN=two/);
  for (const order of [
    [{ index }, { certificates: old.bundle() }],
    [{ certificates: old.bundle() }, { index }],
  ]) {
    await using test = await begun(old);
    for (const portion of order) await test.portion('old', portion);
    assert.equal((await test.stored())[1]!.subject, 'CN=two,O=a/OU=b,C=DE');
    assert.deepEqual(await test.portion('old', { index }), { added: 0, completed: 0, known: 5 });
  }
});

test('what ended is taken in as well, and what was revoked and ended is on the first CRL', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!);
  const ended = [
    'E\t200101000000Z\t\t01\tunknown\t/CN=ended',
    'R\t210101000000Z\t200601000000Z,superseded\t02\tunknown\t/CN=both',
    'V\t20600101000000Z\t\t00\tunknown\t/CN=zero',
    `V\t350101000000Z\t\t${'FF'.repeat(20)}\tunknown\t/CN=long`,
  ];
  await using test = await begun(old);
  await test.portion('old', { index: ended.join('\n') });
  const { counts } = await test.finish('old', 4, 1);
  assert.deepEqual(counts, { valid: 3, revoked: 1, expired: 1 });
  const first = await test.crl('old', 1);
  assert.deepEqual([...revokedIn(openssl!, first, 'DER').keys()], ['02']);
  await test.ask('certificate.revoke', {
    params: { serial: 'ff'.repeat(20) },
    body: { ca: 'old' },
  });
  test.clock.advance(5);
  const second = await test.crl('old', 2);
  assert.ok(revokedIn(openssl!, second, 'DER').has('FF'.repeat(20)));
});

test('the certificate of a root that lists itself is one of those it issued, once', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!, { listsItself: true });
  old.issue(['/CN=one']);
  await using test = await begun(old);
  const all = { index: old.index(), certificates: old.bundle() };
  assert.deepEqual(await test.portion('old', all), { added: 2, completed: 1, known: 1 });
  assert.deepEqual(await test.portion('old', all), { added: 0, completed: 0, known: 4 });
  await assert.rejects(
    test.portion('old', {
      index: test.lines[0]!.replace('V', 'R').replace('\t\t', '\t260101000000Z\t'),
    }),
    { code: 'conflict', message: /the certificate of the CA itself/ },
  );
  assert.deepEqual((await test.finish('old', 2, 0)).counts, { valid: 2, revoked: 0, expired: 0 });
});

test('what contradicts is a conflict that names the line, and nothing of its portion is taken in', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using test = await begun(old);
  await test.portion('old', { index: test.lines.slice(0, 2).join('\n') });
  const before = await test.stored();
  const [first, second, third] = test.lines as [string, string, string];
  const end = first.split('\t')[1]!;
  for (const [line, message] of [
    [first.replace('/CN=one', '/CN=won'), /Line 2 .*another subject/],
    [first.replace(end, '350101000000Z'), /Line 2 .*ends on/],
    [second.replace(/\t\d+Z,/, '\t250101000000Z,'), /Line 2 .*is revoked here/],
    [second.replace('superseded', 'keyCompromise'), /Line 2 .*is revoked here/],
    [second.replace('R', 'V').replace(/\t\d+Z,superseded/, '\t'), /Line 2 .*is revoked here/],
    [third, /Line 2 .*once more/],
  ] as const) {
    await assert.rejects(test.portion('old', { index: `${third}\n${line}` }), (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
  }
  // Against certificates as against lines.
  await test.portion('old', { certificates: test.certificates[0]! + test.certificates[1]! });
  const completed = await test.stored();
  for (const line of [
    first.replace('/CN=one', '/CN=won'),
    second.replace('OU=b', 'OU=c'),
    second.replace('/CN=two', '/OU=x/CN=two'),
  ]) {
    await assert.rejects(test.portion('old', { index: line }), { code: 'conflict' });
  }
  assert.deepEqual(await test.portion('old', { index: `${first}\n${second}` }), {
    added: 0,
    completed: 0,
    known: 2,
  });
  assert.deepEqual(await test.stored(), completed);
  assert.equal(before.length, completed.length);
  // A certificate contradicts a line.
  await test.portion('old', { index: third.replace('/CN=Gr', '/CN=Br') });
  await assert.rejects(test.portion('old', { certificates: test.certificates[2]! }), {
    code: 'conflict',
    message: /Certificate 1 .*another subject/,
  });
});

test('certificates that are not this CA’s are refused, and with them their portion', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  const other = makeOpensslCa(t, openssl!, { subject: '/CN=Other' });
  other.issue(['/CN=x']);
  // The same name and another key: the name is not what is believed.
  const forger = makeOpensslCa(t, openssl!);
  forger.issue(['/CN=x']);
  await using test = await begun(old);
  const [first] = test.certificates as [string];
  const altered = Buffer.from(first.replace(/-----[A-Z ]+-----|\n/g, ''), 'base64');
  altered[altered.length - 5]! ^= 1;
  const pem = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE-----\n${bytes.toString('base64')}\n-----END CERTIFICATE-----\n`;
  for (const [certificates, code, message] of [
    [first + other.bundle(), 'invalid-request', /Certificate 2 .*issued by another CA/],
    [first + forger.bundle(), 'invalid-request', /Certificate 2 .*not signed by its key/],
    [first + pem(altered), 'invalid-request', /Certificate 2 .*not signed by its key/],
    [first + pem(Buffer.from('3003020101', 'hex')), 'certificate-malformed', /Certificate 2/],
    ['no certificate at all', 'certificate-malformed', /PEM/],
    [old.certificate() + forger.certificate(), 'invalid-request', /Certificate 2/],
  ] as const) {
    await assert.rejects(test.portion('old', { certificates }), { code, message });
  }
  await assert.rejects(test.portion('old', {}), { code: 'invalid-request' });
  await assert.rejects(test.portion('old', { index: '\n' }), { code: 'invalid-request' });
  await assert.rejects(test.portion('nowhere', { index: old.index() }), { code: 'not-found' });
  assert.deepEqual(await test.stored(), []);
});

test('of a certificate signed with SHA-1 nothing is taken in, and its line revokes it', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!, { newkey: ['rsa:2048'] });
  old.issue(['/CN=new']);
  old.ca('-notext', '-md', 'sha1', '-in', 'request-0.csr');
  old.revoke('1001');
  await using test = await begun(old);
  await assert.rejects(test.portion('old', { certificates: old.bundle() }), {
    code: 'invalid-request',
    message: /Certificate 2 .*not safe/,
    hint: /line of the index/,
  });
  await test.portion('old', { index: old.index() });
  assert.deepEqual(await test.portion('old', { certificates: old.bundle() }), {
    added: 0,
    completed: 1,
    known: 1,
  });
  assert.deepEqual(
    (await test.stored()).map(({ serial, hasDer }) => [serial, hasDer]),
    [
      ['1000', true],
      ['1001', false],
    ],
  );
  await test.finish('old', 2, 1);
  assert.deepEqual([...revokedIn(openssl!, await test.crl('old', 1), 'DER').keys()], ['1001']);
});

test('certificates of version 1, as openssl makes them without extensions, are taken in', async (t) => {
  if (requireProgram(t, 'openssl') === undefined) return;
  const old = makeOpensslCa(t, openssl!);
  old.issue(['/CN=one']);
  // `openssl x509` makes version 1 where it is given no extensions.
  const sign = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-set_serial', '0x2000', '-days', '10'];
  old.command('x509', '-req', '-in', 'request-0.csr', ...sign, '-out', 'v1.pem');
  await using test = await begun(old);
  assert.deepEqual(await test.portion('old', { certificates: old.read('v1.pem') }), {
    added: 1,
    completed: 0,
    known: 0,
  });
});

test('a take-over ends only with what was said to be there, and once', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using test = await begun(old);
  await test.portion('old', { index: test.lines.slice(1).join('\n') });
  await assert.rejects(test.finish('old', 5, 2), {
    code: 'conflict',
    message: /5 certificates issued .* 4 are stored/,
  });
  await test.portion('old', { index: test.lines[0]! });
  await assert.rejects(test.finish('old', 5, 1), {
    code: 'conflict',
    message: /1 certificates revoked .* 2 are stored/,
  });
  assert.equal((await test.show('old')).state, 'importing');
  const ended = await test.finish('old', 5, 2);
  assert.equal(ended.versions[0]!.crlDueAt !== null, true);
  await assert.rejects(test.finish('old', 5, 2), { code: 'state-not-allowed' });
  await assert.rejects(test.portion('old', { index: test.lines[0]! }), {
    code: 'state-not-allowed',
  });
});

test('each portion is one entry of the record, with its counts', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using test = await begun(old);
  const before = (await test.entries()).length;
  await test.portion('old', { index: old.index() });
  await test.portion('old', { certificates: old.bundle() });
  await test.finish('old', 5, 2);
  const entries = (await test.entries()).slice(before);
  assert.deepEqual(
    entries.map(({ action, outcome, keyName, detail }) => [action, outcome, keyName, detail]),
    [
      ['ca.import', 'ok', 'old', '{"added":5,"completed":0,"known":0,"revoked":2}'],
      ['ca.import', 'ok', 'old', '{"added":0,"completed":5,"known":0,"revoked":0}'],
      ['ca.import', 'ok', 'old', '{"finished":true,"issued":5,"revoked":2}'],
    ],
  );
});

test('portions that come at the same time are all taken in', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  await using test = await begun(old);
  const portions = [
    ...test.lines.map((index) => ({ index })),
    ...test.certificates.map((certificates) => ({ certificates })),
    { index: old.index() },
  ];
  await Promise.all(portions.map((portion) => test.portion('old', portion)));
  await test.finish('old', 5, 2);
  assert.equal((await test.stored()).filter((row) => row.hasDer).length, 6);
});

test('keys that the old CA revoked as compromised get no certificate here', async (t) => {
  const old = oldCa(t);
  if (old === undefined) return;
  for (const order of [
    [{ index: old.index() }, { certificates: old.bundle() }],
    [{ certificates: old.bundle() }, { index: old.index() }],
  ]) {
    await using test = await begun(old);
    for (const portion of order) await test.portion('old', portion);
    const { items } = await test.ask('certificate.blocked-keys');
    assert.deepEqual(
      items.map(({ reason }) => reason),
      ['keyCompromise'],
    );
  }
});

test('whoever may not block keys does not do so by an index: not those that others here rest on', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const victim = makeOpensslCa(t, openssl, { subject: '/CN=Victim' });
  const own = makeOpensslCa(t, openssl);
  // The public key alone is enough to certify it.
  victim.command('pkey', '-in', 'ca.key', '-pubout', '-out', 'public.pem');
  own.command(
    ...['x509', '-new', '-force_pubkey', victim.at('public.pem'), '-subj', '/CN=Forged'],
    ...['-CA', 'ca.crt', '-CAkey', 'ca.key', '-set_serial', '0x77', '-days', '30'],
    ...['-out', 'forged.crt'],
  );
  const end = new X509Certificate(own.read('forged.crt')).validToDate.toISOString();
  const utc = `${end.replaceAll(/[-:T]/g, '').slice(2, 14)}Z`;
  const index = `R\t${utc}\t260101000000Z,keyCompromise\t77\tunknown\t/CN=Forged\n`;
  await using test = await openTestTakeover();
  await test.importCa('victim', { key: victim.key(), certificate: victim.certificate() });
  await test.importCa('own', { key: own.key(), certificate: own.certificate() });
  test.rights.authorise = (_caller, action) => {
    if (action === 'certificate.block-key') throw new KeyreeveError('forbidden', 'Not for you.');
  };
  const portion = { index, certificates: own.read('forged.crt') };
  await assert.rejects(test.portion('own', portion), { code: 'forbidden' });
  const blocked = () => test.storage.db.selectFrom('blocked_key').select('reason').execute();
  assert.deepEqual(await blocked(), []);
  test.rights.authorise = () => undefined;
  await test.portion('own', portion);
  assert.deepEqual(await blocked(), [{ reason: 'keyCompromise' }]);
});
