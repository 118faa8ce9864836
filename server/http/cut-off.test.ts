import assert from 'node:assert/strict';
import { Agent } from 'node:https';
import { test } from 'node:test';
import type { RouteId } from '../../api/routes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { startServer } from './http-testing.ts';

for (const [code, connections] of [
  ['storage-unavailable', 0],
  ['outcome-unknown', 0],
  ['not-found', 1],
] as const) {
  const what =
    connections === 0 ? 'ends the connection, so that another node is asked' : 'does not';
  test(`an answer of ${code} ${what}`, async (context) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    context.after(() => agent.destroy());
    const fails = async () => {
      throw new KeyreeveError(code, 'Not now.');
    };
    const handlers = { 'key.show': fails } satisfies Partial<Record<RouteId, unknown>>;
    const server = await startServer(context, handlers);
    const answer = await server.ask({ path: '/api/v1/keys/k', agent });
    assert.equal(answer.json.code, code);
    assert.equal(answer.headers.connection, connections === 0 ? 'close' : 'keep-alive');
    assert.equal(Object.values(agent.freeSockets).flat().length, connections);
  });
}
