import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatLoginCode } from '../api/login-code.ts';
import { certificatePin } from '../client/pin.ts';
import { testCli } from '../test/doubles/command-line.ts';
import { json, makeCa, startHttpsService } from '../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../test/doubles/logged-in.ts';
import { readProfile } from './profile.ts';

const person = {
  id: 'prn_1',
  name: 'admin',
  kind: 'person',
  state: 'active',
  roles: ['administrator'],
  createdAt: '2026-05-01T00:00:00.000Z',
};

test('a login checks the pin, keeps the CA, and status then works', async (t) => {
  const cli = testCli(t);
  const service = await startHttpsService(t, (_, response) =>
    json(response, { token: 'secret', principal: person, expiresAt: '2026-06-01T00:00:00.000Z' }),
  );
  const pin = certificatePin(service.ca.x509).toString('hex');
  const code = formatLoginCode(Buffer.alloc(16, 7), pin);
  const ran = await cli.run(['login', '--code', '-', '--url', service.url], `${code}\n`);
  assert.equal(ran.code, 0, ran.error);
  assert.match(ran.error, /logged in to https:.* as admin/);
  assert.doesNotMatch(ran.error + ran.out, /secret/);
  assert.equal(sentBody(service).code, code);
  const profile = readProfile(cli.context());
  assert.equal(profile?.token, 'secret');
  assert.equal(profile?.url, service.url);
  service.answer = (_, response) => json(response, person);
  const shown = await cli.run(['principal', 'show', 'me']);
  assert.equal(shown.code, 0, shown.error);
  assert.equal(service.requests.at(-1)?.headers.authorization, 'Bearer secret');
});

test('a login to a service with another CA sends nothing and leaves no profile', async (t) => {
  const cli = testCli(t);
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const other = certificatePin(makeCa().x509).toString('hex');
  const code = formatLoginCode(Buffer.alloc(16, 7), other);
  const ran = await cli.run(['login', '--code', code, '--url', service.url]);
  assert.equal(ran.code, 7);
  assert.match(ran.error, /^error: the service cannot be trusted.*\nhint: Make a new code/);
  assert.equal(service.requests.length, 0);
  assert.equal(readProfile(cli.context()), undefined);
});

test('a mistyped login code is found before anything is sent', async (t) => {
  const ran = await testCli(t).run(['login', '--code', 'abc', '--url', 'https://127.0.0.1:1']);
  assert.equal(ran.code, 3);
  assert.match(ran.error, /mistyped/);
});

test('logout revokes the token of the profile and forgets it', async (t) => {
  const cli = testCli(t);
  const service = await startHttpsService(t, (_, response) =>
    json(response, { token: 'secret', principal: person, expiresAt: '2026-06-01T00:00:00.000Z' }),
  );
  const pin = certificatePin(service.ca.x509).toString('hex');
  await cli.run(['login', '--url', service.url, '--code', formatLoginCode(Buffer.alloc(16), pin)]);
  cli.env.KEYREEVE_TOKEN = 'of-the-environment';
  const ran = await cli.run(['logout']);
  assert.equal(ran.code, 0, ran.error);
  const { method, url, headers } = service.requests.at(-1)!;
  assert.deepEqual([method, url], ['DELETE', '/api/v1/tokens/current']);
  assert.equal(headers.authorization, 'Bearer secret');
  assert.equal(readProfile(cli.context())?.token, undefined);
});

test('key create sends algorithm, schemes, labels and policy', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { name: 'a', id: 'key_1', algorithm: 'rsa-3072', purpose: 'sign', schemes: [] }),
  );
  const words = 'key create a --algorithm rsa-3072 --purpose sign --scheme rsa-pss-sha256'.split(
    ' ',
  );
  const options = '--label team=x --validity 90d --overlap 7d --recovery none --destroy-after 1d';
  const ran = await cli.run([...words, ...options.split(' '), '--json']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(JSON.parse(ran.out).id, 'key_1');
  assert.deepEqual(sentBody(service), {
    name: 'a',
    algorithm: 'rsa-3072',
    purpose: 'sign',
    schemes: ['rsa-pss-sha256'],
    labels: { team: 'x' },
    policy: {
      validitySeconds: 7_776_000,
      onRotation: 'overlap',
      overlapSeconds: 604_800,
      recovery: 'none',
      destroyAfterSeconds: 86_400,
    },
  });
});

