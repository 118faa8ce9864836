import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { type CertificateDouble, makeCa, makeLeaf } from '../../test/doubles/https-service.ts';
import { requireProgram } from '../../test/tools.ts';
import { startServer, type TestServer } from './http-testing.ts';
import { runWithInput } from './run-program.fixture.ts';

const ca = makeCa('Client CA');
const ada = makeLeaf(ca, 'DNS:ada.example');
const bob = makeLeaf(ca, 'DNS:bob.example');
const fingerprintOf = ({ x509 }: CertificateDouble) =>
  createHash('sha256').update(x509.raw).digest('hex');

/** A server whose authentication says with what the caller came. */
async function started(context: TestContext): Promise<TestServer & { asked: number }> {
  const server = await startServer(
    context,
    {
      'token.list': async ({ caller }: { caller: { credentialId: string } }) => caller.credentialId,
    },
    {
      checkAnswers: false,
      clientAuthorities: [ca.pem],
      authenticate: async ({ bearer, certificate, ...call }) => {
        server.asked += 1;
        const credentialId = `token ${bearer ?? 'none'}, certificate ${certificate ?? 'none'}`;
        return { ...call, ...someone, credentialId };
      },
    },
  ).then((plain) => Object.assign(plain, { asked: 0 }));
  return server;
}

const someone = {
  principalId: 'prn_test',
  principalName: 'ada',
  roles: ['administrator'],
  folders: undefined,
  epoch: 1,
};

const tokenList = { path: '/api/v1/tokens', token: null };
const shows = (certificate: CertificateDouble) =>
  `"token none, certificate ${fingerprintOf(certificate)}"`;

function agentOf({ pem, keyPem }: CertificateDouble, options: ConnectionOptions = {}): Agent {
  return new Agent({ keepAlive: true, cert: pem, key: keyPem, ...options });
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`the certificate that ${version} proved goes to authentication`, async (context) => {
    const server = await started(context);
    const agent = agentOf(ada, { minVersion: version, maxVersion: version });
    context.after(() => agent.destroy());
    for (let round = 0; round < 2; round++) {
      assert.equal((await server.ask({ ...tokenList, agent })).text, shows(ada));
    }
    const other = agentOf(bob, { minVersion: version, maxVersion: version });
    context.after(() => other.destroy());
    assert.equal((await server.ask({ ...tokenList, agent: other })).text, shows(bob));
  });

  test(`a resumed session of ${version} carries the certificate that it began with`, async (context) => {
    const server = await started(context);
    const options = { minVersion: version, maxVersion: version };
    const first = await ask(server, { ...options, cert: ada.pem, key: ada.keyPem });
    assert.equal(first.text, shows(ada));
    // Whoever resumes has what only the first connection made; another certificate is not looked at.
    for (const shown of [{}, { cert: bob.pem, key: bob.keyPem }]) {
      const again = await ask(server, { ...options, ...shown, session: first.session });
      assert.equal(again.isResumed, true);
      assert.equal(again.text, shows(ada));
    }
    const bare = await ask(server, options);
    const resumed = await ask(server, { ...options, session: bare.session });
    assert.equal(resumed.isResumed, true);
    assert.match(resumed.text, /"code":"unauthenticated"/);
  });
}

test('a token wins over the certificate, and a damaged one is no reason to look at it', async (context) => {
  const server = await started(context);
  const agent = agentOf(ada);
  context.after(() => agent.destroy());
  const withToken = await server.ask({ ...tokenList, token: 'krv_x', agent });
  assert.equal(withToken.text, '"token krv_x, certificate none"');
  const damaged = await server.ask({ ...tokenList, headers: { authorization: 'Basic x' }, agent });
  assert.equal(damaged.status, 401);
  assert.equal(server.asked, 1);
});

test('a browser’s certificate does nothing for the pages of other sites', async (context) => {
  const server = await started(context);
  const agent = agentOf(ada);
  context.after(() => agent.destroy());
  const host = `127.0.0.1:${server.port}`;
  for (const headers of [
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: `https://${host}.evil.example` },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site', origin: `https://${host}` },
    { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
  ]) {
    const answer = await server.ask({ ...tokenList, headers, agent });
    assert.equal(answer.status, 403, JSON.stringify(headers));
    assert.match(String(answer.json.detail), /another site/);
  }
  assert.equal(server.asked, 0);
  for (const headers of [
    { origin: `https://${host}` },
    { 'sec-fetch-site': 'same-origin', origin: `https://${host}` },
    { 'sec-fetch-site': 'none' },
  ]) {
    assert.equal((await server.ask({ ...tokenList, headers, agent })).text, shows(ada));
  }
  // A token is sent by who has it, not by the browser.
  const sent = { origin: 'https://console.example', 'sec-fetch-site': 'cross-site' };
  assert.equal(
    (await server.ask({ ...tokenList, headers: sent, token: 'krv_x', agent })).status,
    200,
  );
});

