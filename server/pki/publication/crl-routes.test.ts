import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyreeveError } from '../../base/errors.ts';
import { freshWaitersMax } from './fresh-crl.ts';
import { openTestPublication, serialsOf } from './publication.fixture.ts';

test('who asks for a fresh CRL waits until what is revoked is in it', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  const serial = await ca.issued('ca');
  // The first one is made for whoever waits, without a round of the schedule.
  assert.equal((await ca.crl('ca', { fresh: 'true' })).number, 1n);
  ca.clock.advance(2);
  await ca.revoke(serial);
  const waiting = ca.crl('ca', { fresh: 'true' });
  assert.equal((await ca.crl('ca')).number, 1n);
  await new Promise((resolve) => setTimeout(resolve, 300));
  ca.clock.advance(3);
  const crl = await waiting;
  assert.equal(crl.number, 2n);
  assert.deepEqual(serialsOf(crl), [serial]);
  assert.deepEqual((await ca.crl('ca', { fresh: 'true' })).der, crl.der);
});

test('a wait ends in time, and only so many wait', async (t) => {
  const ca = await openTestPublication(t, {
    waitSeconds: 0.5,
    signing: () => async () => {
      throw new KeyreeveError('keystore-unavailable', 'The token is not there.');
    },
  });
  await ca.root('ca');
  const outcomes = await Promise.allSettled(
    Array.from({ length: freshWaitersMax + 1 }, () => ca.crl('ca', { fresh: 'true' })),
  );
  const codes = outcomes.map((outcome) =>
    outcome.status === 'rejected' ? (outcome.reason as KeyreeveError).code : 'served',
  );
  assert.equal(codes.filter((code) => code === 'crl-unavailable').length, freshWaitersMax);
  assert.equal(codes.filter((code) => code === 'overloaded').length, 1);
  // Nobody has to log in to ask: what fails takes no place of those who wait for another CA.
  const begun = performance.now();
  await Promise.all(
    Array.from({ length: freshWaitersMax + 1 }, () =>
      assert.rejects(ca.crl('ca', { fresh: 'true' }), { code: 'crl-unavailable' }),
    ),
  );
  assert.ok(performance.now() - begun < 500);
});

test('of what is not there there is no CRL', async (t) => {
  const ca = await openTestPublication(t);
  await ca.create({ name: 'no-ca', algorithm: 'p-256', purpose: 'sign' });
  await ca.root('ca');
  for (const name of ['none', 'no-ca', 'key_aaaaaaaaaaaaaaaaaaaaaaaaaa']) {
    await assert.rejects(ca.crl(name), { code: 'not-found' });
  }
  await assert.rejects(ca.crl('ca', { version: '2' }), { code: 'not-found' });
  await assert.rejects(ca.crl('ca'), { code: 'crl-unavailable' });
});

test('a CRL is published by command, and within five seconds only if something was revoked', async (t) => {
  const ca = await openTestPublication(t);
  const { id } = await ca.root('ca');
  const serial = await ca.issued('ca');
  const first = await ca.publish('ca');
  assert.deepEqual(first, {
    version: 1,
    number: 1,
    entries: 0,
    thisUpdate: '2030-01-01T00:00:00.000Z',
    nextUpdate: '2030-01-08T00:00:00.000Z',
  });
  assert.deepEqual(await ca.publish('ca'), first);
  const entry = (await ca.entries()).findLast(({ action }) => action === 'crl.publish')!;
  assert.equal(entry.kind, 'outcome');
  assert.equal(entry.principalName, 'ada');
  assert.equal(entry.keyId, id);

  ca.clock.advance(5);
  assert.equal((await ca.publish('ca', { version: 1 })).number, 2);
  const kept = await ca.publish('ca', {}, 'once');
  ca.clock.advance(60);
  assert.deepEqual(await ca.publish('ca', {}, 'once'), kept);
  assert.equal((await ca.publish('ca')).number, 3);

  // Revoked a second before the gap is over: it waits for the second.
  ca.clock.advance(4);
  await ca.revoke(serial);
  const begun = performance.now();
  const fourth = ca.publish('ca');
  setTimeout(() => ca.clock.advance(1), 900);
  assert.equal((await fourth).number, 4);
  assert.ok(performance.now() - begun >= 900);
  assert.deepEqual(serialsOf(await ca.crl('ca')), [serial]);
});

test('publishing by command is refused without the right, and what is refused changes nothing', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  ca.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'no');
  };
  await assert.rejects(ca.publish('ca'), { code: 'forbidden' });
  await assert.rejects(ca.publish('none'), { code: 'forbidden' });
  ca.rights.authorise = () => undefined;
  await assert.rejects(ca.publish('none'), { code: 'not-found' });
  await assert.rejects(ca.publish('ca', { version: 2 }), { code: 'not-found' });
  assert.equal((await ca.state('ca')).crl_number, 0);
  const refusals = (await ca.entries()).filter(({ action }) => action === 'crl.publish');
  assert.deepEqual(
    refusals.map(({ outcome }) => outcome),
    ['forbidden', 'forbidden', 'not-found', 'not-found'],
  );
});

test('a command that could not be stored leaves the CRL due at once', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  await ca.round();
  ca.clock.advance(10);
  const before = await ca.state('ca');
  const restore = ca.intercept(({ steps }) => {
    if (!steps.some(({ query }) => query.sql.startsWith('insert into "crl"'))) return;
    throw new KeyreeveError('storage-full', 'The disk is full.');
  });
  await assert.rejects(ca.publish('ca'), { code: 'storage-full' });
  restore();
  assert.deepEqual(await ca.state('ca'), { ...before, crl_due_at: ca.clock.now() });
  assert.equal((await ca.publish('ca')).number, 2);
});

test('a suspended CA and one that is being taken over publish by no command', async (t) => {
  const ca = await openTestPublication(t);
  await ca.root('ca');
  await ca.call('key.state', 'ca', { version: 1, state: 'suspended' });
  await assert.rejects(ca.publish('ca'), { code: 'state-not-allowed' });
  await ca.call('key.state', 'ca', { version: 1, state: 'active' });
  const importing = ca.storage.db.updateTable('ca').set({ state: 'importing' }).compile();
  await ca.storage.commit({ steps: [{ query: importing }], entries: [], raisesEpoch: true });
  await assert.rejects(ca.publish('ca'), { code: 'ca-importing' });
  await ca.round();
  for (const query of [{}, { fresh: 'true' }]) {
    const begun = performance.now();
    await assert.rejects(ca.crl('ca', query), { code: 'crl-unavailable' });
    assert.ok(performance.now() - begun < 500, 'it waits for what will not come');
  }
});
