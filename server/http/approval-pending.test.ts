import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApprovalView } from '../../api/routes/approvals.ts';
import { ApprovalPendingError } from '../base/approval-pending.ts';
import type { Caller } from '../base/caller.ts';
import { startServer } from './http-testing.ts';

const view = {
  id: `apr_${'a'.repeat(26)}`,
  state: 'pending',
  action: 'key.destroy',
  requirements: [],
  digest: 'ab'.repeat(32),
  expiresAt: '2030-01-02T00:00:00.000Z',
} as unknown as ApprovalView;
const path = '/api/v1/keys/k/destroy';

test('a command that waits is answered by 202, the approval and where it is', async (t) => {
  const server = await startServer(t, {
    'key.destroy': async () => {
      throw new ApprovalPendingError(view);
    },
  });
  const answer = await server.ask({ method: 'POST', path, body: {} });
  assert.equal(answer.status, 202);
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8');
  assert.equal(answer.headers.location, `/api/v1/approvals/${view.id}`);
  assert.deepEqual(answer.json, view);
});

test('a command gets its request as it was validated, with the headers of approvals', async (t) => {
  let seen: Caller['request'];
  const server = await startServer(t, {
    'key.destroy': async ({ caller }: { caller: Caller }) => {
      seen = caller.request;
      throw new ApprovalPendingError(view);
    },
  });
  const ask = (headers: Record<string, string>) =>
    server.ask({ method: 'POST', path, body: { afterSeconds: 7200 }, headers });
  await ask({
    'Keyreeve-Approval': view.id,
    'Keyreeve-Break-Glass': encodeURIComponent('Schlüssel verloren'),
  });
  assert.deepEqual(seen, {
    route: 'key.destroy',
    params: { key: 'k' },
    body: { afterSeconds: 7200 },
    approvalId: view.id,
    breakGlass: 'Schlüssel verloren',
  });
  for (const wrong of [
    { 'Keyreeve-Approval': 'apr_1' },
    { 'Keyreeve-Break-Glass': 'short' },
    { 'Keyreeve-Break-Glass': `${'x'.repeat(501)}` },
    { 'Keyreeve-Break-Glass': 'two lines%0Aof reasons' },
    { 'Keyreeve-Break-Glass': 'not %encoded at all' },
  ]) {
    const answer = await ask(wrong);
    assert.equal(answer.status, 400, JSON.stringify(wrong));
  }
});
