import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import { isKeyreeveError } from '../base/errors.ts';
import { waitingWritesLimit } from './commit-queue.ts';
import {
  addMeta,
  entry,
  eventually,
  metaNames,
  openAt,
  type Place,
  setMeta,
  tailDetails,
} from './storage.fixture.ts';
import { type Storage, tableNames } from './storage.ts';

/** One kind of database: what the suite needs to know of it. */
export interface SuiteEngine {
  readonly name: string;
  /** How many processes may serve one place at once. */
  readonly serves: 'one' | 'many';
  /** A new empty place. */
  place(): Place;
  /** Takes the database of a place away, and gives it back. */
  lose(place: Place): void;
  giveBack(place: Place): void;
}

export const hasCode = (code: string) => (error: unknown) => isKeyreeveError(error, code as never);

/** A storage at a new place, closed when the test ends. */
export async function freshStorage(t: TestContext, engine: SuiteEngine): Promise<Storage> {
  const storage = await openAt(engine.place());
  t.after(() => storage.close());
  return storage;
}

/** The rules of `commit`, the same for every kind of database. */
export function storageSuite(engine: SuiteEngine): void {
  const name = (rule: string) => `${engine.name}: ${rule}`;
  commitRules(engine, name);
  groupRules(engine, name);
  epochRules(engine, name);

  test(name('a lost database is refused quickly, and served again when it is back'), async (t) => {
    const place = engine.place();
    const storage = await openAt(place);
    t.after(() => storage.close());
    await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
    engine.lose(place);
    const started = performance.now();
    await assert.rejects(
      storage.commit({ steps: [addMeta(storage, 'lost')], entries: [entry()] }),
      hasCode('storage-unavailable'),
    );
    await assert.rejects(metaNames(storage), hasCode('storage-unavailable'));
    assert.ok(performance.now() - started < 4000, 'the refusals took too long');
    assert.equal(storage.health().ready, false);
    assert.match(storage.health().reason ?? '', /database/);
    engine.giveBack(place);
    await eventually(() => storage.health().ready);
    await storage.commit({ steps: [addMeta(storage, 'after')], entries: [] });
    assert.deepEqual(await metaNames(storage), ['after', 'before']);
  });
}

function commitRules(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('a fresh database has every table'), async (t) => {
    const storage = await freshStorage(t, engine);
    for (const table of tableNames) {
      await storage.db.selectFrom(table).selectAll().limit(1).execute();
    }
    assert.deepEqual(storage.health(), { ready: true, reason: undefined, waiting: 0 });
  });

  test(name('a write is done whole, with its entries and messages'), async (t) => {
    const storage = await freshStorage(t, engine);
    await storage.commit({
      steps: [addMeta(storage, 'one'), setMeta(storage, 'one', 'changed')],
      entries: [entry('first'), entry('second')],
      outbox: [{ topic: 'webhook', payload: '{}' }],
    });
    const row = await storage.db.selectFrom('meta').selectAll().executeTakeFirstOrThrow();
    assert.deepEqual({ ...row }, { name: 'one', value: 'changed' });
    assert.deepEqual(await tailDetails(storage), ['first', 'second']);
    const messages = await storage.db.selectFrom('outbox').select('topic').execute();
    assert.equal(messages.length, 1);
  });

  test(name('a broken expectation undoes all of its write'), async (t) => {
    const storage = await freshStorage(t, engine);
    const refused = storage.commit({
      steps: [addMeta(storage, 'one'), setMeta(storage, 'absent', 'x'), addMeta(storage, 'two')],
      entries: [entry('refused')],
      outbox: [{ topic: 'webhook', payload: '{}' }],
      raisesEpoch: true,
    });
    await assert.rejects(refused, (error) => {
      assert.ok(isKeyreeveError(error, 'not-found'));
      assert.equal(error.message, 'absent is not there');
      return true;
    });
    assert.deepEqual(await metaNames(storage), []);
    assert.deepEqual(await tailDetails(storage), []);
    assert.deepEqual(await storage.db.selectFrom('outbox').select('id').execute(), []);
    assert.equal(storage.epoch, 0);
  });

  test(name('a step may demand that a row is there, or is not'), async (t) => {
    const storage = await freshStorage(t, engine);
    const query = storage.db.selectFrom('meta').select('name').where('name', '=', 'a').compile();
    const demand = (rows: number) =>
      ({ query, expect: { rows, code: 'conflict', message: 'not as it was' } }) as const;
    await storage.commit({ steps: [demand(0), addMeta(storage, 'a'), demand(1)], entries: [] });
    await assert.rejects(storage.commit({ steps: [demand(0)], entries: [] }), hasCode('conflict'));
  });

  test(name('broken constraints carry the code of their step'), async (t) => {
    const storage = await freshStorage(t, engine);
    await storage.commit({ steps: [addMeta(storage, 'one')], entries: [] });
    const again = addMeta(storage, 'one');
    await assert.rejects(
      storage.commit({ steps: [again], entries: [] }),
      hasCode('already-exists'),
    );
    const bare = { query: again.query };
    await assert.rejects(storage.commit({ steps: [bare], entries: [] }), hasCode('conflict'));
    const orphan = storage.db
      .insertInto('token')
      .values({
        id: 'tok_1',
        principal_id: 'nobody',
        hash: new Uint8Array(32),
        label: '',
        scope_json: '{}',
        created_at: 1,
        created_by: 'nobody',
        parent_id: null,
        expires_at: 2,
        revoked_at: null,
      })
      .compile();
    const expect = { rows: 1, code: 'not-found', message: 'no such principal' } as const;
    await assert.rejects(
      storage.commit({ steps: [{ query: orphan, expect }], entries: [] }),
      hasCode('not-found'),
    );
  });

  test(name('bytes, nulls and large numbers come back as they went in'), async (t) => {
    const storage = await freshStorage(t, engine);
    const whole = Buffer.from('....the bytes....');
    const row = {
      number: Number.MAX_SAFE_INTEGER,
      width: 3,
      leaves: whole.subarray(4, 13),
      openings: null,
      first_time: 1_900_000_000_000,
      last_time: 0,
    };
    const query = storage.db.insertInto('bundle').values(row).compile();
    await storage.commit({ steps: [{ query }], entries: [] });
    const found = await storage.db.selectFrom('bundle').selectAll().executeTakeFirstOrThrow();
    assert.equal(Buffer.from(found.leaves).toString(), 'the bytes');
    assert.deepEqual({ ...found, leaves: row.leaves }, row);
    const count = await storage.db
      .selectFrom('bundle')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    assert.strictEqual(count.count, 1);
  });

  test(name('reads refuse to write'), async (t) => {
    const storage = await freshStorage(t, engine);
    const { db } = storage;
    const insert = db.insertInto('meta').values({ name: 'sly', value: 'x' });
    await assert.rejects(insert.execute(), hasCode('internal'));
    const raw = sql`DELETE FROM epoch RETURNING value`;
    await assert.rejects(raw.execute(db), hasCode('internal'));
    await assert.rejects(
      db.transaction().execute(async () => {}),
      hasCode('internal'),
    );
    await assert.rejects(
      storage.snapshot((snapshot) => raw.execute(snapshot)),
      hasCode('internal'),
    );
    assert.deepEqual(await metaNames(storage), []);
  });
}

