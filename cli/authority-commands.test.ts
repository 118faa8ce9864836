import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { CaView } from '../api/routes/authorities.ts';
import { json } from '../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../test/doubles/logged-in.ts';
import { run, tryRun } from '../test/tools.ts';

const serial = '5f1e0c3a9b7d4e2f8a6c1b3d5e7f9a0b';
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000 + 60_000).toISOString();

function caView(changes: Partial<CaView> = {}): CaView {
  return {
    id: 'key_1',
    name: 'root',
    subject: 'CN=Example Root,O=Example',
    parent: null,
    isRoot: true,
    state: 'active',
    algorithm: 'p-384',
    scheme: 'ecdsa-sha384',
    keystore: 'wrapped',
    pathLength: null,
    nameConstraints: { permitted: [], excluded: [] },
    settings: { crlEverySeconds: 86_400, crlValiditySeconds: 604_800 },
    currentVersion: 1,
    createdAt: '2026-05-01T00:00:00.000Z',
    revision: 1,
    counts: { valid: 3, revoked: 1, expired: 0 },
    versions: [
      {
        version: 1,
        state: 'active',
        algorithm: 'p-384',
        keyFingerprint: 'aa'.repeat(32),
        fingerprint: 'bb'.repeat(32),
        serial,
        notBefore: '2026-05-01T00:00:00.000Z',
        notAfter: inDays(12),
        certificate: 'PEM',
        crlNumber: 7,
        crlPublishedAt: '2026-05-01T00:00:00.000Z',
        crlDueAt: '2026-05-02T00:00:00.000Z',
        crlUrl: null,
      },
    ],
    notes: ['Certificates carry no addresses: KEYREEVE_PKI_URL is not set.'],
    ...changes,
  };
}

test('ca create sends subject, constraints, settings and policy, and says what comes next', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, caView()));
  const words = [
    ...['ca', 'create', 'root', '--subject', 'CN=Example Root,O=Example', '--algorithm', 'p-384'],
    ...['--validity', '10y', '--path-length', '2', '--permit', 'dns:example.org'],
    ...['--permit', 'ip:10.0.0.0/8', '--exclude', 'dns:secret.example.org', '--scheme', 's'],
    ...['--keystore', 'file', '--profile', 'tls-server', '--profile', 'tls-client'],
    ...['--max-validity', '90d', '--crl-every', '12h', '--crl-validity', '3d'],
    ...['--purge-after', '1y', '--label', 'team=x', '--owner', 'ada', '--recovery', 'none'],
  ];
  const ran = await cli.run(words);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), {
    name: 'root',
    subject: 'CN=Example Root,O=Example',
    algorithm: 'p-384',
    validitySeconds: 315_360_000,
    pathLength: 2,
    nameConstraints: {
      permitted: ['dns:example.org', 'ip:10.0.0.0/8'],
      excluded: ['dns:secret.example.org'],
    },
    scheme: 's',
    keystore: 'file',
    settings: {
      profiles: ['tls-server', 'tls-client'],
      validitySecondsMax: 7_776_000,
      crlEverySeconds: 43_200,
      crlValiditySeconds: 259_200,
      purgeAfterSeconds: 31_536_000,
    },
    labels: { team: 'x' },
    owner: 'ada',
    policy: { recovery: 'none' },
  });
  assert.equal(ran.out, '');
  assert.match(ran.error, /^made root \(key_1\): p-384, a root, until /);
  assert.match(ran.error, /^note: Certificates carry no addresses/m);
  assert.match(ran.error, /^next: keyreeve ca create NAME --parent root/m);
  const below = caView({ isRoot: false, parent: 'root', name: 'servers' });
  service.answer = (_, response) => json(response, below);
  const plain = 'ca create servers --parent root --subject CN=s --algorithm p-256'.split(' ');
  const second = await cli.run(plain);
  assert.match(second.error, /^next: keyreeve cert issue --ca servers --profile tls-server/m);
  assert.deepEqual(sentBody(service), {
    name: 'servers',
    subject: 'CN=s',
    algorithm: 'p-256',
    parent: 'root',
    settings: {},
    labels: {},
    policy: {},
  });
});

test('what ca create cannot read is refused before anything is sent', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, caView()));
  const words = 'ca create root --subject CN=r --algorithm p-256'.split(' ');
  for (const wrong of [
    ['--validity', '10 years'],
    ['--path-length', '-1'],
    ['--path-length', '11'],
    ['--crl-every', 'daily'],
    ['--label', 'team'],
  ]) {
    const ran = await cli.run([...words, ...wrong]);
    assert.equal(ran.code, 2, wrong.join(' '));
    assert.match(ran.error, /^error: .*\nhint: /, wrong.join(' '));
  }
  assert.equal(service.requests.length, 0);
});

