import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HttpsService, startHttpsService } from '../../test/doubles/https-service.ts';
import { eventually } from '../../test/eventually.ts';
import { claimSeconds, failingAttempts, longestSeconds, retrySeconds } from './delivery.ts';
import type { Dispatcher } from './dispatcher.ts';
import { alertTopic, queueOf } from './queue.ts';
import { openTestAlerts, type TestAlerts } from './testing.ts';

const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=';

const webhook = (service: HttpsService, more: object = {}) =>
  ({
    kind: 'webhook',
    address: `${service.url}/hook`,
    ca: service.ca.pem,
    secret,
    ...more,
  }) as const;

const received = (service: HttpsService): string[] =>
  service.requests.map(({ body }) => JSON.parse(body).data.keyName ?? JSON.parse(body).type);

async function deliver(dispatcher: Dispatcher): Promise<void> {
  await dispatcher.round();
  await dispatcher.idle();
}

/** A receiver that takes what it gets, and a target for it; the alert about that target is past. */
async function makeReceiver(
  t: Parameters<typeof openTestAlerts>[0],
  alerts: TestAlerts,
  more = {},
) {
  const service = await startHttpsService(t, (_request, response) => response.end());
  const target = await alerts.add({ ...webhook(service), ...more });
  return { service, target };
}

test('what happened arrives once, in order, and leaves nothing behind', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service, target } = await makeReceiver(t, alerts);
  const dispatcher = alerts.dispatcher();
  const names = Array.from({ length: 40 }, (_, index) => `key-${index}`);
  for (const name of names) await alerts.happen(name);
  await deliver(dispatcher);
  assert.deepEqual(received(service), names);
  assert.deepEqual(await alerts.waiting(alertTopic), []);
  assert.deepEqual(await alerts.waiting(queueOf(target.id)), []);
  const shown = await alerts.show('target');
  assert.deepEqual([shown.waiting, shown.failingSince], [0, null]);
  assert.notEqual(shown.deliveredAt, null);
  const { data } = JSON.parse(service.requests[0]!.body);
  assert.equal(data.installation, 'ins_aaaaaaaaaaaaaaaaaaaaaaaaaa');
  assert.equal(service.requests[0]!.headers['webhook-id'], data.id);
});

test('a receiver that is down loses nothing and gets all in order; others are not held up', async (t) => {
  const alerts = await openTestAlerts(t);
  const down = await makeReceiver(t, alerts, { name: 'down' });
  const well = await makeReceiver(t, alerts, { name: 'well' });
  const dispatcher = alerts.dispatcher();
  await deliver(dispatcher);
  down.service.requests.length = 0;
  well.service.requests.length = 0;
  down.service.answer = (_request, response) => response.writeHead(503).end();
  for (const name of ['a', 'b', 'c']) await alerts.happen(name);
  await deliver(dispatcher);
  assert.deepEqual(received(well.service), ['a', 'b', 'c']);
  assert.deepEqual(received(down.service), ['a']);
  const shown = await alerts.show('down');
  assert.deepEqual([shown.waiting, shown.reason], [3, 'it answered 503']);
  assert.notEqual(shown.failingSince, null);
  // Before its time it is not tried again, after it it is, and the first comes first.
  await deliver(dispatcher);
  assert.deepEqual(received(down.service), ['a']);
  alerts.clock.advance(longestSeconds);
  await deliver(dispatcher);
  assert.deepEqual(received(down.service), ['a', 'a']);
  down.service.answer = (_request, response) => response.end();
  alerts.clock.advance(longestSeconds);
  await deliver(dispatcher);
  assert.deepEqual(received(down.service), ['a', 'a', 'a', 'b', 'c']);
  const ids = down.service.requests.map(({ headers }) => headers['webhook-id']);
  assert.equal(new Set(ids).size, 3);
  assert.equal((await alerts.show('down')).failingSince, null);
});

test('a receiver that hangs holds up no other', async (t) => {
  const alerts = await openTestAlerts(t);
  const hanging = await makeReceiver(t, alerts, { name: 'hanging' });
  hanging.service.answer = () => undefined;
  const well = await makeReceiver(t, alerts, { name: 'well' });
  const dispatcher = alerts.dispatcher();
  await dispatcher.round();
  await alerts.happen('a');
  await eventually(async () => {
    await dispatcher.round();
    return received(well.service).includes('a');
  });
  assert.equal(hanging.service.requests.length, 1);
});

test('a target that moves while its queue is being sent gets the rest where it is now', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service, target } = await makeReceiver(t, alerts);
  const moved = await startHttpsService(t, (_request, response) => response.end());
  const dispatcher = alerts.dispatcher();
  for (const name of ['a', 'b', 'c']) await alerts.happen(name);
  let go: () => void = () => undefined;
  service.answer = (_request, response) => {
    go = () => response.end();
  };
  await dispatcher.round();
  await eventually(() => service.requests.length === 1);
  const { address, ca } = webhook(moved);
  await alerts.update('target', { address, ca, secret });
  go();
  await dispatcher.idle();
  assert.deepEqual(received(service), ['a']);
  await deliver(dispatcher);
  assert.deepEqual(received(moved).slice(0, 2), ['b', 'c']);
  assert.deepEqual(await alerts.waiting(queueOf(target.id)), []);
});

