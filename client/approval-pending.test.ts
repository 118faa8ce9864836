import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApprovalView } from '../api/routes/approvals.ts';
import { exitCodeOf, exitCodes } from '../cli/exit-codes.ts';
import { ApprovalPendingError } from '../server/base/approval-pending.ts';
import { isKeyreeveError } from '../server/base/errors.ts';
import { json, startHttpsService } from '../test/doubles/https-service.ts';
import { createClient } from './api-client.ts';

const view: ApprovalView = {
  id: `apr_${'a'.repeat(26)}`,
  state: 'pending',
  kind: 'ordinary',
  action: 'key.destroy',
  subject: 'prod/key',
  requester: { id: 'prn_1', name: 'ada' },
  address: '192.0.2.7',
  reason: null,
  requirements: [
    { rule: 'destroy', why: 'rule', approvals: 2, roles: ['security-reviewer'], given: 1 },
  ],
  decisions: [],
  digest: 'ab'.repeat(32),
  createdAt: '2030-01-01T00:00:00.000Z',
  expiresAt: '2030-01-02T00:00:00.000Z',
  endedAt: null,
  nonce: 'cd'.repeat(16),
  command: { route: 'key.destroy' },
};

function clientOf({ url, ca }: { url: string; ca: { pem: string } }) {
  return createClient({ url, token: 'secret-token', caPem: ca.pem, timeoutSeconds: 5 });
}

test('an answer that waits is an error of its own, with the approval, and is not repeated', async (t) => {
  const service = await startHttpsService(t, (_, response) => json(response, view, 202));
  const client = clientOf(service);
  t.after(() => client.close());
  await assert.rejects(
    client.call('key.destroy', {
      params: { key: 'prod/key' },
      approvalId: view.id,
      breakGlass: 'Ärger: the key is out',
    }),
    (error) => {
      assert.ok(error instanceof ApprovalPendingError, String(error));
      assert.deepEqual(error.approval, view);
      assert.match(error.message, /1 more of security-reviewer/);
      assert.equal(exitCodeOf(error.code), exitCodes.pending);
      return true;
    },
  );
  assert.equal(service.requests.length, 1);
  const { headers } = service.requests[0]!;
  assert.equal(headers['keyreeve-approval'], view.id);
  assert.equal(headers['keyreeve-break-glass'], '%C3%84rger%3A%20the%20key%20is%20out');
});

test('a stranger’s control characters do not reach a terminal, and other answers are none', async (t) => {
  const answers: object[] = [{ ...view, action: 'key\u001b[2J.destroy' }, { state: 'pending' }];
  const service = await startHttpsService(t, (_, response) =>
    json(response, answers.shift()!, 202),
  );
  const client = clientOf(service);
  t.after(() => client.close());
  const failure = async () => {
    try {
      await client.call('key.destroy', { params: { key: 'k' } });
    } catch (error) {
      assert.ok(isKeyreeveError(error));
      return error;
    }
    throw new Error('it did not fail');
  };
  assert.ok(!(await failure()).message.includes('\u001b'));
  assert.equal((await failure()).code, 'internal');
});