test('lists mark what expires within thirty days; show gives serial numbers whole', async (t) => {
  const imported = caView({
    name: 'old',
    isRoot: false,
    versions: [{ ...caView().versions[0]!, notAfter: inDays(400) }],
  });
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { items: [caView(), imported], next: null }),
  );
  const list = await cli.run(['ca', 'list']);
  assert.equal(list.code, 0, list.error);
  const [heading, first, second] = list.out.split('\n');
  assert.match(heading!, /^NAME +STATE +ALGORITHM +PARENT +EXPIRES +VALID +REVOKED +SUBJECT$/);
  assert.match(first!, /^root +active +p-384 +root +in 12d \(soon\) +3 +1 +CN=Example Root/);
  assert.match(second!, /^old +active +p-384 +elsewhere +in 400d +3/);
  service.answer = (_, response) => json(response, caView());
  const shown = await cli.run(['ca', 'show', 'root']);
  assert.match(shown.out, new RegExp(`1\\* +active +${serial} +in 12d`));
  assert.match(shown.out, /CRL: +every 1d, valid 7d/);
  assert.match(shown.out, /CRL address: +none/);
  assert.match(shown.error, /^note: /m);
  const forPrograms = await cli.run(['ca', 'show', 'root', '--json']);
  assert.equal(JSON.parse(forPrograms.out).revision, 1);
});

const certificate = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n';

test('ca chain prints PEM and nothing else, without a token', async (t) => {
  const chain = certificate + certificate.trimEnd();
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { name: 'servers', version: 2, chain, cross: certificate }),
  );
  delete cli.env.KEYREEVE_TOKEN;
  const ran = await cli.run(['ca', 'chain', 'a/servers@2']);
  assert.deepEqual([ran.code, ran.out, ran.error], [0, `${chain}\n`, '']);
  assert.equal(service.requests[0]?.url, '/api/v1/ca-chains/a%2Fservers?version=2');
  assert.equal(service.requests[0]?.headers.authorization, undefined);
  const crossed = await cli.run(['ca', 'chain', 'servers', '--cross', '--out', file('c.pem')]);
  assert.equal(crossed.code, 0, crossed.error);
  assert.equal(crossed.out, '');
  assert.equal(readFileSync(file('c.pem'), 'utf8'), `${chain}\n${certificate}`);
  const forPrograms = await cli.run(['ca', 'chain', 'servers', '--json']);
  assert.equal(JSON.parse(forPrograms.out).cross, certificate);
  assert.equal((await cli.run(['ca', 'chain', 'servers', '--json', '--out', '-'])).code, 2);
});

test('certificates replace certificates in files, and nothing else', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) =>
    json(response, { name: 'servers', version: 2, chain: certificate, cross: '' }),
  );
  const key = '-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n';
  for (const content of [key, certificate + key, 'notes']) {
    writeFileSync(file('there'), content);
    const ran = await cli.run(['ca', 'chain', 'servers', '--out', file('there')]);
    assert.equal(ran.code, 5);
    assert.match(ran.error, /exists already and is something else\nhint: /);
    assert.equal(readFileSync(file('there'), 'utf8'), content);
  }
  assert.equal(service.requests.length, 0);
  for (const content of ['', certificate.repeat(2)]) {
    writeFileSync(file('there'), content);
    const ran = await cli.run(['ca', 'chain', 'servers', '--out', file('there')]);
    assert.equal(ran.code, 0, ran.error);
    assert.equal(readFileSync(file('there'), 'utf8'), certificate);
  }
});

test('ca update sends what is named, and null where a limit goes', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, caView()));
  const update = (words: string) => cli.run(['ca', 'update', 'root', ...words.split(' ')]);
  assert.equal((await update('--crl-every 1h --profile tls-server')).code, 0);
  assert.deepEqual(sentBody(service), {
    settings: { crlEverySeconds: 3600, profiles: ['tls-server'] },
  });
  assert.equal((await update('--no-max-validity --no-purge-after --every-profile')).code, 0);
  assert.deepEqual(sentBody(service), {
    settings: { profiles: null, validitySecondsMax: null, purgeAfterSeconds: null },
  });
  assert.equal((await update('--max-validity 30d --purge-after 0s')).code, 0);
  assert.deepEqual(sentBody(service), {
    settings: { validitySecondsMax: 2_592_000, purgeAfterSeconds: 0 },
  });
  const sent = service.requests.length;
  assert.equal((await cli.run(['ca', 'update', 'root'])).code, 2);
  assert.equal((await update('--every-profile --profile email')).code, 2);
  assert.equal(service.requests.length, sent);
});