test('key adopt sends what the keystore calls the key, and what the key demands of its place', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { name: 'a', id: 'key_1', algorithm: 'p-256', purpose: 'sign', schemes: [] }),
  );
  const words = ['key', 'adopt', 'a', '--keystore', 'hsm', '--purpose', 'sign'];
  const demands = ['--export-lock', 'on', '--assurance', 'fips-140-2-level-3'];
  const ran = await cli.run([...words, '--object', 'their key', '--object-id', '0a', ...demands]);
  assert.equal(ran.code, 0, ran.error);
  assert.match(ran.error, /adopted a \(key_1\): p-256 to sign/);
  assert.deepEqual(sentBody(service), {
    name: 'a',
    purpose: 'sign',
    keystore: 'hsm',
    labels: {},
    policy: { exportLocked: true, assurance: 'fips-140-2-level-3' },
    object: 'their key',
    objectId: '0a',
  });
  const wrong = await cli.run([...words, '--object', 'their key', '--export-lock', 'maybe']);
  assert.equal(wrong.code, 2);
  assert.match(wrong.error, /--export-lock is "on" or "off"/);
});

test('key update keeps of the policy what it does not name, and says which revision it saw', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, {
      name: 'a',
      revision: 4,
      policy: { onRotation: 'expire', overlapSeconds: 0, recovery: 'none', destroyAfterSeconds: 1 },
    }),
  );
  const ran = await cli.run(['key', 'update', 'a', '--validity', '30d']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(sentBody(service).revision, 4);
  assert.deepEqual(sentBody(service).policy, {
    onRotation: 'expire',
    overlapSeconds: 0,
    recovery: 'none',
    destroyAfterSeconds: 1,
    validitySeconds: 2_592_000,
  });
  const idle = await cli.run(['key', 'update', 'a']);
  assert.equal(idle.code, 2);
});

test('destroying asks, and without a terminal wants --yes', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) =>
    json(response, { key: { name: 'a', destroyAt: '2026-06-01' }, backups: [] }),
  );
  const refused = await cli.run(['key', 'destroy', 'a']);
  assert.equal(refused.code, 2);
  assert.match(refused.error, /hint: Add --yes/);
  assert.equal(service.requests.length, 0);
  const ran = await cli.run(['key', 'destroy', 'a', '--yes', '--after', '14d']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(sentBody(service).afterSeconds, 1_209_600);
});

test('lists go on page after page up to the limit', async (t) => {
  const item = (name: string) => ({ ...person, name });
  const { cli, service } = await loggedIn(t, (request, response) =>
    request.url.includes('after=next')
      ? json(response, { items: [item('c')], next: 'more' })
      : json(response, { items: [item('a'), item('b')], next: 'next' }),
  );
  const ran = await cli.run(['principal', 'list', '--limit', '3']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(service.requests.length, 2);
  assert.match(service.requests[1]?.url ?? '', /limit=1&after=next/);
  assert.deepEqual(
    ran.out.split('\n').map((line) => line.split(' ')[0]),
    ['NAME', 'a', 'b', 'c', ''],
  );
  assert.match(ran.error, /there is more: --after more/);
  const forPrograms = await cli.run(['principal', 'list', '--limit', '3', '--json']);
  assert.equal(JSON.parse(forPrograms.out).next, 'more');
});

test('a new token stands alone on standard output', async (t) => {
  const { cli } = await loggedIn(t, (_, response) =>
    json(response, { token: 'kr_x', id: 'tok_1', principal: 'a', roles: ['r'], expiresAt: 'then' }),
  );
  const ran = await cli.run(['token', 'create', '--role', 'r', '--ttl', '1h']);
  assert.deepEqual([ran.code, ran.out], [0, 'kr_x\n']);
});

test('access apply joins the rules of a folder in order of their names', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, { version: 2 }));
  mkdirSync(file('rules'));
  assert.equal((await cli.run(['access', 'apply', file('rules')])).code, 4);
  writeFileSync(file('rules/20-b.cedar'), 'second');
  writeFileSync(file('rules/10-a.cedar'), 'first\n\n');
  writeFileSync(file('rules/notes.txt'), 'not a rule');
  const ran = await cli.run(['access', 'apply', file('rules'), '--saw-version', '1']);
  assert.equal(ran.code, 0, ran.error);
  assert.deepEqual(sentBody(service), { policies: 'first\n\nsecond\n', sawVersion: 1 });
});

