import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { type TestCli, testCli } from '../test/doubles/command-line.ts';
import { makeCa, makeLeaf } from '../test/doubles/https-service.ts';
import { tryRun } from '../test/tools.ts';
import { writeProfile } from './profile.ts';

const ca = makeCa();
const server = makeLeaf(ca);
const client = makeLeaf(ca, 'DNS:app.example');
const other = makeLeaf(ca, 'DNS:other.example');

/** What the service saw of each request. */
interface Seen {
  readonly names: string | undefined;
  readonly authorization: string | undefined;
}

async function started(t: TestContext): Promise<{ cli: TestCli; seen: Seen[]; url: string }> {
  const seen: Seen[] = [];
  const service = createServer(
    {
      cert: server.pem,
      key: server.keyPem,
      ca: [ca.pem],
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      const shown = (request.socket as TLSSocket).getPeerX509Certificate();
      const { authorization } = request.headers;
      seen.push({ names: shown?.subjectAltName, authorization });
      response.setHeader('content-type', 'application/json');
      response.end('{"items":[],"next":null}');
    },
  );
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  t.after(() => service.close());
  const cli = testCli(t);
  const url = `https://127.0.0.1:${(service.address() as AddressInfo).port}`;
  write(cli, 'ca.pem', ca.pem);
  write(cli, 'app.pem', client.pem);
  write(cli, 'app.key', client.keyPem);
  Object.assign(cli.env, { KEYREEVE_URL: url, KEYREEVE_CA_FILE: join(cli.folder, 'ca.pem') });
  return { cli, seen, url };
}

function write(cli: TestCli, name: string, text: string): string {
  const path = join(cli.folder, name);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

function named(cli: TestCli): string[] {
  const at = (name: string) => join(cli.folder, name);
  return ['--cert-file', at('app.pem'), '--key-file', at('app.key')];
}

test('a command calls with a client certificate and without a token', async (t) => {
  const { cli, seen } = await started(t);
  assert.equal((await cli.run([...named(cli), 'token', 'list'])).code, 0);
  Object.assign(cli.env, {
    KEYREEVE_CERT_FILE: join(cli.folder, 'app.pem'),
    KEYREEVE_KEY_FILE: join(cli.folder, 'app.key'),
  });
  assert.equal((await cli.run(['token', 'list'])).code, 0);
  const expected = { names: 'DNS:app.example', authorization: undefined };
  assert.deepEqual(seen, [expected, expected]);
});

test('a certificate goes before the profile, a token before it, an option before both', async (t) => {
  const { cli, seen, url } = await started(t);
  writeProfile(cli.context(), { url, token: 'of-the-profile', records: {} });
  assert.equal((await cli.run(['token', 'list'])).code, 0);
  assert.deepEqual(seen.pop(), { names: undefined, authorization: 'Bearer of-the-profile' });
  Object.assign(cli.env, {
    KEYREEVE_CERT_FILE: join(cli.folder, 'app.pem'),
    KEYREEVE_KEY_FILE: join(cli.folder, 'app.key'),
  });
  assert.equal((await cli.run(['token', 'list'])).code, 0);
  assert.deepEqual(seen.pop(), { names: 'DNS:app.example', authorization: undefined });
  cli.env.KEYREEVE_TOKEN = 'of-the-environment';
  assert.equal((await cli.run(['token', 'list'])).code, 0);
  assert.deepEqual(seen.pop(), { names: undefined, authorization: 'Bearer of-the-environment' });
  assert.equal((await cli.run([...named(cli), 'token', 'list'])).code, 0);
  assert.deepEqual(seen.pop(), { names: 'DNS:app.example', authorization: undefined });
});

test('a key that others may read is refused with the command that mends it', async (t) => {
  const { cli, seen } = await started(t);
  chmodSync(join(cli.folder, 'app.key'), 0o644);
  const ran = await cli.run([...named(cli), 'token', 'list']);
  assert.notEqual(ran.code, 0);
  assert.match(
    ran.error,
    /app\.key is open to others \(mode 644\)[\s\S]*hint: Run: chmod 600 .*app\.key/,
  );
  assert.deepEqual(seen, []);
});

test('files that are no pair are refused before anything is sent', async (t) => {
  const { cli, seen } = await started(t);
  const cert = join(cli.folder, 'app.pem');
  const key = join(cli.folder, 'app.key');
  const encrypted = join(cli.folder, 'locked.key');
  const made = tryRun('openssl', [
    ...['pkcs8', '-topk8', '-in', key, '-out', encrypted, '-passout', 'pass:secret'],
  ]);
  assert.equal(made.status, 0);
  const refuses = async (words: string[], pattern: RegExp) => {
    const ran = await cli.run([...words, 'token', 'list']);
    assert.notEqual(ran.code, 0);
    assert.match(ran.error, pattern);
  };
  await refuses(['--cert-file', cert], /private key to call with is not named/);
  await refuses(['--key-file', key], /certificate to call with is not named/);
  await refuses(
    ['--cert-file', cert, '--key-file', write(cli, 'other.key', other.keyPem)],
    /other\.key is not that of the certificate/,
  );
  await refuses(['--cert-file', key, '--key-file', key], /app\.key holds no certificate/);
  await refuses(['--cert-file', cert, '--key-file', cert], /app\.pem holds no private key/);
  await refuses(['--cert-file', cert, '--key-file', encrypted], /has a passphrase/);
  await refuses(['--cert-file', `${cert}x`, '--key-file', key], /no such file/);
  assert.deepEqual(seen, []);
});

test('without a token and without a certificate a command says what would do', async (t) => {
  const { cli } = await started(t);
  const ran = await cli.run(['token', 'list']);
  assert.match(ran.error, /not logged in[\s\S]*KEYREEVE_CERT_FILE and KEYREEVE_KEY_FILE/);
});
