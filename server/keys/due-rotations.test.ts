import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { KeyreeveError } from '../base/errors.ts';
import { acquireLease, fenceStep } from '../storage/storage.ts';
import {
  createDueRotations,
  firstRetrySeconds,
  longestRetrySeconds,
  shortestRetrySeconds,
} from './due-rotations.ts';
import { Keys } from './keys.ts';
import { openTestKeys, type TestKeysOptions } from './testing.ts';

const intervalSeconds = 1000;
const rotating = { rotateEverySeconds: intervalSeconds };

async function open(t: TestContext, options: TestKeysOptions = {}) {
  const ring = await openTestKeys(options);
  t.after(() => ring.close());
  const logged: object[] = [];
  const state = { isClockUnsafe: false, random: 0.999_999 };
  const make = (keys = ring.keys) =>
    createDueRotations({
      keys,
      log: { warn: (facts) => logged.push(facts) },
      isClockUnsafe: () => state.isClockUnsafe,
      random: () => state.random,
    });
  const rotations = make();
  return {
    ...ring,
    logged,
    state,
    make,
    run: () => rotations.run(),
    key: (name: string, more: object = {}) =>
      ring.create({ name, purpose: 'sign', algorithm: 'ed25519', policy: rotating, ...more }),
    versions: async (name: string) => (await ring.call('key.show', name)).versions.length,
    entries: async () => {
      const rows = await ring.storage.db
        .selectFrom('entry_tail')
        .select('opening')
        .orderBy('id')
        .execute();
      return rows.map(({ opening }) => Buffer.from(opening).toString('utf8'));
    },
  };
}

test('a key is not rotated just before its interval is over, and is when it is', async (t) => {
  const ring = await open(t);
  await ring.key('a');
  ring.clock.advance(intervalSeconds - 0.001);
  assert.equal(await ring.run(), 0);
  ring.clock.advance(0.001);
  assert.equal(await ring.run(), 1);
  const view = await ring.call('key.show', 'a');
  assert.equal(view.currentVersion, 2);
  assert.equal(Date.parse(view.rotationDueAt!), ring.clock.now() + intervalSeconds * 1000);
  assert.equal(await ring.run(), 0);
  const entries = (await ring.entries()).filter((text) => text.includes('key.rotate'));
  assert.equal(entries.length, 1);
  assert.match(entries[0]!, /event/);
  assert.match(entries[0]!, /scheduled/);
});

test('a key without an interval is never rotated', async (t) => {
  const ring = await open(t);
  await ring.key('a', { policy: {} });
  ring.clock.advance(100 * 365 * 86_400);
  assert.equal(await ring.run(), 0);
});

test('a key whose version has ended is rotated all the same', async (t) => {
  const ring = await open(t);
  await ring.key('a', { policy: { ...rotating, validitySeconds: intervalSeconds / 2 } });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 1);
});

test('a version that was published ahead counts from when it comes into use', async (t) => {
  const ring = await open(t);
  await ring.key('a');
  const activatesAt = new Date(ring.clock.now() + 1500 * 1000).toISOString();
  await ring.call('key.rotate', 'a', { activatesAt });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  ring.clock.advance(1500 - 0.001);
  assert.equal(await ring.run(), 0);
  ring.clock.advance(0.001);
  assert.equal(await ring.run(), 1);
  assert.equal(await ring.versions('a'), 3);
});

test('what somebody has suspended waits for a person, and is rotated once it is active', async (t) => {
  const ring = await open(t);
  await ring.key('a');
  await ring.call('key.state', 'a', { state: 'suspended', reason: 'a doubt' });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  await ring.call('key.state', 'a', { state: 'active', reason: 'no doubt' });
  assert.equal(await ring.run(), 1);
});

test('a suspended version is not passed over for the one before it', async (t) => {
  const ring = await open(t);
  await ring.key('a', { policy: { ...rotating, onRotation: 'overlap', overlapSeconds: 9000 } });
  await ring.call('key.rotate', 'a');
  await ring.call('key.state', 'a', { version: 2, state: 'suspended', reason: 'a doubt' });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  assert.equal(await ring.versions('a'), 2);
});