test('a backup is written whole and private, or not at all', async (t) => {
  const { cli, service, file } = await loggedIn(t, (_, response) => response.end('sealed'));
  writeFileSync(file('word'), 'a long passphrase\n', { mode: 0o600 });
  const ran = await cli.run(['backup', 'create', file('a'), '--recipient', 'age1somebody']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(readFileSync(file('a'), 'utf8'), 'sealed');
  assert.equal(statSync(file('a')).mode & 0o777, 0o600);
  assert.deepEqual(sentBody(service).recipients, ['age1somebody']);
  const words = ['backup', 'create', file('b'), '--passphrase-file', file('word')];
  const unreadable = await cli.run(words);
  assert.equal(sentBody(service).passphrase, 'a long passphrase');
  assert.equal(unreadable.code, 1, 'what the passphrase does not open is no backup');
  assert.match(unreadable.error, /neither an age file nor an OpenPGP message/);
  assert.equal((await cli.run(words)).code, 5);
  assert.equal((await cli.run(['backup', 'create', file('c')])).code, 2);
  chmodSync(file('word'), 0o640);
  assert.equal((await cli.run(['backup', 'create', file('c'), ...words.slice(3)])).code, 1);
  chmodSync(file('word'), 0o600);
  service.answer = (_, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('cut');
    setTimeout(() => response.destroy(), 20);
  };
  const cut = await cli.run(['backup', 'create', file('c'), ...words.slice(3)]);
  assert.equal(cut.code, 6);
  assert.equal(existsSync(file('c')), false);
});

test('errors come for programs too, with --json', async (t) => {
  const ran = await testCli(t).run(['key', 'list', '--json']);
  assert.equal(ran.code, 3);
  assert.equal(JSON.parse(ran.error).error.code, 'unauthenticated');
});

test('wrong words end with 2, a hint, and nothing on standard output', async (t) => {
  const cli = testCli(t);
  for (const words of [
    ['nonsense'],
    ['key'],
    ['sign', 'a'],
    ['key', 'create'],
    ['sign', '--bogus'],
  ]) {
    const { code, out, error } = await cli.run(words);
    assert.deepEqual([code, out], [2, ''], words.join(' '));
    if (words[0] !== 'key' || words.length > 1) assert.match(error, /^error: .*\nhint: /);
  }
  assert.equal((await cli.run(['--help'])).code, 0);
  assert.equal((await cli.run(['--version'])).code, 0);
});

test('login-code needs the data of a service that ran', async (t) => {
  const cli = testCli(t);
  cli.env.KEYREEVE_DATA = join(cli.folder, 'data');
  const absent = await cli.run(['login-code']);
  assert.equal(absent.code, 4);
  assert.match(absent.error, /hint: Run this on the host/);
  const ca = makeCa();
  mkdirSync(join(cli.folder, 'data', 'tls'), { recursive: true, mode: 0o700 });
  writeFileSync(join(cli.folder, 'data', 'tls', 'ca.pem'), ca.pem);
  const ran = await cli.run(['login-code', '--json']);
  assert.equal(ran.code, 0, ran.error);
  const spki = createPublicKey(ca.pem).export({ format: 'der', type: 'spki' });
  const pin = createHash('sha256').update(spki).digest().subarray(0, 16);
  const { parseLoginCode } = await import('../api/login-code.ts');
  assert.deepEqual(Buffer.from(parseLoginCode(JSON.parse(ran.out).code)!.caPin), pin);
  chmodSync(join(cli.folder, 'data'), 0o755);
  assert.match((await cli.run(['login-code'])).error, /chmod 700/);
});

test('config check names everything that is wrong at once', async (t) => {
  const cli = testCli(t);
  cli.env.KEYREEVE_PORT = 'many';
  cli.env.KEYREEVE_DATTA = 'x';
  const ran = await cli.run(['config', 'check']);
  assert.equal(ran.code, 2);
  assert.match(ran.out, /KEYREEVE_PORT/);
  assert.match(ran.out, /KEYREEVE_DATTA/);
});
