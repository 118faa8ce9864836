import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { importTextLengthMax } from '../../api/routes/authorities.ts';
import { type HttpsService, json, problem } from '../../test/doubles/https-service.ts';
import { loggedIn } from '../../test/doubles/logged-in.ts';
import { tryRun } from '../../test/tools.ts';
import { portionBytesMax } from './takeover-portions.ts';

const issuedCount = 4;
const sizes = { issued: issuedCount, revoked: 1 };

/** A CA as `openssl ca` keeps it: four certificates, one of them revoked, one CRL published. */
function makeOpensslCa(folder: string): void {
  const at = (name: string) => join(folder, name);
  for (const name of ['', 'newcerts', 'private']) mkdirSync(at(name), { recursive: true });
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('serial'), '1000\n');
  writeFileSync(at('crlnumber'), '0100\n');
  const lines = [
    ['[ca]', 'default_ca=c', '[c]', `database=${at('index.txt')}`, `serial=${at('serial')}`],
    [`new_certs_dir=${at('newcerts')}`, `crlnumber=${at('crlnumber')}`, 'default_md=sha256'],
    ['default_days=100', 'default_crl_days=7', 'policy=p', 'unique_subject=no'],
    [`certificate=${at('cacert.pem')}`, `private_key=${at('private/cakey.pem')}`],
    ['[p]', 'commonName=supplied'],
  ];
  writeFileSync(at('cnf'), lines.flat().join('\n'));
  const openssl = (words: string) => {
    const ran = tryRun('openssl', words.split(' '));
    assert.equal(ran.status, 0, `openssl ${words}: ${ran.stderr}`);
  };
  const newKey = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  openssl(
    `req -x509 ${newKey} -subj /CN=Old -keyout ${at('private/cakey.pem')} -out ${at('cacert.pem')}`,
  );
  openssl(`req ${newKey} -subj /CN=leaf -keyout ${at('leaf.key')} -out ${at('csr')}`);
  for (let count = 0; count < issuedCount; count++) {
    openssl(`ca -batch -config ${at('cnf')} -in ${at('csr')} -out ${at('leaf.pem')}`);
  }
  openssl(`ca -config ${at('cnf')} -revoke ${at('newcerts/1001.pem')} -crl_reason superseded`);
  openssl(`ca -config ${at('cnf')} -gencrl -out ${at('crl.pem')}`);
}

/** A service that takes everything, and a CA to take over. */
async function takeover(t: TestContext) {
  const world = await loggedIn(t, (request, response) =>
    json(
      response,
      request.url.endsWith('/finish')
        ? { name: 'old', notes: [] }
        : { subject: 'CN=Old', added: 1, completed: 2, known: 3 },
    ),
  );
  makeOpensslCa(world.file('ca'));
  const inCa = (name: string) => join(world.file('ca'), name);
  const run = (...words: string[]) => world.cli.run(['ca', 'import', 'old', ...words]);
  return { ...world, inCa, run };
}

const bodies = (service: HttpsService, end: string) =>
  service.requests.filter((one) => one.url.endsWith(end)).map((one) => JSON.parse(one.body));
/** Portions of the index and of certificates, joined. */
const joined = (service: HttpsService, part: 'index' | 'certificates') =>
  bodies(service, '/cas/old/import')
    .map((body) => body[part] ?? '')
    .join('');