function groupRules(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('a refused write leaves the others of its group alone'), async (t) => {
    const storage = await freshStorage(t, engine);
    const outcomes = await Promise.allSettled([
      storage.commit({ steps: [addMeta(storage, 'one')], entries: [entry('one')] }),
      storage.commit({ steps: [addMeta(storage, 'one')], entries: [entry('again')] }),
      storage.commit({ steps: [], entries: [entry('refuse')] }),
      storage.commit({ steps: [{ query: sql`SELEC`.compile(storage.db) }], entries: [entry('?')] }),
      storage.commit({ steps: [addMeta(storage, 'two')], entries: [entry('two')] }),
    ]);
    assert.deepEqual(
      outcomes.map((outcome) =>
        outcome.status === 'fulfilled' ? 'done' : (outcome.reason as { code: string }).code,
      ),
      ['done', 'already-exists', 'internal', 'internal', 'done'],
    );
    assert.deepEqual(await metaNames(storage), ['one', 'two']);
    assert.deepEqual(await tailDetails(storage), ['one', 'two']);
    assert.ok(storage.health().ready);
  });

  test(name('entries are recorded in the order of their commits'), async (t) => {
    const storage = await freshStorage(t, engine);
    const details = Array.from({ length: 1200 }, (_, index) => String(index));
    await Promise.all(
      details.map((detail) => storage.commit({ steps: [], entries: [entry(detail)] })),
    );
    assert.deepEqual(await tailDetails(storage), details);
  });

  test(name('more writes than may wait are refused at once'), async (t) => {
    const storage = await freshStorage(t, engine);
    const write = { steps: [], entries: [entry()] };
    const accepted = Array.from({ length: waitingWritesLimit }, () => storage.commit(write));
    assert.equal(storage.health().waiting, waitingWritesLimit);
    await assert.rejects(storage.commit(write), hasCode('overloaded'));
    await Promise.all(accepted);
    await storage.commit(write);
  });

  test(name('closing waits for what is under way and refuses what comes after'), async () => {
    const place = engine.place();
    const storage = await openAt(place);
    const last = Promise.all(
      ['a', 'b', 'c'].map((one) => storage.commit({ steps: [addMeta(storage, one)], entries: [] })),
    );
    const closed = storage.close();
    await assert.rejects(storage.commit({ steps: [], entries: [] }), hasCode('shutting-down'));
    await last;
    await closed;
    const again = await openAt(place);
    assert.deepEqual(await metaNames(again), ['a', 'b', 'c']);
    await again.close();
  });
}

function epochRules(engine: SuiteEngine, name: (rule: string) => string): void {
  test(name('a change raises the epoch, which listeners hear before its answer'), async (t) => {
    const storage = await freshStorage(t, engine);
    const heard: string[] = [];
    storage.onEpoch((epoch) => heard.push(`epoch ${epoch}`));
    storage.onEpoch(() => {
      throw new Error('a listener that fails is not the business of the others');
    });
    storage.onEpoch((epoch) => heard.push(`again ${epoch}`));
    const use = await storage.commit({ steps: [], entries: [entry()] });
    assert.equal(use.epoch, 0);
    const change = storage.commit({
      steps: [addMeta(storage, 'one')],
      entries: [],
      raisesEpoch: true,
    });
    // With a step, so that it is of the same group wherever uses have groups of their own.
    const together = storage.commit({ steps: [addMeta(storage, 'two')], entries: [entry()] });
    const answers = await Promise.all(
      [change, together].map((answer) => answer.then(({ epoch }) => heard.push(`answer ${epoch}`))),
    );
    assert.equal(answers.length, 2);
    assert.deepEqual(heard, ['epoch 1', 'again 1', 'answer 1', 'answer 1']);
    assert.equal(storage.epoch, 1);
  });

  test(name('the epoch outlives the process'), async () => {
    const place = engine.place();
    const first = await openAt(place);
    await first.commit({ steps: [], entries: [], raisesEpoch: true });
    await first.close();
    const second = await openAt(place);
    assert.equal(second.epoch, 1);
    await second.close();
  });
}