test('a key that waits to be destroyed is left alone, and rotated when it is kept', async (t) => {
  const ring = await open(t);
  await ring.key('a');
  await ring.call('key.destroy', 'a', { afterSeconds: 30 * 86_400, reason: 'old' });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  assert.deepEqual(ring.logged, []);
  await ring.call('key.cancel-destroy', 'a');
  assert.equal(await ring.run(), 1);
});

test('the key of a CA is told of once for each time it is due, and never rotated', async (t) => {
  const ring = await open(t);
  const { id } = await ring.key('ca', { algorithm: 'p-256' });
  // A CA is made elsewhere; what counts here is the purpose of its key.
  const query = ring.storage.db
    .updateTable('key')
    .set({ purpose: 'ca' })
    .where('id', '=', id)
    .compile();
  await ring.storage.commit({ steps: [{ query }], entries: [] });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  ring.clock.advance(10 * intervalSeconds);
  assert.equal(await ring.run(), 0);
  assert.equal(await ring.make().run(), 0, 'after a restart, too');
  const told = (await ring.entries()).filter((text) => text.includes('key.rotation-due'));
  assert.equal(told.length, 1);
  assert.equal(await ring.versions('ca'), 1);
});

test('many rotations at once, by people and by the schedule, make one version', async (t) => {
  const ring = await open(t);
  for (const name of ['a', 'b', 'c']) await ring.key(name);
  ring.clock.advance(intervalSeconds);
  // Another node has nothing in common with this one but the database.
  const { storage, keystores, clock } = ring;
  const elsewhere = new Keys({
    ...{ storage, keystores, clock, sealer: ring.keys.sealer },
    authorise: () => undefined,
    principalId: async (reference) => reference,
  });
  const first = ring.make();
  const second = ring.make(elsewhere);
  const byHand = ['a', 'b', 'c'].map((name) => ring.call('key.rotate', name, { sawVersion: 1 }));
  await Promise.all([first.run(), second.run(), ...byHand, first.run()]);
  for (const name of ['a', 'b', 'c']) assert.equal(await ring.versions(name), 2);
  assert.deepEqual(ring.logged, []);
});

test('a key that cannot be rotated is tried later and later, is told of once, and holds no other up', async (t) => {
  const ring = await open(t);
  await ring.key('broken');
  await ring.key('whole');
  let tries = 0;
  const wrapped = ring.keystores.named('wrapped');
  const generate = wrapped.generate.bind(wrapped);
  t.mock.method(wrapped, 'generate', async (...asked: Parameters<typeof generate>) => {
    if (asked[0].name !== 'broken') return generate(...asked);
    tries += 1;
    throw new KeyreeveError('integrity-failed', 'It will not.');
  });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 1);
  assert.equal(await ring.versions('whole'), 2);
  assert.equal(tries, 1);
  const waits = [60, 120, 240, 480, 960, 1920, longestRetrySeconds, longestRetrySeconds];
  assert.equal(waits[0], firstRetrySeconds);
  for (const [index, wait] of waits.entries()) {
    ring.clock.advance(wait - 1);
    await ring.run();
    assert.equal(tries, index + 1, `too soon after ${wait} s`);
    ring.clock.advance(1);
    await ring.run();
    assert.equal(tries, index + 2, `not tried after ${wait} s`);
  }
  const failed = (await ring.entries()).filter((text) => text.includes('It will not.'));
  assert.equal(failed.length, 1);
  assert.equal(ring.logged.length, 1);
  assert.equal(await ring.versions('broken'), 1);
});

test('no dice bring a retry at once', async (t) => {
  const ring = await open(t);
  await ring.key('broken');
  let tries = 0;
  t.mock.method(ring.keystores.named('wrapped'), 'generate', async () => {
    tries += 1;
    throw new KeyreeveError('keystore-unavailable', 'It is away.');
  });
  ring.state.random = 0;
  ring.clock.advance(intervalSeconds);
  await ring.run();
  ring.clock.advance(shortestRetrySeconds - 1);
  await ring.run();
  assert.equal(tries, 1);
  ring.clock.advance(1);
  await ring.run();
  assert.equal(tries, 2);
});

