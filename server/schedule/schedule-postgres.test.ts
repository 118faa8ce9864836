import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { addMeta, eventually, metaNames, openAt } from '../storage/storage.fixture.ts';
import { fenceStep, type Storage } from '../storage/storage.ts';
import { jobLeaseSeconds, lookAgainSeconds } from './leased-job.ts';
import { asNode, countingCommits, HandTime, listeningLog } from './schedule.fixture.ts';
import { Schedule } from './schedule.ts';

let server: TestPostgres | undefined;
let databases = 0;
after(() => server?.remove());

async function open(t: TestContext): Promise<Storage | undefined> {
  server ??= startPostgres(t);
  if (server === undefined) return undefined;
  const dataFolder = mkdtempSync(join(tmpdir(), 'keyreeve-schedule-'));
  databases += 1;
  const databaseUrl = server.createDatabase(`schedule_${databases}`);
  const storage = await openAt({ dataFolder, databaseUrl });
  t.after(async () => {
    await storage.close();
    rmSync(dataFolder, { recursive: true, force: true });
  });
  return storage;
}

/** Nodes on one database and one clock; each has a timer of its own, so that it can be frozen. */
class Nodes {
  readonly time = new HandTime();
  readonly #storage: Storage;
  readonly #schedules: Schedule[] = [];

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  start(nodeId: string, storage = this.#storage) {
    const log = listeningLog();
    let isFrozen = false;
    const missed: (() => void)[] = [];
    const timer = {
      after: (milliseconds: number, run: () => void) =>
        this.time.after(milliseconds, () => (isFrozen ? missed.push(run) : run())),
    };
    const node = asNode(storage, nodeId);
    const options = { storage: node, clock: this.time, timer, random: () => 0.5, log };
    const schedule = new Schedule(options);
    this.#schedules.push(schedule);
    return {
      schedule,
      storage: node,
      log,
      /** As SIGSTOP does it, or a kill where nobody wakes it. */
      freeze: () => {
        isFrozen = true;
      },
      wake: () => {
        isFrozen = false;
        for (const run of missed.splice(0)) run();
      },
    };
  }

  advance(seconds: number): Promise<void> {
    return this.time.advance(seconds, () => this.settle());
  }

