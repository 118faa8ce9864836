import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { profile as profileSchema } from '../api/profiles.ts';
import { json, makeCa } from '../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../test/doubles/logged-in.ts';

const serial = '5f1e0c3a9b7d4e2f8a6c1b3d5e7f9a0b';
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000 + 60_000).toISOString();
const pem = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;

const view = {
  id: 'crt_1',
  ca: 'servers',
  caVersion: 2,
  serial,
  subject: 'CN=www.example.org',
  names: ['dns:www.example.org'],
  profile: 'tls-server',
  state: 'valid',
  notBefore: '2026-05-01T00:00:00.000Z',
  notAfter: inDays(90),
  fingerprint: 'aa'.repeat(32),
  keyFingerprint: 'bb'.repeat(32),
  key: null,
  keyVersion: null,
  issuedAt: '2026-05-01T00:00:00.000Z',
  issuedBy: 'admin',
  revokedAt: null,
  reason: null,
  invalidFrom: null,
  certificate: pem('leaf'),
  chain: pem('intermediate'),
  notes: ['It carries no addresses.'],
};
const issue = ['cert', 'issue', '--ca', 'servers', '--profile', 'tls-server'];

test('cert issue sends the request, and writes the certificate with or without its chain', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, view));
  const request = '-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n';
  writeFileSync(file('csr'), request);
  const plain = await cli.run([...issue, '--csr', file('csr'), '--out', file('crt')]);
  assert.equal(plain.code, 0, plain.error);
  assert.deepEqual(sentBody(service), { ca: 'servers', profile: 'tls-server', csr: request });
  assert.equal(readFileSync(file('crt'), 'utf8'), pem('leaf'));
  assert.equal(plain.out, '');
  assert.match(plain.error, new RegExp(`^issued ${serial} to CN=www.example.org, until `));
  assert.match(plain.error, /^note: It carries no addresses\.$/m);
  // Renewal: the same file is written again.
  const both = [...issue, '--csr', '-', '--out', file('crt'), '--with-chain'];
  assert.equal((await cli.run(both, Buffer.from([0x30, 0x82, 0x00]))).code, 0);
  assert.equal(sentBody(service).csr, 'MIIA', 'DER goes as base64');
  assert.equal(readFileSync(file('crt'), 'utf8'), pem('leaf') + pem('intermediate'));
  const apart = [...issue, '--csr', file('csr'), '--out', '-', '--chain', file('chain')];
  assert.equal((await cli.run(apart)).out, pem('leaf'));
  assert.equal(readFileSync(file('chain'), 'utf8'), pem('intermediate'));
  const options = [
    ...['--key', 'app/tls', '--subject', 'CN=a', '--name', 'dns:a.example.org'],
    ...['--name', 'ip:192.0.2.1', '--validity', '90d', '--path-length', '0'],
    ...['--permit', 'dns:example.org', '--json', '--out', file('other')],
  ];
  const ran = await cli.run([...issue, ...options]);
  assert.equal(JSON.parse(ran.out).serial, serial, ran.error);
  assert.deepEqual(sentBody(service), {
    ca: 'servers',
    profile: 'tls-server',
    key: 'app/tls',
    subject: 'CN=a',
    names: ['dns:a.example.org', 'ip:192.0.2.1'],
    validitySeconds: 7_776_000,
    pathLength: 0,
    nameConstraints: { permitted: ['dns:example.org'], excluded: [] },
  });
  const until = [...issue, '--key', 'k', '--not-after', '2027-01-01', '--out', file('other')];
  assert.equal((await cli.run(until)).code, 0);
  assert.equal(sentBody(service).notAfter, '2027-01-01T00:00:00.000Z');
});

