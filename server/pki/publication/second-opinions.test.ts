import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { requireProgram } from '../../../test/tools.ts';
import { pemText } from '../../base/pem.ts';
import { temporaryFolder } from '../certificates/certificates.fixture.ts';
import { openTestPublication } from './publication.fixture.ts';

/** A CA with one revoked and one good certificate and its CRL, as files. */
async function filesOf(t: TestContext, algorithm: string) {
  const folder = temporaryFolder(t);
  const ca = await openTestPublication(t);
  // certtool checks by the time that it is.
  ca.clock.wall = Date.now();
  const root = await ca.root('ca', { algorithm });
  const put = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const [good, bad] = await Promise.all([ca.issued('ca'), ca.issued('ca')]);
  await ca.revoke(bad, { reason: 'keyCompromise', invalidFrom: '2026-01-01T23:00:00Z' });
  const pem = async (serial: string) => (await ca.show(serial)).certificate!;
  const files = {
    root: put('root.pem', root.versions[0]!.certificate),
    good: put('good.pem', await pem(good)),
    bad: put('bad.pem', await pem(bad)),
  };
  await ca.round();
  const { der } = await ca.crl('ca');
  const crls = { crl: put('ca.crl', der), crlPem: put('crl.pem', pemText('X509 CRL', der)) };
  return { ca, put, ...crls, ...files };
}

function run(program: string, parameters: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(program, parameters, { encoding: 'utf8' });
  return { status, text: stdout + stderr };
}

for (const algorithm of ['p-256', 'p-384', 'rsa-3072', 'ed25519']) {
  test(`openssl takes a CRL by ${algorithm} and refuses by it what is revoked`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const { crl, crlPem, root, good, bad } = await filesOf(t, algorithm);
    const shown = run(openssl, [
      ...['crl', '-inform', 'DER', '-in', crl, '-CAfile', root, '-verify', '-noout', '-text'],
    ]);
    assert.equal(shown.status, 0, shown.text);
    assert.match(shown.text, /^verify OK$/m);
    assert.match(shown.text, /X509v3 CRL Number:\s+1\n/);
    assert.match(shown.text, /X509v3 CRL Reason Code:\s+Key Compromise\n/);
    assert.match(shown.text, /Invalidity Date:\s+Jan {2}1 23:00:00 2026 GMT\n/);
    const check = (file: string) =>
      run(openssl, [
        ...['verify', '-x509_strict', '-crl_check', '-CAfile', root],
        ...['-CRLfile', crlPem, file],
      ]);
    assert.equal(check(good).status, 0, check(good).text);
    assert.match(check(bad).text, /certificate revoked/);
  });

  test(`GnuTLS takes a CRL by ${algorithm} and refuses by it what is revoked`, async (t) => {
    const certtool = requireProgram(t, 'certtool');
    if (certtool === undefined) return;
    const { crl, crlPem, root, good, bad } = await filesOf(t, algorithm);
    const verified = run(certtool, [
      ...['--verify-crl', '--infile', crlPem, '--load-ca-certificate', root],
    ]);
    assert.equal(verified.status, 0, verified.text);
    assert.match(verified.text, /Verified/);
    const info = run(certtool, ['--crl-info', '--inder', '--infile', crl]).text;
    assert.match(info, /CRL Number \(not critical\): 01/);
    const check = (file: string) =>
      run(certtool, [
        ...['--verify', '--infile', file, '--load-ca-certificate', root, '--load-crl', crlPem],
      ]);
    assert.equal(check(good).status, 0, check(good).text);
    assert.notEqual(check(bad).status, 0);
    assert.match(check(bad).text, /revoked/);
  });
}

test('openssl and GnuTLS take a last CRL, which has no end', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  const certtool = requireProgram(t, 'certtool');
  if (openssl === undefined || certtool === undefined) return;
  const { ca, put, root } = await filesOf(t, 'p-256');
  await ca.call('key.state', 'ca', { version: 1, state: 'deactivated' });
  ca.clock.advance(2 * 366 * 86_400);
  await ca.round();
  const last = await ca.crl('ca');
  const crl = put('last.crl', last.der);
  const shown = run(openssl, [
    ...['crl', '-inform', 'DER', '-in', crl, '-CAfile', root, '-verify', '-noout', '-text'],
  ]);
  assert.match(shown.text, /^verify OK$/m);
  assert.match(shown.text, /Next Update: Dec 31 23:59:59 9999 GMT/);
  const info = run(certtool, ['--crl-info', '--inder', '--infile', crl]);
  assert.match(info.text, /Next at: Fri Dec 31 23:59:59 UTC 9999/);
});

test('after a re-key openssl and GnuTLS refuse what is revoked by both CRLs', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  const certtool = requireProgram(t, 'certtool');
  if (openssl === undefined || certtool === undefined) return;
  const { ca, put, good, bad, root } = await filesOf(t, 'p-256');
  const { versions } = await ca.ask('ca.rekey', { params: { ca: 'ca' } });
  const [goodToo, badToo] = await Promise.all([ca.issued('ca'), ca.issued('ca')]);
  await ca.revoke(badToo);
  await ca.round();
  const crls = await Promise.all(['1', '2'].map((version) => ca.crl('ca', { version })));
  const pem = async (serial: string) => (await ca.show(serial)).certificate!;
  const files = {
    crls: put('both.crl', crls.map(({ der }) => pemText('X509 CRL', der)).join('')),
    roots: put('both.pem', readFileSync(root, 'utf8') + versions[1]!.certificate),
    goodToo: put('good2.pem', await pem(goodToo)),
    badToo: put('bad2.pem', await pem(badToo)),
  };
  const byOpenssl = (file: string) =>
    run(openssl, [
      ...['verify', '-x509_strict', '-crl_check', '-CAfile', files.roots],
      ...['-CRLfile', files.crls, file],
    ]);
  // GnuTLS tells CRLs by the name of the issuer alone and keeps one of them.
  const byGnutls = (file: string) =>
    run(certtool, [
      ...['--verify', '--infile', file, '--load-ca-certificate', files.roots],
      ...['--load-crl', files.crls],
    ]);
  for (const check of [byOpenssl, byGnutls]) {
    for (const file of [good, files.goodToo]) assert.equal(check(file).status, 0);
    for (const file of [bad, files.badToo]) assert.match(check(file).text, /revoked/);
  }
});