test('ca rekey and ca renew send the version that was seen', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, caView({ currentVersion: 2 })),
  );
  const words = ['--validity', '5y', '--saw-version', '1'];
  const ran = await cli.run(['ca', 'rekey', 'root', '--algorithm', 'ml-dsa-65', ...words]);
  assert.equal(ran.code, 0, ran.error);
  assert.match(ran.error, /new key, version 2[\s\S]*next: keyreeve ca chain root --cross/);
  const body = { validitySeconds: 157_680_000, sawVersion: 1 };
  assert.deepEqual(sentBody(service), { ...body, algorithm: 'ml-dsa-65' });
  assert.equal((await cli.run(['ca', 'renew', 'root', ...words])).code, 0);
  assert.deepEqual(sentBody(service), body);
  assert.match(service.requests.at(-1)!.url, /\/cas\/root\/renew$/);
});

test('crl get asks for what is revoked by now, and writes PEM or DER', async (t) => {
  // 48 bytes to a line of PEM: whole lines, one byte more, and pieces that end within a line.
  for (const length of [1, 48, 96, 97, 5000]) {
    const der = Buffer.alloc(length, 0x30);
    const { cli, service, file } = await loggedIn(t, (_, response) => {
      response.write(der.subarray(0, 31));
      setImmediate(() => response.end(der.subarray(31)));
    });
    const ran = await cli.run(['crl', 'get', '--ca', 'root', '--out', file('c.pem')]);
    assert.equal(ran.code, 0, ran.error);
    assert.match(service.requests[0]!.url, /^\/api\/v1\/crls\/root\?fresh=true$/);
    assert.equal(service.requests[0]!.headers.authorization, undefined);
    const lines = readFileSync(file('c.pem'), 'utf8').trimEnd().split('\n');
    assert.deepEqual(
      [lines.shift(), lines.pop()],
      ['-----BEGIN X509 CRL-----', '-----END X509 CRL-----'],
    );
    assert.ok(lines.slice(0, -1).every((line) => line.length === 64));
    assert.deepEqual(Buffer.from(lines.join(''), 'base64'), der);
    const words = ['crl', 'get', '--ca', 'root@3', '--out', '-', '--der', '--no-wait'];
    assert.deepEqual((await cli.run(words)).outBytes, der);
    assert.match(service.requests[1]!.url, /\?version=3&fresh=false$/);
  }
});

test('openssl reads the PEM of a CRL', async (t) => {
  const { cli, file } = await loggedIn(t, (_, response) => response.end(readFileSync(file('der'))));
  makeCrl(file);
  const ran = await cli.run(['crl', 'get', '--ca', 'root', '--out', file('crl.pem')]);
  assert.equal(ran.code, 0, ran.error);
  const text = run('openssl', ['crl', '-in', file('crl.pem'), '-noout', '-text']).toString();
  assert.match(text, /No Revoked Certificates/);
});

/** A CRL of openssl's own making, in the file `der`. */
function makeCrl(file: (name: string) => string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const files = ['-keyout', file('key.pem'), '-out', file('root.pem')];
  tryRun('openssl', ['req', '-x509', ...key, '-subj', '/CN=r', ...files]);
  writeFileSync(file('index.txt'), '');
  const ca = ['[ca]', 'default_ca=c', '[c]', `database=${file('index.txt')}`, 'default_md=sha256'];
  writeFileSync(file('cnf'), ca.join('\n'));
  const using = ['-config', file('cnf'), '-keyfile', file('key.pem'), '-cert', file('root.pem')];
  tryRun('openssl', ['ca', '-gencrl', '-crldays', '1', ...using, '-out', file('pem')]);
  run('openssl', ['crl', '-in', file('pem'), '-outform', 'der', '-out', file('der')]);
}

test('a CRL that breaks off leaves no file', async (t) => {
  const { cli, file } = await loggedIn(t, (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('cut');
    setTimeout(() => response.destroy(), 20);
  });
  const ran = await cli.run(['crl', 'get', '--ca', 'root', '--out', file('crl')]);
  assert.equal(ran.code, 6);
  assert.equal(existsSync(file('crl')), false);
});