test('of a keystore that is away one key is tried, and all are rotated when it is back', async (t) => {
  const ring = await open(t);
  for (const name of ['a', 'b', 'c']) await ring.key(name);
  let tries = 0;
  const away = t.mock.method(ring.keystores.named('wrapped'), 'generate', async () => {
    tries += 1;
    throw new KeyreeveError('keystore-unavailable', 'It is away.');
  });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 0);
  assert.equal(tries, 1);
  away.mock.restore();
  ring.clock.advance(firstRetrySeconds);
  assert.equal(await ring.run(), 3);
});

test('a key in a keystore outside the database is rotated under an intent', async (t) => {
  const ring = await open(t);
  await ring.key('a', { keystore: 'file', algorithm: 'p-256' });
  ring.clock.advance(intervalSeconds);
  assert.equal(await ring.run(), 1);
  const intents = await ring.storage.db.selectFrom('intent').selectAll().execute();
  assert.deepEqual(intents, []);
  const kinds = (await ring.entries()).filter((text) => text.includes('key.rotate'));
  assert.equal(kinds.length, 2);
  assert.match(kinds[0]!, /intent/);
});

test('a failure after an intent is on the record each time, settles it, and is told of once', async (t) => {
  const ring = await open(t);
  await ring.key('a', { keystore: 'file', algorithm: 'p-256' });
  t.mock.method(ring.keystores.named('file'), 'generate', async () => {
    throw new KeyreeveError('integrity-failed', 'It will not.');
  });
  ring.clock.advance(intervalSeconds);
  for (let tries = 0; tries < 3; tries++) {
    await ring.run();
    ring.clock.advance(longestRetrySeconds);
  }
  assert.deepEqual(await ring.storage.db.selectFrom('intent').selectAll().execute(), []);
  const entries = (await ring.entries()).filter((text) => text.includes('key.rotate'));
  assert.equal(entries.filter((text) => text.includes('It will not.')).length, 3);
  assert.equal(entries.length, 6);
  assert.equal(entries.filter((text) => text.includes('repeated')).length, 2);
  assert.equal(ring.logged.length, 1);
});

test('for a keystore outside the database that is known to be away nothing is intended', async (t) => {
  const ring = await open(t);
  await ring.key('a', { keystore: 'file', algorithm: 'p-256' });
  const health = { ready: false, reason: 'The disk is away.' };
  t.mock.method(ring.keystores.named('file'), 'health', async () => health);
  ring.clock.advance(intervalSeconds);
  for (let tries = 0; tries < 3; tries++) {
    await ring.run();
    ring.clock.advance(longestRetrySeconds);
  }
  const entries = (await ring.entries()).filter((text) => text.includes('key.rotate'));
  assert.equal(entries.length, 1);
  assert.match(entries[0]!, /The disk is away/);
});

test('a node that lost its lease rotates nothing, and leaves nothing behind', async (t) => {
  const ring = await open(t);
  await ring.key('a', { keystore: 'file', algorithm: 'p-256' });
  await ring.key('b');
  ring.clock.advance(intervalSeconds);
  const lease = await acquireLease(ring.storage, 'job:rotating', 'ada', 10, ring.clock);
  ring.clock.advance(10);
  await acquireLease(ring.storage, 'job:rotating', 'bob', 10, ring.clock);
  assert.equal(await ring.make().run([fenceStep(ring.storage, lease!)]), 0);
  for (const name of ['a', 'b']) assert.equal(await ring.versions(name), 1);
  assert.deepEqual(await ring.storage.db.selectFrom('intent').selectAll().execute(), []);
  assert.deepEqual(ring.logged, []);
  assert.equal(await ring.run(), 2);
});

test('by a clock that cannot be trusted nothing is rotated', async (t) => {
  const ring = await open(t);
  await ring.key('a');
  ring.clock.advance(intervalSeconds);
  ring.state.isClockUnsafe = true;
  assert.equal(await ring.run(), 0);
  ring.state.isClockUnsafe = false;
  assert.equal(await ring.run(), 1);
});
