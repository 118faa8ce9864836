import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { makeOpensslCa, newKey, openTestTakeover, revokedIn } from './takeover.fixture.ts';

const subjects = [
  '/C=DE/O=Example/CN=one.example.org',
  '/CN=Müller & Söhne',
  '/C=DE/O=A plus B, Inc./OU=x\\/y/CN=two',
  '/DC=org/DC=example/CN=three/emailAddress=ada@example.org',
];

for (const [what, newkey, digest, scheme] of [
  ['P-256', undefined, 'sha256', 'ecdsa-sha256'],
  ['RSA', ['rsa:2048'], 'sha256', 'rsa-pkcs1-sha256'],
] as const) {
  test(`a ${what} CA of openssl is taken over with 1,000 certificates, and its CRL goes on`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const old = makeOpensslCa(t, openssl, { digest, ...(newkey ? { newkey } : {}) });
    old.issue(Array.from({ length: 1000 }, (_, at) => subjects[at % subjects.length]!));
    old.revoke('1000');
    old.revoke('1001', '-crl_reason', 'superseded');
    old.publish();
    old.revoke('1002', '-crl_reason', 'certificateHold');
    old.revoke('1003', '-crl_reason', 'CACompromise');
    old.revoke('1004', '-crl_compromise', '20260101120000Z');
    old.revoke('1005', '-crl_reason', 'cessationOfOperation');
    old.revoke('13E7', '-crl_reason', 'affiliationChanged');
    old.publish();

    await using test = await openTestTakeover();
    const ca = await test.importCa('ca/old', {
      key: old.key(),
      certificate: old.certificate(),
      crlNumber: old.newestCrlNumber(),
    });
    assert.equal(ca.state, 'importing');
    assert.equal(ca.scheme, scheme);
    assert.equal(ca.isRoot, true);
    assert.equal(ca.subject, 'CN=Old Root,O=Example,C=DE');
    const begun = performance.now();
    assert.deepEqual(await test.portion('ca/old', { index: old.index() }), {
      added: 1000,
      completed: 0,
      known: 0,
    });
    const index = performance.now();
    assert.deepEqual(await test.portion('ca/old', { certificates: old.bundle() }), {
      added: 0,
      completed: 1000,
      known: 0,
    });
    t.diagnostic(
      `1,000 lines: ${Math.round(index - begun)} ms; 1,000 certificates: ${Math.round(performance.now() - index)} ms`,
    );
    const finished = await test.finish('ca/old', 1000, 7);
    assert.equal(finished.state, 'active');
    assert.deepEqual(finished.counts, { valid: 994, revoked: 7, expired: 0 });

    const next = old.nextCrlNumber();
    const crl = await test.crl('ca/old', next);
    // openssl's own next CRL is what ours is held against.
    const expected = revokedIn(openssl, Buffer.from(old.publish()), 'PEM');
    assert.equal(expected.size, 7);
    assert.deepEqual(revokedIn(openssl, crl, 'DER'), expected);
    writeFileSync(old.at('ours.crl'), crl);
    const facts = old.command(
      ...['crl', '-inform', 'DER', '-in', 'ours.crl', '-noout', '-crlnumber', '-issuer'],
      ...['-CAfile', 'ca.crt', '-verify'],
    );
    assert.match(facts.toString(), new RegExp(`crlNumber=0x${next.toString(16)}\\n`, 'i'));

    // It issues under the same name, and what it issues is good under the old certificate.
    const issue = () =>
      test.ask('certificate.issue', {
        body: { ca: 'ca/old', profile: 'tls-server', csr: old.read('new.csr') },
      });
    // The key of a certificate that was revoked as compromised gets no other.
    old.request('new.csr', ['-key', 'leaf.key'], 'DNS:new.example.org');
    await assert.rejects(issue(), { code: 'public-key-refused' });
    old.request('new.csr', newKey('new.key'), 'DNS:new.example.org');
    const issued = await issue();
    writeFileSync(old.at('new.crt'), issued.certificate!);
    old.command('crl', '-inform', 'DER', '-in', 'ours.crl', '-out', 'ours.pem');
    const verify = [
      'verify',
      '-x509_strict',
      '-crl_check',
      '-CAfile',
      'ca.crt',
      '-CRLfile',
      'ours.pem',
    ];
    old.command(...verify, 'new.crt');
    assert.throws(() => old.command(...verify, 'newcerts/1001.pem'), /revoked/);
  });
}

test('the issuer of its CRL is the subject of its certificate byte for byte, in the strings of old', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  // T61String and PrintableString: what is written today is UTF8String.
  const old = makeOpensslCa(t, openssl, {
    subject: '/C=de/O=Größe/CN=Old  Root',
    stringMask: 'nombstr',
  });
  await using test = await openTestTakeover();
  await test.importCa('old', { key: old.key(), certificate: old.certificate() });
  await test.finish('old', 0, 0);
  const crl = await test.crl('old', 1);
  writeFileSync(old.at('ours.crl'), crl);
  const parse = (...input: string[]) =>
    execFileSync(openssl, ['asn1parse', '-inform', 'DER', ...input], { cwd: old.folder });
  old.command('x509', '-in', 'ca.crt', '-outform', 'DER', '-out', 'ca.der');
  const names = (text: Buffer) =>
    text
      .toString()
      .split('\n')
      .filter((line) => /STRING +:/.test(line) && !/HEX DUMP/.test(line))
      .slice(0, 3)
      .map((line) => line.slice(line.indexOf('prim:')));
  const found = names(parse('-in', 'ours.crl'));
  assert.match(found[1]!, /T61STRING/);
  assert.deepEqual(found, names(parse('-in', 'ca.der')));
});