test('the CA of openssl is found in its folder and sent whole, and the counts are what it holds', async (t) => {
  const { service, inCa, run, file } = await takeover(t);
  const ran = await run('--openssl-ca', file('ca'), '--parent', 'root', '--keystore', 'file');
  assert.equal(ran.code, 0, ran.error);
  const [begun] = bodies(service, '/cas/import');
  assert.deepEqual(begun, {
    name: 'old',
    key: readFileSync(inCa('private/cakey.pem'), 'utf8'),
    certificate: readFileSync(inCa('cacert.pem'), 'utf8'),
    // The file holds the number of the next one.
    crlNumber: '100',
    parent: 'root',
    keystore: 'file',
    settings: {},
    labels: {},
    policy: {},
  });
  assert.equal(joined(service, 'index'), readFileSync(inCa('index.txt'), 'utf8'));
  const sent = joined(service, 'certificates').match(/-----BEGIN[\s\S]*?END CERTIFICATE-----/g)!;
  assert.deepEqual(
    sent.map((pem) => new X509Certificate(pem).serialNumber),
    ['1000', '1001', '1002', '1003'],
  );
  assert.doesNotMatch(joined(service, 'certificates'), /Issuer/);
  assert.deepEqual(bodies(service, '/finish'), [sizes]);
  for (const name of ['private/cakey.pem', 'cacert.pem', 'index.txt', 'newcerts', 'crlnumber']) {
    assert.match(ran.error, new RegExp(`^found .*: .*/${name}$`, 'm'));
  }
  assert.match(
    ran.error,
    /took over old: 4 certificates, 1 of them revoked \(2 added, 4 completed/,
  );
  assert.match(ran.error, /cakey.pem still holds the private key/);
  assert.doesNotMatch(ran.error + ran.out, /BEGIN/);
});

test('a key that lies in a keystore is named there, and no file of it is looked for', async (t) => {
  const { service, inCa, run, file } = await takeover(t);
  rmSync(inCa('private/cakey.pem'));
  const ran = await run('--openssl-ca', file('ca'), '--keystore', 'hsm', '--object', 'old ca');
  assert.equal(ran.code, 0, ran.error);
  const [begun] = bodies(service, '/cas/import') as [Record<string, unknown>];
  assert.deepEqual([begun.key, begun.keystore, begun.object], [undefined, 'hsm', 'old ca']);
  assert.doesNotMatch(ran.error, /still holds the private key/);
});

test('what was interrupted goes on when the command is run again, for the same CA alone', async (t) => {
  const { service, inCa, run, file } = await takeover(t);
  const fingerprint = (path: string) =>
    new X509Certificate(readFileSync(path)).fingerprint256.replaceAll(':', '').toLowerCase();
  let shown = { state: 'importing', versions: [{ fingerprint: fingerprint(inCa('cacert.pem')) }] };
  const taking = service.answer;
  service.answer = (request, response) => {
    if (request.method === 'GET') json(response, shown);
    else if (request.url.endsWith('/cas/import')) {
      problem(response, 409, { code: 'already-exists', detail: 'A key is called old.' });
    } else taking(request, response);
  };
  const again = await run('--openssl-ca', file('ca'));
  assert.equal(again.code, 0, again.error);
  assert.match(again.error, /had begun: it goes on/);
  assert.deepEqual(bodies(service, '/finish'), [sizes]);
  const sent = bodies(service, '/cas/old/import').length;
  for (const other of [
    { ...shown, state: 'active' },
    { ...shown, versions: [{ fingerprint: fingerprint(inCa('leaf.pem')) }] },
  ]) {
    shown = other;
    const refused = await run('--openssl-ca', file('ca'));
    assert.equal(refused.code, 5);
    assert.match(refused.error, /error: a key is called old/);
  }
  // The name is free, and what is there is the subject or the key.
  service.answer = (request, response) =>
    request.method === 'GET'
      ? problem(response, 404, { code: 'not-found', detail: 'There is no CA "old".' })
      : problem(response, 409, { code: 'already-exists', detail: 'A CA has this subject.' });
  const taken = await run('--openssl-ca', file('ca'));
  assert.equal(taken.code, 5);
  assert.match(taken.error, /error: a CA has this subject/);
  assert.equal(bodies(service, '/cas/old/import').length, sent, 'nothing more was sent');
});

test('an index of many lines goes in portions that a request carries, none cut', async (t) => {
  const { service, inCa, run } = await takeover(t);
  const lines = Array.from({ length: 10_000 }, (_, number) => {
    const serial = (number + 1).toString(16).padStart(6, '0');
    const state = number % 10 === 0 ? 'R\t400101000000Z\t250101000000Z' : 'V\t400101000000Z\t';
    return `${state}\t${serial}\tunknown\t/CN=${'x'.repeat(50)}${number}\n`;
  });
  writeFileSync(inCa('index.txt'), lines.join(''));
  const files = ['--key', inCa('private/cakey.pem'), '--certificate', inCa('cacert.pem')];
  const ran = await run(...files, '--index', inCa('index.txt'), '--crl-number', '2a');
  assert.equal(ran.code, 0, ran.error);
  assert.equal(bodies(service, '/cas/import')[0].crlNumber, '2a');
  const portions = bodies(service, '/cas/old/import').map((body) => body.index as string);
  assert.ok(portions.length > 1);
  for (const portion of portions) {
    assert.ok(portion.length <= portionBytesMax && portion.length < importTextLengthMax);
    assert.ok(portion.endsWith('\n'));
  }
  assert.equal(portions.join(''), lines.join(''));
  assert.deepEqual(bodies(service, '/finish'), [{ issued: 10_000, revoked: 1000 }]);
});

test('where the service refuses a portion, its beginning is named', async (t) => {
  const { service, inCa, run, file } = await takeover(t);
  const taking = service.answer;
  let part = 'index';
  service.answer = (request, response) => {
    const body = JSON.parse(request.body || '{}');
    if (!Object.hasOwn(body, part)) taking(request, response);
    else problem(response, 400, { code: 'invalid-request', detail: 'Line 3 is wrong.' });
  };
  const index = readFileSync(inCa('index.txt'), 'utf8');
  writeFileSync(inCa('index.txt'), `# a comment\n\n${index}`);
  const ran = await run('--openssl-ca', file('ca'));
  assert.equal(ran.code, 2);
  assert.match(ran.error, /index.txt, line 1\nerror: line 3 is wrong/);
  assert.equal(joined(service, 'index'), `\n\n${index}`, 'lines keep their numbers');
  part = 'certificates';
  const second = await run('--openssl-ca', file('ca'));
  assert.match(second.error, /newcerts\/1000.pem\nerror: /);
});

test('certificates of others and of nobody are not sent; the same number counts once', async (t) => {
  const { service, inCa, run, file } = await takeover(t);
  makeOpensslCa(file('other'));
  const own = readFileSync(inCa('newcerts/1000.pem'), 'utf8');
  writeFileSync(file('bundle'), own + readFileSync(join(file('other'), 'newcerts/1003.pem')));
  writeFileSync(inCa('newcerts/README'), 'no certificate');
  copyFileSync(inCa('newcerts/1000.pem'), inCa('newcerts/again.crt'));
  const files = ['--key', inCa('private/cakey.pem'), '--certificate', inCa('cacert.pem')];
  const ran = await run(
    ...files,
    ...['--certificates', inCa('newcerts'), '--certificates', file('bundle')],
  );
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(bodies(service, '/finish'), [{ issued: 4, revoked: 0 }]);
  assert.match(ran.error, /note: 1 certificates are not of this CA and were left out/);
  assert.match(ran.error, /note: without an index nothing is known of what it revoked/);
});

test('damaged input is named by file and line', async (t) => {
  const { inCa, run, file, service } = await takeover(t);
  const index = readFileSync(inCa('index.txt'), 'utf8');
  for (const line of [
    'X\t400101000000Z\t\t1000\tunknown\t/CN=a',
    'V\t400101000000Z\t\tserial\tunknown\t/CN=a',
    'V\t400101000000Z\t\t1000\t/CN=a',
    `V\t400101000000Z\t\t1000\tunknown\t/CN=${'a'.repeat(20_000)}`,
  ]) {
    writeFileSync(inCa('index.txt'), `${index}\n${line}\n`);
    const ran = await run('--openssl-ca', file('ca'));
    assert.equal(ran.code, 2, ran.error);
    assert.match(ran.error, /index.txt(, line 6, is no line|: a line is longer)/);
  }
  writeFileSync(inCa('index.txt'), index);
  for (const [content, why] of [
    ['-----BEGIN CERTIFICATE-----\nAAAA\n', 'ends within'],
    ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', 'cannot be read'],
    [`-----BEGIN CERTIFICATE-----\n${`${'A'.repeat(64)}\n`.repeat(2000)}`, 'longer than'],
  ] as const) {
    writeFileSync(inCa('newcerts/1004.pem'), content);
    const ran = await run('--openssl-ca', file('ca'));
    assert.equal(ran.code, 2, ran.error);
    assert.match(ran.error, new RegExp(`newcerts/1004.pem: .*${why}`));
  }
  assert.deepEqual(bodies(service, '/finish'), [], 'no take-over was ended');
});

test('what is missing is said before anything is sent', async (t) => {
  const { inCa, run, file, service } = await takeover(t);
  writeFileSync(file('text'), 'no certificate');
  writeFileSync(file('number'), 'many');
  const key = ['--key', inCa('private/cakey.pem')];
  const both = [...key, '--certificate', inCa('cacert.pem')];
  for (const [words, code, error] of [
    [[], 2, /--key is not named/],
    [key, 2, /--certificate is not named/],
    [['--openssl-ca', file('none')], 4, /none: no such file or folder/],
    [['--openssl-ca', inCa('newcerts')], 2, /holds none where openssl puts it/],
    [[...key, '--certificate', file('text')], 2, /text holds no certificate/],
    [[...both, '--certificates', file('none')], 4, /no such file or folder/],
    [[...both, '--index', file('none')], 4, /no such file or folder/],
    [[...both, '--crl-number', file('number')], 2, /holds no CRL number/],
  ] as const) {
    const ran = await run(...words);
    assert.equal(ran.code, code, ran.error);
    assert.match(ran.error, error);
  }
  rmSync(inCa('private/cakey.pem'));
  assert.equal((await run('--openssl-ca', file('ca'))).code, 2);
  assert.equal(service.requests.length, 0);
});