test('what a dead node had claimed comes back, and a node that slept changes nothing', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service, target } = await makeReceiver(t, alerts);
  const sleeper = alerts.dispatcher();
  const other = alerts.dispatcher();
  let wake: () => void = () => undefined;
  service.answer = (_request, response) => {
    wake = () => response.end();
  };
  for (const name of ['a', 'b']) await alerts.happen(name);
  await sleeper.round();
  await eventually(() => service.requests.length === 1);
  service.answer = (_request, response) => response.end();
  // Its claim holds: another node sends nothing beside it.
  await deliver(other);
  assert.equal(service.requests.length, 1);
  alerts.clock.advance(claimSeconds + 1);
  await deliver(other);
  assert.deepEqual(received(service), ['a', 'a', 'b']);
  await alerts.happen('c');
  wake();
  await sleeper.idle();
  assert.equal(service.requests.length, 3);
  await deliver(other);
  assert.deepEqual(received(service).slice(3), ['c']);
  assert.deepEqual(await alerts.waiting(queueOf(target.id)), []);
});

test('two nodes that hand on at the same time make one copy of each', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service } = await makeReceiver(t, alerts);
  const nodes = [alerts.dispatcher(), alerts.dispatcher(), alerts.dispatcher()];
  const names = Array.from({ length: 30 }, (_, index) => `key-${index}`);
  for (const name of names) await alerts.happen(name);
  await Promise.all(nodes.map((node) => node.round()));
  for (let turn = 0; turn < 5; turn++) await Promise.all(nodes.map(deliver));
  assert.deepEqual(received(service), names);
});

test('a target is told of its severity and worse, and of its kinds alone', async (t) => {
  const alerts = await openTestAlerts(t);
  const severe = await makeReceiver(t, alerts, { name: 'severe', severity: 'error' });
  const narrow = await makeReceiver(t, alerts, { name: 'narrow', kinds: ['key-suspended'] });
  await alerts.happen('a');
  await deliver(alerts.dispatcher());
  assert.deepEqual(received(severe.service), []);
  assert.deepEqual(received(narrow.service), ['a']);
});

test('with a target goes its queue, and nothing is put there afterwards', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service, target } = await makeReceiver(t, alerts);
  service.answer = (_request, response) => response.writeHead(500).end();
  await alerts.happen('a');
  const dispatcher = alerts.dispatcher();
  await deliver(dispatcher);
  await alerts.happen('b');
  await deliver(dispatcher);
  assert.deepEqual(await alerts.remove('target'), { removed: 'target', dropped: 2 });
  alerts.clock.advance(longestSeconds);
  await deliver(dispatcher);
  const rows = await alerts.storage.db.selectFrom('outbox').select('topic').execute();
  assert.deepEqual(rows, []);
  assert.equal(service.requests.length, 1);
  await assert.rejects(alerts.show(target.name), { code: 'not-found' });
});

test('a queue that is full loses its oldest, and the record says so', async (t) => {
  const alerts = await openTestAlerts(t, { queueMax: 10 });
  const full = await makeReceiver(t, alerts, { name: 'full' });
  const well = await makeReceiver(t, alerts, { name: 'well' });
  const dispatcher = alerts.dispatcher();
  await deliver(dispatcher);
  full.service.answer = (_request, response) => response.writeHead(500).end();
  for (let index = 0; index < 25; index++) {
    await alerts.happen(`key-${index}`);
    await dispatcher.round();
  }
  await deliver(dispatcher);
  const queue = await alerts.waiting(queueOf(full.target.id));
  assert.equal(queue.length, 10);
  assert.equal(queue.at(-1).keyName, 'key-24');
  // The others are told, and it itself is not: that would only drop one more.
  const told = well.service.requests.map(({ body }) => JSON.parse(body).data);
  const drops = told.filter(({ kind }) => kind === 'alerts-dropped');
  assert.equal(
    drops.reduce((sum, { count }) => sum + count, 0),
    15,
  );
  assert.ok(
    drops.every(({ resource, outcome }) => resource === 'full' && outcome === 'overloaded'),
  );
  assert.ok(queue.every(({ kind }) => kind === 'key-suspended'));
});

test('a target that is not reached for long is itself an alert, for the others', async (t) => {
  const alerts = await openTestAlerts(t);
  const down = await makeReceiver(t, alerts, { name: 'down' });
  const well = await makeReceiver(t, alerts, {
    name: 'well',
    kinds: ['target-failing', 'target-recovered'],
  });
  down.service.answer = (_request, response) => response.writeHead(302).end();
  const dispatcher = alerts.dispatcher();
  const attempt = async () => {
    alerts.clock.advance(longestSeconds);
    await deliver(dispatcher);
  };
  for (let count = 1; count < failingAttempts; count++) await attempt();
  await deliver(dispatcher);
  assert.deepEqual(received(well.service), []);
  await attempt();
  await deliver(dispatcher);
  assert.deepEqual(received(well.service), ['target-failing']);
  await attempt();
  down.service.answer = (_request, response) => response.end();
  await attempt();
  await deliver(dispatcher);
  assert.deepEqual(received(well.service), ['target-failing', 'target-recovered']);
});

test('a stop breaks off what is being sent and counts no failure', async (t) => {
  const alerts = await openTestAlerts(t);
  const { service, target } = await makeReceiver(t, alerts);
  service.answer = () => undefined;
  await alerts.happen('a');
  const first = alerts.dispatcher();
  await first.round();
  await eventually(() => service.requests.length === 1);
  await first.stop();
  assert.equal((await alerts.show('target')).failingSince, null);
  service.answer = (_request, response) => response.end();
  await deliver(alerts.dispatcher());
  assert.deepEqual(await alerts.waiting(queueOf(target.id)), []);
});

test('pauses double up to a ceiling, by chance below it', () => {
  const most = [1, 2, 3, 8, 9, 10, 1000].map((attempts) => retrySeconds(attempts, () => 1));
  assert.deepEqual(most, [1, 2, 4, 128, 256, 300, 300]);
  assert.equal(
    retrySeconds(1, () => 0),
    0.5,
  );
  assert.ok(retrySeconds(20, () => 0.5) === 150);
});
