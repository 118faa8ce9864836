import assert from 'node:assert/strict';
import { Agent } from 'node:https';
import { type TestContext, test } from 'node:test';
import { routes } from '../../api/routes.ts';
import {
  addAuthority,
  addClient,
  change,
  type TestAuthority,
  type TestCertificate,
} from '../../server/access/certificates.fixture.ts';
import { call, openAccess, type TestAccess } from '../../server/access/test-support.ts';
import type { Caller } from '../../server/base/caller.ts';
import { startServer, type TestServer } from '../../server/http/http-testing.ts';

interface House {
  readonly opened: TestAccess;
  readonly administrator: Caller;
  readonly server: TestServer;
  readonly authority: TestAuthority;
  readonly client: TestCertificate;
  readonly bindingId: string;
}

/** Access behind the real HTTPS server, and a certificate that is bound to the principal "app". */
async function house(context: TestContext): Promise<House> {
  const opened = await openAccess();
  context.after(() => opened.close());
  opened.clock.milliseconds = Date.now() + 3_600_000;
  const administrator = await opened.administrator();
  const authority = await addAuthority(opened, 'ca/clients');
  await opened.handlers['principal.create'](
    call(administrator, { body: { name: 'app', kind: 'service', roles: ['administrator'] } }),
  );
  const binding = await opened.handlers['principal.bind'](
    call(administrator, {
      params: { principal: 'app' },
      body: { ca: authority.name, kind: 'dns', value: 'app.example' },
    }),
  );
  const client = await addClient(opened, authority, { names: 'DNS:app.example' });
  const server = await startServer(context, opened.handlers, {
    authenticate: (incoming) => opened.access.authenticate(incoming),
    authorise: opened.access.authorise,
  });
  await opened.access.followClientAuthorities((clientAuthorities) =>
    server.http.reloadTls({ clientAuthorities }),
  );
  return { opened, administrator, server, authority, client, bindingId: binding.id };
}

/** One connection that is kept, with this certificate. */
function kept(context: TestContext, { pem, keyPem }: TestCertificate, version?: 'TLSv1.2'): Agent {
  const agent = new Agent({
    ...{ keepAlive: true, maxSockets: 1, cert: pem, key: keyPem },
    ...(version === undefined ? {} : { maxVersion: version }),
  });
  context.after(() => agent.destroy());
  return agent;
}

const me = { path: routes['principal.show'].path.replace(':principal', 'me'), token: null };
const connections = (agent: Agent) => Object.values(agent.freeSockets).flat();

for (const [what, end, text] of [
  [
    'revoked',
    ({ opened, client }: House) =>
      change(opened, 'certificate', client.id, { revoked_at: 1, reason: 'superseded' }),
    /was revoked/,
  ],
  [
    'unbound',
    async ({ opened, administrator, bindingId }: House) => {
      const params = { binding: bindingId };
      await opened.handlers['principal.unbind'](call(administrator, { params }));
    },
    /bound to no principal/,
  ],
  [
    'of a CA that was revoked',
    ({ opened, authority }: House) =>
      change(opened, 'certificate', authority.id, { revoked_at: 1, reason: 'cACompromise' }),
    /a CA above it was revoked/,
  ],
] as const) {
  for (const version of [undefined, 'TLSv1.2'] as const) {
    const over = version ?? 'TLSv1.3';
    test(`a certificate that is ${what} is refused on the next request of a kept connection (${over})`, async (context) => {
      const all = await house(context);
      const agent = kept(context, all.client, version);
      const first = await all.server.ask({ ...me, agent });
      assert.equal(first.status, 200, first.text);
      assert.equal(first.json.name, 'app');
      const [connection] = connections(agent);
      assert.ok(connection !== undefined);
      await end(all);
      const second = await all.server.ask({ ...me, agent });
      assert.equal(second.status, 401);
      assert.equal(second.json.code, 'unauthenticated');
      assert.match(String(second.json.detail), text);
      assert.deepEqual(connections(agent), [connection], 'it was the same connection');
      // What is for everybody stays so.
      const health = await all.server.ask({ path: '/healthz', token: null, agent });
      assert.equal(health.status, 200);
    });
  }
}

test('a command by certificate is written in its name, and a resumed session is checked again', async (context) => {
  const { opened, server, client } = await house(context);
  const agent = kept(context, client);
  const made = await server.ask({
    ...{ method: 'POST', path: '/api/v1/principals', token: null, agent },
    body: { name: 'made', kind: 'device', roles: [] },
  });
  assert.equal(made.status, 201, made.text);
  assert.equal((await opened.entries()).at(-1)?.credentialId, client.id);
  // The agent keeps the session: the next connection goes on from it.
  for (const connection of connections(agent)) connection?.destroy();
  const again = await server.ask({ ...me, agent });
  assert.equal(again.json.name, 'app');
  const [resumed] = connections(agent) as { isSessionReused?(): boolean }[];
  assert.equal(resumed?.isSessionReused?.(), true);
  await change(opened, 'certificate', client.id, { revoked_at: 1, reason: 'keyCompromise' });
  for (const connection of connections(agent)) connection?.destroy();
  assert.equal((await server.ask({ ...me, agent })).status, 401);
  const [refused] = connections(agent) as { isSessionReused?(): boolean }[];
  assert.equal(refused?.isSessionReused?.(), true);
});

test('a token in the same request wins, whatever the certificate is', async (context) => {
  const { opened, administrator, server, authority } = await house(context);
  const stranger = await addClient(opened, authority, { isStored: false });
  const agent = kept(context, stranger);
  const token = await opened.token(administrator);
  assert.equal((await server.ask({ ...me, token, agent })).json.name, 'administrator');
  const bare = await server.ask({ ...me, agent });
  assert.equal(bare.status, 401);
  assert.match(String(bare.json.detail), /not known here/);
});
