import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rawRequests } from '../../test/raw-request.ts';
import { startLoggedIn } from '../../test/service.ts';

test('each export is allowed and recorded for itself, whatever its idempotency key', async (t) => {
  const { service, client, login } = await startLoggedIn(t);
  await client.call('principal.create', {
    body: { name: 'eve', kind: 'person', roles: ['auditor'] },
  });
  const { code } = await client.call('principal.enrol', { params: { principal: 'eve' }, body: {} });
  const ask = rawRequests(t, service.url, login.caPem);
  const { token } = (await ask('POST', '/api/v1/login', { body: { code } })).json;
  const take = async () => {
    const headers = { 'idempotency-key': 'once' };
    const body = { redact: [] };
    return (await ask('POST', '/api/v1/audit/export', { token: token as string, body, headers }))
      .status;
  };
  assert.deepEqual([await take(), await take()], [200, 200]);
  await client.call('principal.update', { params: { principal: 'eve' }, body: { roles: [] } });
  assert.equal(await take(), 403);
  const { items } = await client.call('audit.list', {
    query: { action: 'audit.export', limit: 10 },
  });
  assert.deepEqual(
    items.map((entry) => entry.outcome),
    ['forbidden', 'ok', 'ok'],
  );
});
