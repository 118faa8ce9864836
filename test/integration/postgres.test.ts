import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { after, test } from 'node:test';
import { eventually } from '../eventually.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { rawRequests } from '../raw-request.ts';
import { logIn, makeInstallation, startService } from '../service.ts';
import { skip } from '../tools.ts';
import { killRounds } from './kill-rounds.ts';

const data = Buffer.from('Kept in PostgreSQL.');
let server: TestPostgres | undefined;
after(() => server?.remove());

test('on PostgreSQL keys are made, used and rotated, and outlive the service', async (t) => {
  server = startPostgres(t);
  if (server === undefined) return;
  const installation = makeInstallation(t);
  installation.environment.KEYREEVE_DATABASE_URL = server.createDatabase('tour');
  const first = await startService(t, installation);
  const login = await logIn(t, first);
  const params = { key: 'postgres/key' };
  const body = { name: params.key, algorithm: 'ed25519', purpose: 'sign' } as const;
  await login.client.call('key.create', { body });
  const item = { data: data.toString('base64') };
  const signed = await login.client.call('key.sign', { params, body: item });
  const rotated = await login.client.call('key.rotate', { params, body: {} });
  assert.equal(rotated.currentVersion, 2);
  const held = await login.client.call('audit.checkpoint');
  await first.stop('SIGKILL');

  const again = await startService(t, installation);
  const client = login.at(again.url);
  assert.equal((await client.call('status')).database.dialect, 'postgres');
  const proof = { ...item, signature: signed.signature };
  const verdict = await client.call('key.verify', { params, body: proof });
  assert.deepEqual([verdict.valid, verdict.version], [true, 1]);
  const view = await client.call('key.public', { params });
  const [old] = view.versions;
  assert.ok(verify(null, data, old!.publicKey!, Buffer.from(signed.signature, 'base64')));
  assert.equal((await client.call('key.sign', { params, body: item })).version, 2);
  assert.equal((await client.call('audit.verify', { body: held })).ok, true);
  assert.equal(await again.stop(), 0);
});

test('while PostgreSQL is away the service says so, and goes on when it is back', async (t) => {
  if (server === undefined) return skip(t, 'PostgreSQL is not here');
  const database = server;
  const installation = makeInstallation(t);
  installation.environment.KEYREEVE_DATABASE_URL = database.createDatabase('away');
  const service = await startService(t, installation);
  const { client, token, caPem } = await logIn(t, service);
  const raw = rawRequests(t, service.url, caPem);
  const body = { name: 'postgres/key', algorithm: 'p-256', purpose: 'sign' };
  const create = (name: string) =>
    raw('POST', '/api/v1/keys', {
      token,
      body: { ...body, name },
      headers: { 'idempotency-key': name },
    });
  const sign = () =>
    raw('POST', '/api/v1/keys/postgres%2Fkey/sign', { token, body: { data: 'aGVsbG8=' } });
  assert.equal((await create(body.name)).status, 201);
  const held = await client.call('audit.checkpoint');
  for (const mode of ['fast', 'immediate'] as const) {
    database.stop(mode);
    try {
      for (const answer of [await create(`postgres/${mode}`), await sign()]) {
        assert.equal(answer.status, 503, answer.text);
        assert.match(String(answer.json.code), /^(storage-unavailable|outcome-unknown)$/);
      }
      assert.equal((await raw('GET', '/healthz')).status, 200);
      assert.equal((await raw('GET', '/readyz')).status, 503);
    } finally {
      database.start();
    }
    await eventually(async () => (await raw('GET', '/readyz')).status === 200);
    await eventually(async () => (await sign()).status === 200);
    assert.equal((await create(`postgres/${mode}`)).status, 201);
  }
  const { items } = await client.call('key.list');
  const names = ['postgres/fast', 'postgres/immediate', 'postgres/key'];
  assert.deepEqual(items.map((key) => key.name).sort(), names);
  assert.equal((await client.call('audit.verify', { body: held })).ok, true);
});

test('a second service serves the same database', async (t) => {
  if (server === undefined) return skip(t, 'PostgreSQL is not here');
  const installation = makeInstallation(t);
  installation.environment.KEYREEVE_DATABASE_URL = server.createDatabase('twice');
  const first = await startService(t, installation);
  const login = await logIn(t, first);
  const other = makeInstallation(t, {
    KEYREEVE_DATABASE_URL: installation.environment.KEYREEVE_DATABASE_URL,
    KEYREEVE_SEAL: installation.seal,
  });
  const second = await startService(t, other);
  const client = login.at(second.url);
  const body = { name: 'twice/key', algorithm: 'ed25519', purpose: 'sign' } as const;
  await login.client.call('key.create', { body });
  const params = { key: body.name };
  const item = { data: data.toString('base64') };
  const { signature } = await client.call('key.sign', { params, body: item });
  const verdict = await login.client.call('key.verify', { params, body: { ...item, signature } });
  assert.equal(verdict.valid, true);
});

test('kill -9 at random moments loses nothing that PostgreSQL took', async (t) => {
  if (server === undefined) return skip(t, 'PostgreSQL is not here');
  const database = server;
  const url = database.createDatabase('killed');
  await killRounds(t, {
    rounds: 4,
    environment: { KEYREEVE_DATABASE_URL: url },
    intents: () => database.sql('killed', 'SELECT id FROM intent').split('\n').filter(Boolean),
  });
});