test('without token and certificate a call is refused before anybody is asked', async (context) => {
  const server = await started(context);
  const answer = await server.ask(tokenList);
  assert.equal(answer.status, 401);
  assert.match(String(answer.json.detail), /needs a token/);
  assert.equal(server.asked, 0);
});

test('a certificate of anybody does not close the routes for everybody', async (context) => {
  const server = await started(context);
  const stranger = makeLeaf(makeCa('Stranger'), 'DNS:x.example');
  const agent = agentOf(stranger);
  context.after(() => agent.destroy());
  assert.equal((await server.ask({ path: '/healthz', token: null, agent })).status, 200);
  assert.equal((await server.ask({ path: '/openapi.json', token: null, agent })).status, 200);
  assert.equal(server.asked, 0);
});

test('openssl is told whose certificates are taken, and that none is needed', async (context) => {
  const openssl = requireProgram(context, 'openssl');
  if (openssl === undefined) return;
  const server = await started(context);
  const handshake = () =>
    runWithInput(openssl, ['s_client', '-connect', `127.0.0.1:${server.port}`], '');
  const issuers = /Acceptable client certificate CA names\n((?:[^\n]*= [^\n]*\n)+)/;
  assert.equal(issuers.exec(await handshake())?.[1], 'CN = Client CA\n');
  const second = makeCa('Second CA');
  server.http.reloadTls({ clientAuthorities: [ca.pem, second.pem] });
  assert.equal(issuers.exec(await handshake())?.[1], 'CN = Client CA\nCN = Second CA\n');
  assert.equal((await ask(server, { cert: ada.pem, key: ada.keyPem })).text, shows(ada));
  // Where nobody logs in by certificate, the CA of the service itself is named: browsers ask nobody.
  server.http.reloadTls({ clientAuthorities: [] });
  assert.match(issuers.exec(await handshake())?.[1] ?? '', /^CN = Keyreeve system\/tls \w+\n$/);
});

test('curl calls with a certificate', async (context) => {
  const curl = requireProgram(context, 'curl');
  if (curl === undefined) return;
  const server = await started(context);
  const at = filesOf(context);
  const text = await runWithInput(curl, [
    ...['--silent', '--cacert', at('ca.pem', server.tls.caPem)],
    ...['--cert', at('ada.pem', ada.pem), '--key', at('ada.key', ada.keyPem)],
    `https://127.0.0.1:${server.port}/api/v1/tokens`,
  ]);
  assert.equal(text, shows(ada));
});

test('TLS 1.2 cannot change the certificate within a connection', async (context) => {
  const openssl = requireProgram(context, 'openssl');
  if (openssl === undefined) return;
  const server = await started(context);
  const at = filesOf(context);
  const request = 'GET /api/v1/tokens HTTP/1.1\r\nHost: x\r\n\r\n';
  const text = await runWithInput(
    openssl,
    [
      ...['s_client', '-tls1_2', '-connect', `127.0.0.1:${server.port}`],
      ...['-cert', at('ada.pem', ada.pem), '-key', at('ada.key', ada.keyPem)],
    ],
    // R on a line of its own asks s_client for a second handshake.
    async function* (seen) {
      const shown = async (pattern: RegExp, roundsMax = 500) => {
        for (let round = 0; round < roundsMax && !pattern.test(seen()); round++) await delay(10);
      };
      yield request;
      await shown(/HTTP\/1\.1 200/);
      yield 'R\n';
      await shown(/RENEGOTIATING/);
      yield request;
      // Where the connection went on, the second answer would come.
      await shown(/HTTP\/1\.1 200[\s\S]*HTTP\/1\.1 200/, 30);
    },
  );
  assert.match(text, /RENEGOTIATING/);
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 1, 'the connection ends there');
});

/** Writes files for a program; they go with the test. */
function filesOf(context: TestContext): (name: string, text: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-tls-'));
  context.after(() => rmSync(folder, { recursive: true }));
  return (name, text) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
}

/** One request on a connection of its own, and the session that could go on from it. */
async function ask(
  server: TestServer,
  options: ConnectionOptions,
): Promise<{ text: string; isResumed: boolean; session: Buffer | undefined }> {
  let session: Buffer | undefined;
  const socket: TLSSocket = connect({
    ...{ host: '127.0.0.1', port: server.port, ca: server.tls.caPem },
    ...options,
  });
  socket.on('session', (made: Buffer) => {
    session = made;
  });
  await once(socket, 'secureConnect');
  const isResumed = socket.isSessionReused();
  socket.write('GET /api/v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part as Buffer);
  const [, text = ''] = Buffer.concat(parts).toString('utf8').split('\r\n\r\n');
  return { text, isResumed, session };
}