  async settle(): Promise<void> {
    await Promise.all(this.#schedules.map((schedule) => schedule.idle()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#schedules.map((schedule) => schedule.stop()));
  }
}

for (const everySeconds of [1, 10, 600]) {
  test(`work each ${everySeconds} s is done by one of two nodes at a time`, async (t) => {
    const storage = await open(t);
    if (storage === undefined) return;
    const nodes = new Nodes(storage);
    t.after(() => nodes.stop());
    const runs: [string, number][] = [];
    let atOnce = 0;
    for (const id of ['ada', 'bob']) {
      const { schedule } = nodes.start(id);
      schedule.once('sweeping', everySeconds, async () => {
        atOnce += 1;
        assert.equal(atOnce, 1);
        runs.push([id, nodes.time.now()]);
        await new Promise((resolve) => setImmediate(resolve));
        atOnce -= 1;
      });
    }
    await nodes.advance(everySeconds * 12 + 2);
    assert.ok(runs.length >= 10 && runs.length <= 13, `${runs.length} runs`);
    for (const [index, [, at]] of runs.entries()) {
      if (index > 0) assert.ok(at - runs[index - 1]![1] >= everySeconds * 1000, 'run too early');
    }
  });
}

test('where the holder is killed, another goes on when the lease ends', async (t) => {
  const storage = await open(t);
  if (storage === undefined) return;
  const nodes = new Nodes(storage);
  t.after(() => nodes.stop());
  const runs: string[] = [];
  const ada = nodes.start('ada');
  ada.schedule.once('sweeping', 1, async () => runs.push('ada'));
  await nodes.advance(5);
  const bob = nodes.start('bob');
  bob.schedule.once('sweeping', 1, async () => runs.push('bob'));
  await nodes.advance(60);
  assert.equal(runs.includes('bob'), false, 'the lease was renewed');
  ada.freeze();
  const before = runs.length;
  await nodes.advance(jobLeaseSeconds / 3);
  assert.equal(runs.length, before, 'the lease holds still');
  await nodes.advance((jobLeaseSeconds * 2) / 3 + lookAgainSeconds);
  assert.ok(runs.slice(before).length > 0);
  assert.ok(runs.slice(before).every((id) => id === 'bob'));
  // The woken node finds that it lost the lease, and lets it be.
  const woken = runs.length;
  ada.wake();
  await nodes.settle();
  await nodes.advance(20);
  assert.ok(runs.length > woken);
  assert.equal(runs.slice(woken).includes('ada'), false);
  const jobs = await ada.schedule.jobs();
  assert.equal(jobs[0]!.node, 'bob', 'the node that lost it shows who has it');
});

test('a holder that slept in the middle of its work writes nothing', async (t) => {
  const storage = await open(t);
  if (storage === undefined) return;
  const nodes = new Nodes(storage);
  t.after(() => nodes.stop());
  const { promise: asleep, resolve: wake } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const outcomes: string[] = [];
  const ada = nodes.start('ada');
  ada.schedule.once('sweeping', 1, async (lease) => {
    begin();
    await asleep;
    const steps = [fenceStep(ada.storage, lease), addMeta(ada.storage, 'by ada')];
    await ada.storage.commit({ steps, entries: [] }).catch((error: unknown) => {
      outcomes.push(isKeyreeveError(error) ? error.code : String(error));
      throw error;
    });
  });
  // The loop of ada hangs in its work from here on: nobody waits for it.
  await nodes.time.advance(1, () => nodes.settle());
  await nodes.time.advance(1, () => begun);
  const bob = nodes.start('bob');
  bob.schedule.once('sweeping', 1, async (lease) => {
    const steps = [fenceStep(bob.storage, lease)];
    await bob.storage.commit({ steps, entries: [] });
    outcomes.push('bob');
  });
  ada.freeze();
  await nodes.time.advance(jobLeaseSeconds + lookAgainSeconds + 2, () => bob.schedule.idle());
  assert.ok(outcomes.includes('bob'));
  ada.wake();
  wake();
  await nodes.settle();
  assert.ok(outcomes.includes('conflict'));
  assert.deepEqual(await metaNames(storage), []);
  // Nor does it write the row of the job: that is the other node's.
  const row = await storage.db.selectFrom('job').selectAll().executeTakeFirstOrThrow();
  assert.equal(row.node_id, 'bob');
  assert.equal(row.failures, 0);
});

test('the lease is renewed while the work runs', async (t) => {
  const storage = await open(t);
  if (storage === undefined) return;
  const nodes = new Nodes(storage);
  const { promise: working, resolve: end } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  t.after(async () => {
    end();
    await nodes.stop();
  });
  const ada = nodes.start('ada');
  ada.schedule.once('a long one', 1, () => {
    begin();
    return working;
  });
  await nodes.advance(1);
  await nodes.time.advance(1, () => begun);
  const bob = nodes.start('bob');
  let runs = 0;
  bob.schedule.once('a long one', 1, async () => runs++);
  for (let round = 0; round < 6; round++) {
    await nodes.time.advance(10, () => bob.schedule.idle());
    const isRenewed = async () => {
      const lease = await storage.db.selectFrom('lease').selectAll().executeTakeFirstOrThrow();
      return lease.holder === 'ada' && lease.expires_at > nodes.time.now() + 15_000;
    };
    await eventually(isRenewed);
  }
  assert.equal(runs, 0);
});

test('what fails on one node is tried by another, after the wait', async (t) => {
  const storage = await open(t);
  if (storage === undefined) return;
  const nodes = new Nodes(storage);
  t.after(() => nodes.stop());
  const ada = nodes.start('ada');
  ada.schedule.once('sweeping', 1, async () => {
    throw new KeyreeveError('keystore-unavailable', 'The broom is away.');
  });
  await nodes.advance(3);
  assert.ok((await ada.schedule.jobs())[0]!.failures > 0);
  const bob = nodes.start('bob');
  let runs = 0;
  bob.schedule.once('sweeping', 1, async () => runs++);
  await nodes.advance(120);
  assert.ok(runs > 0);
  const job = (await ada.schedule.jobs())[0]!;
  assert.deepEqual([job.node, job.failures, job.reason], ['bob', 0, null]);
});

test('a node that stops hands its work on at once', async (t) => {
  const storage = await open(t);
  if (storage === undefined) return;
  const nodes = new Nodes(storage);
  t.after(() => nodes.stop());
  const ada = nodes.start('ada');
  ada.schedule.once('sweeping', 1, async () => undefined);
  await nodes.advance(3);
  const bob = nodes.start('bob');
  let runs = 0;
  bob.schedule.once('sweeping', 1, async () => runs++);
  await nodes.advance(3);
  assert.equal(runs, 0);
  await ada.schedule.stop();
  await nodes.advance(lookAgainSeconds + 1);
  assert.ok(runs > 0);
});

test('two idle nodes with ten jobs write some rows a minute', async (t) => {
  const found = await open(t);
  if (found === undefined) return;
  const { storage, commits } = countingCommits(found);
  const nodes = new Nodes(storage);
  t.after(() => nodes.stop());
  for (const id of ['ada', 'bob']) {
    const { schedule } = nodes.start(id);
    for (let job = 0; job < 10; job++) schedule.once(`job ${job}`, 1, async () => undefined);
  }
  await nodes.advance(10);
  const before = commits();
  await nodes.advance(60);
  // Each lease six times and each row once: in seven groups, since they are written together.
  assert.ok(commits() - before <= 70, `${commits() - before} commits`);
});
