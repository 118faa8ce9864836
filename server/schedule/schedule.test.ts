import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { KeyreeveError } from '../base/errors.ts';
import { openAt } from '../storage/storage.fixture.ts';
import { acquireLease, type Lease, type Storage } from '../storage/storage.ts';
import { retryAfterSeconds, retryCeilingSeconds } from './backoff.ts';
import { asNode, countingCommits, HandTime, listeningLog } from './schedule.fixture.ts';
import { Schedule } from './schedule.ts';

async function open(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-schedule-'));
  const storage = await openAt({ dataFolder: folder });
  t.after(async () => {
    await storage.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return storage;
}

function begin(storage: Storage, time = new HandTime(), random = () => 0.5) {
  const log = listeningLog();
  const schedule = new Schedule({ storage, clock: time, timer: time, random, log });
  const advance = (seconds: number) => time.advance(seconds, () => schedule.idle());
  return { schedule, time, log, advance };
}

test('work of every node and of one node runs after each interval', async (t) => {
  const { schedule, advance } = begin(await open(t));
  const runs = { everywhere: 0, once: 0 };
  schedule.everywhere('looking at the clock', 10, async () => runs.everywhere++);
  schedule.once('forgetting', 10, async () => runs.once++);
  await advance(9.999);
  assert.deepEqual(runs, { everywhere: 0, once: 0 });
  await advance(20);
  assert.deepEqual(runs, { everywhere: 2, once: 2 });
  await schedule.stop();
  await advance(100);
  assert.deepEqual(runs, { everywhere: 2, once: 2 });
});

test('work that takes longer than its interval never runs twice at a time', async (t) => {
  const { schedule, time, advance } = begin(await open(t));
  const { promise, resolve } = Promise.withResolvers<void>();
  let runs = 0;
  schedule.everywhere('a long one', 1, () => {
    runs += 1;
    return promise;
  });
  await time.advance(50, async () => undefined);
  assert.equal(runs, 1);
  resolve();
  await schedule.idle();
  await advance(1);
  assert.equal(runs, 2);
  await schedule.stop();
});

test('stopping waits for what runs', async (t) => {
  const { schedule, time } = begin(await open(t));
  const { promise, resolve } = Promise.withResolvers<void>();
  let isStopped = false;
  schedule.everywhere('a long one', 1, () => promise);
  await time.advance(1, async () => undefined);
  const stopped = schedule.stop().then(() => {
    isStopped = true;
  });
  await new Promise((done) => setImmediate(done));
  assert.equal(isStopped, false);
  resolve();
  await stopped;
});

test('each failure doubles the ceiling of the wait, up to a limit, and a success ends it', async (t) => {
  const { schedule, time, log, advance } = begin(await open(t), new HandTime(), () => 0.999_999);
  const tries: number[] = [];
  let isBroken = true;
  const start = time.now();
  schedule.once('sweeping', 10, async () => {
    tries.push(Math.round((time.now() - start) / 1000));
    if (isBroken) throw new KeyreeveError('keystore-unavailable', 'The broom is away.');
  });
  await advance(330);
  // After 2, 4, 8, 16, 32 and 64 seconds, and then every ten intervals.
  assert.deepEqual(tries, [11, 13, 17, 25, 41, 73, 137, 237]);
  const failing = (await schedule.jobs())[0]!;
  assert.equal(failing.failures, 8);
  assert.equal(failing.reason, 'The broom is away.');
  assert.equal(failing.succeededAt, null);
  assert.deepEqual(
    log.lines.map(({ level, message }) => [level, message]),
    [['error', 'sweeping failed']],
  );
  isBroken = false;
  await advance(10);
  assert.equal(tries.length, 9);
  const [working] = await schedule.jobs();
  assert.deepEqual([working!.failures, working!.reason], [0, null]);
  assert.equal(log.lines.at(-1)!.message, 'sweeping works again');
  await advance(10);
  assert.equal(tries.length, 10);
  await schedule.stop();
});

test('a failure is logged once for each reason, and what is not an error of ours to the log alone', async (t) => {
  const { schedule, log, advance } = begin(await open(t));
  const reasons = ['first', 'first', 'secret', 'secret'];
  schedule.everywhere('sweeping', 1, async () => {
    const reason = reasons.shift();
    if (reason === 'first') throw new KeyreeveError('keystore-unavailable', 'first');
    if (reason === 'secret') throw new Error('secret');
  });
  await advance(1 + 1 + 2 + 4);
  assert.equal(log.lines.filter(({ level }) => level === 'error').length, 2);
  const [job] = await schedule.jobs();
  assert.equal(job!.failures, 4);
  assert.doesNotMatch(job!.reason!, /secret/);
  await schedule.stop();
});

test('the wait after a failure is jittered over the whole of its ceiling', () => {
  assert.equal(retryAfterSeconds(1, 3600, 0.5), 1);
  assert.equal(retryAfterSeconds(5, 3600, 0.5), 16);
  assert.equal(retryAfterSeconds(5, 3600, 0.25), 8);
  assert.equal(retryAfterSeconds(5, 3600, 0), 0.5);
  assert.equal(retryAfterSeconds(10_000, 3600, 0.5), 450);
  assert.deepEqual([1, 10, 3600].map(retryCeilingSeconds), [15, 100, 900]);
});

test('work each second costs one commit a minute where nothing changes', async (t) => {
  const { storage, commits } = countingCommits(await open(t));
  const { schedule, advance } = begin(storage);
  let runs = 0;
  schedule.once('publishing', 1, async () => runs++);
  await advance(10);
  assert.ok(runs > 5);
  const before = commits();
  assert.equal(before, 2, 'a lease and a row');
  await advance(600);
  assert.ok(runs > 600);
  assert.ok(commits() - before <= 10, `${commits() - before} commits`);
  const [row] = await storage.db.selectFrom('job').selectAll().execute();
  assert.equal(row!.name, 'publishing');
  assert.equal(row!.node_id, storage.nodeId);
  assert.equal(row!.failures, 0);
  await schedule.stop();
});

test('a restart does not put off what is due, and remembers failures', async (t) => {
  const storage = await open(t);
  const { schedule, time, advance } = begin(storage);
  schedule.once('sweeping daily', 86_400, async () => undefined);
  await advance(86_401);
  await schedule.stop();
  let runs = 0;
  const second = begin(asNode(storage, 'nod_second'), time);
  second.schedule.once('sweeping daily', 86_400, async () => {
    runs += 1;
    throw new KeyreeveError('keystore-unavailable', 'The broom is away.');
  });
  await second.advance(86_399);
  assert.equal(runs, 0);
  await second.advance(1);
  assert.equal(runs, 1);
  await second.schedule.stop();
  const third = begin(asNode(storage, 'nod_third'), time);
  third.schedule.once('sweeping daily', 86_400, async () => undefined);
  assert.equal((await third.schedule.jobs())[0]!.failures, 1);
  await third.advance(10);
  assert.equal((await third.schedule.jobs())[0]!.failures, 0);
  await third.schedule.stop();
});

test('a clock that went back keeps no work waiting longer than its interval', async (t) => {
  const storage = await open(t);
  const next_at = new HandTime().now() + 365 * 86_400_000;
  const row = { name: 'sweeping', node_id: 'nod_other', started_at: 1, ended_at: 2 };
  const query = storage.db
    .insertInto('job')
    .values({ ...row, succeeded_at: 2, next_at, failures: 0, reason: null })
    .compile();
  await storage.commit({ steps: [{ query }], entries: [] });
  const { schedule, advance } = begin(storage);
  let runs = 0;
  schedule.once('sweeping', 600, async () => runs++);
  await advance(601);
  assert.equal(runs, 0);
  await advance(300);
  assert.equal(runs, 1);
  await schedule.stop();
});

test('the lease that work is given is the one in force', async (t) => {
  const storage = await open(t);
  const { schedule, time, advance } = begin(storage);
  const leases: Lease[] = [];
  schedule.once('sweeping', 1, async (lease) => leases.push(lease));
  await advance(3);
  assert.equal(leases.length, 2);
  assert.equal(leases[0]!.name, 'job:sweeping');
  const row = await storage.db.selectFrom('lease').selectAll().executeTakeFirstOrThrow();
  assert.equal(row.fence, leases.at(-1)!.fence);
  assert.equal(await acquireLease(storage, 'job:sweeping', 'other', 30, time), undefined);
  await schedule.stop();
});

test('two jobs of one name are refused', async (t) => {
  const { schedule } = begin(await open(t));
  t.after(() => schedule.stop());
  schedule.once('sweeping', 1, async () => undefined);
  assert.throws(() => schedule.everywhere('sweeping', 1, async () => undefined), /two jobs/);
});

/** What the record was told, as the names of actions, outcomes and jobs. */
async function told(storage: Storage): Promise<(string | undefined)[][]> {
  const rows = await storage.db.selectFrom('entry_tail').select('opening').orderBy('id').execute();
  return rows
    .map(({ opening }) => JSON.parse(Buffer.from(opening).toString('utf8')))
    .map(({ action, outcome, resource }) => [action, outcome, resource]);
}

for (const kind of ['once', 'everywhere'] as const) {
  test(`work (${kind}) that fails three times is on the record once, and once when it goes well`, async (t) => {
    const storage = await open(t);
    const { schedule, advance } = begin(storage);
    t.after(() => schedule.stop());
    let failing = 2;
    schedule[kind]('sweeping', 1, async () => {
      failing -= 1;
      if (failing >= 0) throw new KeyreeveError('keystore-unavailable', 'The broom is away.');
    });
    await advance(20);
    assert.deepEqual(await told(storage), [], 'twice is nothing');
    failing = 5;
    await advance(100);
    assert.deepEqual(await told(storage), [
      ['job.failing', 'keystore-unavailable', 'sweeping'],
      ['job.recovered', 'ok', 'sweeping'],
    ]);
  });
}

test('of faults of the database the record is not told by each job', async (t) => {
  const storage = await open(t);
  const { schedule, advance } = begin(storage);
  t.after(() => schedule.stop());
  let isAway = true;
  schedule.everywhere('sweeping', 1, async () => {
    if (isAway) throw new KeyreeveError('storage-unavailable', 'The database is away.');
  });
  await advance(100);
  const [job] = await schedule.jobs();
  assert.ok(job!.failures > 3);
  isAway = false;
  await advance(20);
  assert.deepEqual(await told(storage), []);
});

test('what the record could not be told is told later', async (t) => {
  const storage = await open(t);
  let isFull = true;
  const commit: Storage['commit'] = async (write) => {
    if (isFull && write.entries.length > 0) throw new KeyreeveError('storage-full', 'Full.');
    return storage.commit(write);
  };
  const { schedule, advance } = begin(Object.create(storage, { commit: { value: commit } }));
  t.after(() => schedule.stop());
  schedule.once('sweeping', 1, async () => {
    throw new KeyreeveError('keystore-unavailable', 'The broom is away.');
  });
  await advance(60);
  assert.deepEqual(await told(storage), []);
  isFull = false;
  await advance(60);
  assert.deepEqual(await told(storage), [['job.failing', 'keystore-unavailable', 'sweeping']]);
});

test('what other parts repeat is shown with the rest, and counted', async (t) => {
  const { schedule, time, advance } = begin(await open(t));
  t.after(() => schedule.stop());
  schedule.show('publishing checkpoints', 60, () => ({
    succeededAt: time.now() - 5000,
    failures: 1,
    reason: 'The folder is away.',
  }));
  schedule.once('sweeping', 1, async () => undefined);
  schedule.once('never yet', 600, async () => undefined);
  await advance(10);
  const jobs = await schedule.jobs();
  assert.deepEqual(
    jobs.map(({ name }) => name),
    ['never yet', 'publishing checkpoints', 'sweeping'],
  );
  assert.equal(jobs[1]!.reason, 'The folder is away.');
  const [failures, ages] = await schedule.samples();
  assert.deepEqual(
    failures!.values.map(({ value }) => value),
    [0, 1, 0],
  );
  assert.deepEqual(
    ages!.values.map(({ labels, value }) => [labels!.job, value]),
    [
      ['publishing checkpoints', 5],
      ['sweeping', 0],
    ],
  );
});
