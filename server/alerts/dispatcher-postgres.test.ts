import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHttpsService } from '../../test/doubles/https-service.ts';
import { eventually } from '../../test/eventually.ts';
import { startPostgres } from '../../test/postgres.ts';
import { openTestAlerts } from './testing.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

test('several nodes on PostgreSQL deliver each alert, in order, and drop queues with their target', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  const databaseUrl = server.createDatabase('alerts');
  const first = await openTestAlerts(t, { databaseUrl });
  const { storeKey, clock } = first;
  const second = await openTestAlerts(t, { databaseUrl, storeKey, clock });
  t.after(() => server.remove());
  const service = await startHttpsService(t, (_request, response) => response.end());
  const target = { kind: 'webhook', address: service.url, ca: service.ca.pem, secret } as const;
  await first.add({ ...target, name: 'one' });
  const nodes = [first.dispatcher(), second.dispatcher()];
  const names = Array.from({ length: 20 }, (_, index) => `key-${index}`);
  // Written by both, handed on and delivered by both, at the same time.
  let isDone = false;
  const work = Promise.all(
    nodes.map(async (node) => {
      while (!isDone) {
        await node.round();
        await node.idle();
      }
    }),
  );
  for (const [index, name] of names.entries()) {
    await (index % 2 === 0 ? first : second).happen(name);
  }
  const received = () => service.requests.map(({ body }) => JSON.parse(body).data.keyName);
  await eventually(() => received().length >= names.length);
  assert.deepEqual(received(), names);

  // Removed while both hand on: no row is left in a queue that nobody empties.
  for (let round = 0; round < 3; round++) {
    await first.add({ ...target, name: 'short-lived' });
    const happening = Promise.all(names.slice(0, 10).map((name) => second.happen(name)));
    await first.remove('short-lived');
    await happening;
  }
  const rows = async () =>
    (await first.storage.db.selectFrom('outbox').select('topic').execute()).length;
  await eventually(async () => (await rows()) === 0);
  isDone = true;
  await work;
});
