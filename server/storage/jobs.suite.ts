import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../base/clock.ts';
import { addMeta, entry, metaNames } from './storage.fixture.ts';
import { freshStorage, hasCode, type SuiteEngine } from './storage.suite.ts';
import { acquireLease, fenceStep, releaseLease, renewLease } from './storage.ts';

const snapshotLimit = 4;
const ttlSeconds = 10;

/** A clock that stands still until it is moved. */
function handClock(): Clock & { advance(seconds: number): void } {
  let now = 1_900_000_000_000;
  return {
    now: () => now,
    monotonic: () => now,
    advance(seconds) {
      now += seconds * 1000;
    },
  };
}

/** What is built on commits: leases, snapshots. */
export function jobsSuite(engine: SuiteEngine): void {
  const name = (rule: string) => `${engine.name}: ${rule}`;
  leaseRules(engine, name);
  snapshotRules(engine, name);
}

function leaseRules(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('of many who reach for a lease one gets it'), async (t) => {
    const storage = await freshStorage(t, engine);
    const clock = handClock();
    for (let round = 1; round <= 3; round++) {
      const taken = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          acquireLease(storage, 'sequencer', `node-${round}-${index}`, ttlSeconds, clock),
        ),
      );
      const leases = taken.filter((lease) => lease !== undefined);
      assert.equal(leases.length, 1);
      assert.equal(leases[0]!.fence, round);
      clock.advance(ttlSeconds);
    }
  });

  test(name('a lease is held until its end, longer when renewed'), async (t) => {
    const storage = await freshStorage(t, engine);
    const clock = handClock();
    const ada = await acquireLease(storage, 'job', 'ada', ttlSeconds, clock);
    clock.advance(ttlSeconds - 0.001);
    assert.equal(await acquireLease(storage, 'job', 'bob', ttlSeconds, clock), undefined);
    const renewed = await renewLease(storage, ada!, ttlSeconds, clock);
    clock.advance(ttlSeconds - 0.001);
    assert.equal(await acquireLease(storage, 'job', 'bob', ttlSeconds, clock), undefined);
    await releaseLease(storage, renewed!);
    const bob = await acquireLease(storage, 'job', 'bob', ttlSeconds, clock);
    assert.equal(bob?.fence, 2);
    assert.equal(await renewLease(storage, renewed!, ttlSeconds, clock), undefined);
  });

  test(name('a write under a lease that was lost is refused'), async (t) => {
    const storage = await freshStorage(t, engine);
    const clock = handClock();
    const ada = await acquireLease(storage, 'job', 'ada', ttlSeconds, clock);
    const work = (step: string) => ({
      steps: [fenceStep(storage, ada!), addMeta(storage, step)],
      entries: [],
    });
    await storage.commit(work('held'));
    clock.advance(ttlSeconds);
    await storage.commit(work('ended, but not yet taken by another'));
    await acquireLease(storage, 'job', 'bob', ttlSeconds, clock);
    await assert.rejects(storage.commit(work('lost')), hasCode('conflict'));
    assert.equal((await metaNames(storage)).includes('lost'), false);
  });
}

function snapshotRules(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('a snapshot shows one state while writes go on'), async (t) => {
    const storage = await freshStorage(t, engine);
    await storage.commit({ steps: [addMeta(storage, 'old')], entries: [entry()] });
    await storage.snapshot(async (db) => {
      await storage.commit({ steps: [addMeta(storage, 'new')], entries: [entry()] });
      const names = await db.selectFrom('meta').select('name').execute();
      assert.deepEqual(
        names.map((row) => row.name),
        ['old'],
      );
      assert.equal((await db.selectFrom('entry_tail').select('id').execute()).length, 1);
      assert.deepEqual(await metaNames(storage), ['new', 'old']);
    });
  });

  test(name('a snapshot streams a large table in pages'), async (t) => {
    const storage = await freshStorage(t, engine);
    const count = 2050;
    await Promise.all(
      Array.from({ length: count }, () => storage.commit({ steps: [], entries: [entry()] })),
    );
    await storage.snapshot(async (db) => {
      const query = db.selectFrom('entry_tail').select('id').where('id', '>', 0).orderBy('id');
      const ids: number[] = [];
      for await (const { id } of query.stream(100)) ids.push(id);
      assert.equal(ids.length, count);
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => a - b),
      );
      for await (const _ of query.stream(100)) break;
      assert.equal((await query.limit(3).execute()).length, 3);
    });
    const stream = storage.db.selectFrom('entry_tail').select('id').stream(10);
    await assert.rejects(stream.next(), hasCode('internal'));
  });

  test(name('more snapshots than may be open are refused'), async (t) => {
    const storage = await freshStorage(t, engine);
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const open = Array.from({ length: snapshotLimit }, () => storage.snapshot(() => held));
    await assert.rejects(
      storage.snapshot(async () => {}),
      hasCode('overloaded'),
    );
    release();
    await Promise.all(open);
    await storage.snapshot(async () => {});
  });
}