test('cert issue refuses what contradicts itself, private keys, and outputs that are something else', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, view));
  writeFileSync(file('csr'), 'a request');
  writeFileSync(file('large'), Buffer.alloc(200_000, 0x41));
  const key = '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n';
  writeFileSync(file('key'), key);
  const out = ['--out', file('crt')];
  const csr = ['--csr', file('csr')];
  for (const [words, code, error] of [
    [out, 2, /one of --csr and --key/],
    [[...csr, '--key', 'k', ...out], 2, /one of --csr and --key/],
    [[...csr, ...out, '--validity', '1d', '--not-after', '2d'], 2, /exclude each other/],
    [[...csr, ...out, '--with-chain', '--chain', file('c')], 2, /exclude each other/],
    [[...csr, ...out, '--chain', file('crt')], 2, /same name/],
    [[...csr, '--out', '-', '--chain', '-'], 2, /same name/],
    [[...csr, '--out', '-', '--json'], 2, /both want standard output/],
    [['--csr', file('key'), ...out], 2, /holds a private key/],
    [['--csr', file('large'), ...out], 2, /larger than/],
    [['--csr', file('none'), ...out], 4, /no such file/],
    [[...csr, '--out', file('key')], 5, /exists already and is something else/],
    [[...csr, ...out, '--chain', file('key')], 5, /exists already and is something else/],
    [[...csr, '--out', cli.folder], 2, /is a folder|no plain file|not a plain file/],
  ] as const) {
    const ran = await cli.run([...issue, ...words]);
    assert.equal(ran.code, code, `${words.join(' ')}: ${ran.error}`);
    assert.match(ran.error, error, words.join(' '));
  }
  assert.equal(service.requests.length, 0);
  assert.equal(readFileSync(file('key'), 'utf8'), key);
  assert.equal(existsSync(file('crt')), false);
});

test('cert list gives whole serial numbers first, marks what expires soon, and sends its filters', async (t) => {
  const items = [
    { ...view, notAfter: inDays(5), subject: '' },
    { ...view, state: 'revoked', ca: null },
  ];
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { items, next: null }),
  );
  const filters = [
    ...['--ca', 'servers', '--subject', 'www', '--name', '.example.org', '--state', 'valid'],
    ...['--key', 'k', '--profile', 'tls-server', '--serial', `serial=${serial.toUpperCase()}`],
    ...['--expires-before', '2030-01-01', '--expires-after', '2029-01-01'],
  ];
  const ran = await cli.run(['cert', 'list', ...filters]);
  assert.equal(ran.code, 0, ran.error);
  const [heading, first, second] = ran.out.split('\n');
  assert.match(heading!, /^SERIAL +STATE +EXPIRES +CA +PROFILE +SUBJECT$/);
  assert.match(first!, new RegExp(`^${serial} +valid +in 5d \\(soon\\) +servers .* dns:www`));
  assert.match(second!, new RegExp(`^${serial} +revoked +- +- +tls-server +CN=www`));
  const query = new URL(service.requests[0]!.url, service.url).searchParams;
  assert.deepEqual(Object.fromEntries(query), {
    limit: '100',
    ca: 'servers',
    subject: 'www',
    name: '.example.org',
    serial: serial.toUpperCase(),
    key: 'k',
    profile: 'tls-server',
    state: 'valid',
    expiresBefore: '2030-01-01T00:00:00.000Z',
    expiresAfter: '2029-01-01T00:00:00.000Z',
  });
  assert.equal((await cli.run(['cert', 'list', '--state', 'good'])).code, 2);
  assert.equal((await cli.run(['cert', 'list', '--serial', 'number nine'])).code, 2);
  assert.equal(service.requests.length, 1);
});

