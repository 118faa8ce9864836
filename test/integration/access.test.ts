import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ErrorCode } from '../../api/error-codes.ts';
import type { RouteDefinition } from '../../api/route.ts';
import { type RouteId, routes } from '../../api/routes.ts';
import type { ApiClient, RequestOf } from '../../client/api-client.ts';
import { createClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { eventually } from '../eventually.ts';
import { rawRequests } from '../raw-request.ts';
import { samples } from '../samples.ts';
import { startLoggedIn } from '../service.ts';

const file = { after };
const { client, login, service } = await startLoggedIn(file);
const url = service.url;
const raw = rawRequests(file, url, login.caPem);
const data = 'aGVsbG8=';
const routeIds = Object.keys(routes) as RouteId[];
const definitionOf = (id: RouteId): RouteDefinition => routes[id];

function clientOf(token?: string): ApiClient {
  const made = createClient({ url, caPem: login.caPem, token });
  after(() => made.close());
  return made;
}

/** Calls any route with its sample. */
function call(who: ApiClient, id: RouteId, more: object = {}): Promise<unknown> {
  const loose = who as unknown as Record<
    'call' | 'stream',
    (id: RouteId, request: object) => Promise<unknown>
  >;
  const way = definitionOf(id).response === 'stream' ? 'stream' : 'call';
  return loose[way](id, { ...samples[id], ...more });
}

const refuses = (promise: Promise<unknown>, code: ErrorCode, name?: string) =>
  assert.rejects(
    promise,
    (error) => {
      assert.ok(isKeyreeveError(error), String(error));
      assert.equal(error.code, code, `${name ?? ''}: ${error.message}`);
      return true;
    },
    name,
  );

async function newPrincipal(
  body: RequestOf<'principal.create'>['body'],
): Promise<{ token: string; tokenId: string; client: ApiClient }> {
  await client.call('principal.create', { body });
  const made = await client.call('token.create', {
    body: { principal: body.name, ttlSeconds: 3600 },
  });
  return { token: made.token, tokenId: made.id, client: clientOf(made.token) };
}

before(async () => {
  for (const name of ['samples/key', 'a/key', 'a/b/key', 'c/key']) {
    await client.call('key.create', { body: { name, algorithm: 'p-256', purpose: 'sign' } });
  }
});

test('without a token every route says so, but those that need none', async () => {
  const stranger = clientOf();
  for (const id of routeIds) {
    if (definitionOf(id).authentication === 'token') {
      await refuses(call(stranger, id), 'unauthenticated', id);
    }
  }
  assert.ok(await call(stranger, 'key.public'));
  assert.ok(await call(stranger, 'audit.checkpoint'));
  await refuses(call(stranger, 'login'), 'login-code-invalid');
  const answer = await raw('GET', '/api/v1/keys');
  assert.equal(answer.status, 401);
  assert.equal(answer.headers['www-authenticate'], 'Bearer realm="keyreeve"');
  for (const token of ['x', 'krt_0000', `${login.token}x`, login.token.slice(0, -1)]) {
    assert.equal((await raw('GET', '/api/v1/keys', { token })).status, 401);
  }
});

test('without a role every route is forbidden, but what is ones own', async () => {
  const nobody = await newPrincipal({ name: 'nobody', kind: 'service' });
  const own = await client.call('token.list', { query: { principal: 'administrator' } });
  // They show what the caller may see.
  const lists = new Set<RouteId>(['approval.list', 'ca.list', 'certificate.list', 'key.list']);
  // Nobody but those concerned is told that it exists.
  const hidden = new Set<RouteId>([
    ...(['approval.show', 'approval.approve', 'approval.reject', 'approval.withdraw'] as const),
  ]);
  const expected = new Map<RouteId, { correlationId: string; code: ErrorCode }>();
  for (const id of routeIds) {
    const { authentication, kind } = definitionOf(id);
    if (authentication === 'none' || lists.has(id)) continue;
    const correlationId = `nobody-${id}`;
    const more = id === 'token.revoke' ? { params: { token: own.items[0]!.id } } : {};
    const code = hidden.has(id) ? 'not-found' : 'forbidden';
    await refuses(call(nobody.client, id, { ...more, correlationId }), code, id);
    if (kind !== 'read') expected.set(id, { correlationId, code });
  }
  for (const id of lists) {
    assert.deepEqual(((await call(nobody.client, id)) as { items: unknown[] }).items, [], id);
  }
  const me = await nobody.client.call('principal.show', { params: { principal: 'me' } });
  assert.equal(me.name, 'nobody');
  assert.equal((await nobody.client.call('token.list')).items.length, 1);
  await eventually(async () => (await client.call('status')).record.waiting === 0);
  for (const [id, { correlationId, code }] of expected) {
    const { items } = await client.call('audit.list', { query: { correlationId } });
    assert.deepEqual(
      items.map((entry) => [entry.outcome, entry.principalName]),
      [[code, 'nobody']],
      `${id} was refused and is not on the record`,
    );
  }
});

test('a token that is revoked ends at once, on the connection it came with', async () => {
  const { token, tokenId } = await newPrincipal({
    name: 'revoked',
    kind: 'service',
    roles: ['key-user'],
  });
  const kept = rawRequests(file, url, login.caPem);
  const sign = () => kept('POST', '/api/v1/keys/a%2Fkey/sign', { token, body: { data } });
  assert.equal((await sign()).status, 200);
  assert.equal((await sign()).reusedConnection, true);
  await client.call('token.revoke', { params: { token: tokenId } });
  const answer = await sign();
  assert.equal(answer.status, 401);
  assert.equal(answer.json.code, 'unauthenticated');
  assert.equal(answer.reusedConnection, true);
});

test('a principal that is disabled, or loses its role, loses it at once', async () => {
  const user = await newPrincipal({ name: 'user', kind: 'person', roles: ['key-user'] });
  const sign = () => user.client.call('key.sign', { params: { key: 'a/key' }, body: { data } });
  const update = (body: NonNullable<RequestOf<'principal.update'>['body']>) =>
    client.call('principal.update', { params: { principal: 'user' }, body });
  await sign();
  await update({ roles: ['operator'] });
  await refuses(sign(), 'forbidden');
  await update({ roles: ['key-user'] });
  await sign();
  await update({ state: 'disabled' });
  await refuses(sign(), 'unauthenticated');
  await refuses(user.client.call('key.list'), 'unauthenticated');
});

test('a token that was made narrower stays narrower, and so do those made with it', async () => {
  const narrow = async (
    from: ApiClient,
    body: Omit<RequestOf<'token.create'>['body'], 'ttlSeconds'>,
  ) => {
    const made = await from.call('token.create', { body: { ...body, ttlSeconds: 600 } });
    return { ...made, client: clientOf(made.token) };
  };
  const first = await narrow(client, { roles: ['key-user', 'key-maker'], folders: ['a'] });
  const second = await narrow(first.client, { roles: ['key-user'], folders: ['a/b'] });
  const sign = (who: ApiClient, key: string) =>
    who.call('key.sign', { params: { key }, body: { data } });
  await sign(first.client, 'a/key');
  await sign(second.client, 'a/b/key');
  await refuses(sign(first.client, 'c/key'), 'forbidden');
  await refuses(sign(second.client, 'a/key'), 'forbidden');
  await refuses(call(first.client, 'status'), 'forbidden');
  await refuses(call(first.client, 'access.apply'), 'forbidden');
  await refuses(
    second.client.call('key.rotate', { params: { key: 'a/b/key' }, body: {} }),
    'forbidden',
  );
  await refuses(narrow(second.client, { roles: ['key-maker'] }), 'forbidden');
  await refuses(narrow(second.client, { roles: ['administrator'] }), 'forbidden');
  await refuses(narrow(second.client, { folders: ['a'] }), 'forbidden');
  await refuses(narrow(second.client, { folders: ['c'] }), 'forbidden');
  const third = await narrow(second.client, {});
  assert.deepEqual([third.roles, third.folders], [['key-user'], ['a/b']]);
  assert.ok(Date.parse(third.expiresAt) <= Date.parse(second.expiresAt));
  await client.call('token.revoke', { params: { token: first.id } });
  for (const ended of [first, second, third]) {
    await refuses(sign(ended.client, 'a/b/key'), 'unauthenticated');
  }
});

test('roles that conflict are refused, and nothing is changed', async () => {
  const conflicts: [string, string][] = [
    ['administrator', 'auditor'],
    ['auditor', 'key-user'],
    ['security-reviewer', 'packaging-engineer'],
    ['packaging-engineer', 'change-advisory-board'],
  ];
  for (const roles of conflicts) {
    const body = { name: 'torn', kind: 'person', roles } as const;
    await refuses(client.call('principal.create', { body: { ...body } }), 'roles-conflict');
  }
  await refuses(client.call('principal.show', { params: { principal: 'torn' } }), 'not-found');
  const body = { name: 'auditor', kind: 'person', roles: ['auditor'] } as const;
  await client.call('principal.create', { body: { ...body, roles: [...body.roles] } });
  const params = { principal: 'auditor' };
  const update = client.call('principal.update', {
    params,
    body: { roles: ['auditor', 'operator'] },
  });
  await refuses(update, 'roles-conflict');
  assert.deepEqual((await client.call('principal.show', { params })).roles, ['auditor']);
  const unknown = { name: 'torn', kind: 'person', roles: ['king'] } as const;
  await refuses(
    client.call('principal.create', { body: { ...unknown, roles: ['king'] } }),
    'invalid-request',
  );
});

test('rules that are applied hold from the next call on', async () => {
  const user = await newPrincipal({ name: 'ruled', kind: 'service', roles: ['key-user'] });
  const sign = () => user.client.call('key.sign', { params: { key: 'a/key' }, body: { data } });
  await sign();
  const before = await client.call('access.show');
  const forbid = 'forbid (principal, action == Action::"key.sign", resource);';
  const apply = (policies: string) => client.call('access.apply', { body: { policies } });
  await refuses(apply('permit (everybody);'), 'invalid-policy');
  await sign();
  await apply(`${before.policies}\n${forbid}\n`);
  await refuses(sign(), 'forbidden');
  await apply(before.policies);
  await sign();
});