test('cert show prints all that is known, and writes PEM where it has it', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, view));
  const shown = await cli.run(['cert', 'show', `0x${serial}`, '--ca', 'servers']);
  assert.equal(shown.code, 0, shown.error);
  assert.equal(service.requests[0]?.url, `/api/v1/certificates/${serial}?ca=servers`);
  assert.match(shown.out, new RegExp(`serial: +${serial}\n`));
  assert.match(shown.out, /until: .*, in 90d\n/);
  const written = await cli.run(['cert', 'show', serial, '--out', file('c.pem')]);
  assert.equal(written.code, 0, written.error);
  assert.equal(readFileSync(file('c.pem'), 'utf8'), pem('leaf'));
  assert.equal((await cli.run(['cert', 'show', serial, '--out', '-'])).out, pem('leaf'));
  service.answer = (_, response) => json(response, { ...view, certificate: null });
  assert.equal((await cli.run(['cert', 'show', serial])).code, 0);
  assert.equal((await cli.run(['cert', 'show', serial, '--out', file('d.pem')])).code, 4);
  assert.equal((await cli.run(['cert', 'show', 'www.example.org'])).code, 2);
});

test('cert export writes what comes, as PEM or JSON lines', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => response.end(pem('one')));
  const ran = await cli.run(['cert', 'export', '--ca', 'servers', '--out', file('all.pem')]);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), { ca: 'servers', format: 'pem' });
  assert.equal(readFileSync(file('all.pem'), 'utf8'), pem('one'));
  const lines = await cli.run(['cert', 'export', '--format', 'jsonl', '--out', '-']);
  assert.deepEqual([lines.out, sentBody(service).format], [pem('one'), 'jsonl']);
  assert.equal((await cli.run(['cert', 'export', '--format', 'der', '--out', '-'])).code, 2);
});

test('cert revoke takes the reasons of RFC 5280, and says when the CRL will hold it', async (t) => {
  const revoked = { ...view, state: 'revoked', revokedAt: 'now', crlDueAt: 'soon' };
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { ...revoked, reason: sentBody(service).reason }),
  );
  const words = ['cert', 'revoke', serial, '--ca', 'servers', '--reason', 'keyCompromise'];
  const ran = await cli.run([...words, '--invalid-from', '2026-04-01']);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), {
    ca: 'servers',
    reason: 'keyCompromise',
    invalidFrom: '2026-04-01T00:00:00.000Z',
  });
  assert.match(ran.error, /^revoked 5f.* keyCompromise; the CRL that says so is due at soon$/m);
  assert.match(ran.error, /^next: keyreeve crl get --ca servers/m);
  const held = await cli.run(['cert', 'revoke', serial, '--reason', 'certificateHold']);
  assert.match(held.error, /taken back: keyreeve cert release 5f/);
  const sent = service.requests.length;
  assert.equal((await cli.run(['cert', 'revoke', serial, '--reason', 'stolen'])).code, 2);
  assert.equal(service.requests.length, sent);
  assert.equal((await cli.run(['cert', 'release', serial, '--ca', 'servers'])).code, 0);
  assert.match(service.requests.at(-1)!.url, /\/release$/);
});

test('cert purge asks, and counts back from now', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, { purged: 7 }));
  const words = ['cert', 'purge', '--ca', 'servers', '--expired-before', '90d'];
  assert.equal((await cli.run(words)).code, 2);
  assert.equal(service.requests.length, 0);
  const ran = await cli.run([...words, '--yes']);
  assert.match(ran.error, /forgot 7 certificates of servers/);
  const age = Date.now() - Date.parse(sentBody(service).expiredBefore);
  assert.ok(Math.abs(age - 90 * 86_400_000) < 60_000);
});

test('a key is blocked by its digest or its file, and a private key is never sent', async (t) => {
  const fingerprint = 'cd'.repeat(32);
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { fingerprint, reason: 'leaked', certificates: 2 }),
  );
  const { pem: certificate, keyPem } = makeCa();
  writeFileSync(file('c.pem'), certificate);
  writeFileSync(file('key.pem'), keyPem);
  const block = (what: string) => cli.run(['cert', 'block-key', what, '--reason', 'leaked']);
  const coloned = fingerprint.toUpperCase().match(/../g)!.join(':');
  const ran = await block(coloned);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), { key: fingerprint, reason: 'leaked' });
  assert.match(ran.error, /note: 2 certificates hold it: keyreeve cert list --key cdcd/);
  assert.equal((await block(file('c.pem'))).code, 0);
  assert.equal(sentBody(service).key, certificate);
  const sent = service.requests.length;
  assert.match((await block(file('key.pem'))).error, /holds a private key/);
  assert.equal((await cli.run(['cert', 'unblock-key', 'abc'])).code, 2);
  assert.equal(service.requests.length, sent);
  assert.equal((await cli.run(['cert', 'unblock-key', coloned])).code, 0);
  assert.match(service.requests.at(-1)!.url, new RegExp(`/blocked-keys/${fingerprint}$`));
});

test('a binding names one thing that a certificate carries, keys and certificates by digest', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { id: 'bnd_1', principal: 'builder', ca: 'clients', kind: 'dns', value: 'b' }),
  );
  const { pem: certificate, keyPem, x509 } = makeCa();
  writeFileSync(file('c.pem'), certificate);
  writeFileSync(file('key.pem'), keyPem);
  const spki = x509.publicKey.export({ format: 'der', type: 'spki' });
  writeFileSync(file('key.pub'), x509.publicKey.export({ format: 'pem', type: 'spki' }));
  const bind = (...words: string[]) =>
    cli.run(['principal', 'bind', 'builder', '--ca', 'clients', ...words]);
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  for (const [words, value] of [
    [['--dns', 'b.example.org'], 'b.example.org'],
    [['--subject', 'CN=b'], 'CN=b'],
    [['--key', 'AB'.repeat(32)], 'ab'.repeat(32)],
    [['--key', file('key.pub')], sha256(spki)],
    [['--key', file('c.pem')], sha256(spki)],
    [['--certificate', file('c.pem')], sha256(x509.raw)],
  ] as const) {
    const ran = await bind(...words);
    assert.equal(ran.code, 0, ran.error);
    const kind = words[0].slice(2);
    assert.deepEqual(sentBody(service), { ca: 'clients', kind, value });
  }
  const sent = service.requests.length;
  for (const words of [
    [],
    ['--dns', 'a', '--email', 'b@example.org'],
    ['--key', file('key.pem')],
    ['--certificate', file('key.pub')],
  ]) {
    assert.equal((await bind(...words)).code, 2, words.join(' '));
  }
  assert.equal(service.requests.length, sent);
  const ended = await cli.run(['principal', 'unbind', 'bnd_1']);
  assert.match(ended.error, /do not log in as builder any more/);
});

test('a profile is applied as it is printed', async (t) => {
  const profile = {
    name: 'mine',
    title: 'Mine',
    what: 'For us.',
    isAuthority: false,
    subject: { allowed: ['CN'], required: ['CN'] },
    names: { allowed: ['dns'], required: true, wildcards: false, commonNameIsName: false },
    keyUsage: ['digitalSignature'],
    extendedKeyUsage: ['serverAuth'],
    policies: [],
    validitySeconds: 86_400,
    validitySecondsMax: 172_800,
    exclusiveKey: true,
  };
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { ...profile, isBuiltIn: false }),
  );
  const printed = await cli.run(['profile', 'show', 'mine', '--json']);
  writeFileSync(file('p.json'), printed.out);
  const ran = await cli.run(['profile', 'apply', file('p.json')]);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), profile);
  const shown = await cli.run(['profile', 'show', 'mine']);
  assert.match(shown.out, /validity: +1d, at most 2d\n/);
  assert.match(shown.out, /names: +dns; one is required\n/);
  const sent = service.requests.length;
  for (const text of ['{', '[]', 'null']) {
    writeFileSync(file('p.json'), text);
    assert.equal((await cli.run(['profile', 'apply', file('p.json')])).code, 2);
  }
  assert.equal(service.requests.length, sent);
});

test('the profile that the guide shows is one that the service takes', () => {
  const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'certificates.md'), 'utf8');
  const [, text] = /```json\n(.*?)```/s.exec(page)!;
  assert.equal(profileSchema.parse(JSON.parse(text!)).name, 'mesh');
});
