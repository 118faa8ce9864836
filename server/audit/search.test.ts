import assert from 'node:assert/strict';
import type { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { systemClock } from '../base/clock.ts';
import { type Bench, makeBench, makeDraft } from './audit.fixture.ts';
import { callTerm, hasCallTerm } from './index-terms.ts';
import { encodeEntry } from './leaf.ts';
import { emptyEdge, place } from './placement.ts';
import { type SearchQuery, searchRecord } from './search.ts';

const correlationId = 'req_wanted';
const bundlesOfAMillionEntries = 4000;

async function idsOf({ record }: Bench, query: SearchQuery): Promise<(string | undefined)[]> {
  const ids: (string | undefined)[] = [];
  let after: string | undefined;
  do {
    const page = await record.search({ ...query, ...(after && { after }) });
    ids.push(...page.entries.map((entry) => entry.fields.id));
    after = page.next;
  } while (after !== undefined);
  return ids;
}

test('the entries of a request are found in every bundle, and with other conditions', async (t) => {
  const bench = await makeBench(t);
  const key = { correlationId, keyId: 'key_one' };
  const principal = { correlationId, principalId: 'prn_one' };
  const wanted: string[] = [];
  for (const fields of [key, principal, { ...key, ...principal }, key]) {
    await bench.add(200);
    wanted.unshift((await bench.add(1, fields))[0]!.id);
  }
  const [newest, both, ofPrincipal, oldest] = wanted;
  assert.deepEqual(await idsOf(bench, { correlationId }), wanted);
  assert.deepEqual(await idsOf(bench, { correlationId, limit: 1 }), wanted);
  assert.deepEqual(await idsOf(bench, key), [newest, both, oldest]);
  assert.deepEqual(await idsOf(bench, principal), [both, ofPrincipal]);
  assert.deepEqual(await idsOf(bench, { ...key, ...principal }), [both]);
  assert.deepEqual(await idsOf(bench, { ...key, keyName: 'absent' }), []);
  assert.deepEqual(await idsOf(bench, { correlationId, action: 'key.destroy' }), []);
  assert.deepEqual(await idsOf(bench, { correlationId: 'req_absent' }), []);
});

test('the entries of a request are found by time', async (t) => {
  const bench = await makeBench(t);
  const times = [1, 2, 3].map((day) => `2026-01-0${day}T00:00:00.000Z`);
  const ids: string[] = [];
  for (const time of times) {
    await bench.add(300, { time });
    ids.push((await bench.add(1, { time, correlationId }))[0]!.id);
  }
  const since = Date.parse(times[1]!);
  const until = Date.parse(times[2]!);
  assert.deepEqual(await idsOf(bench, { correlationId, since }), [ids[2], ids[1]]);
  assert.deepEqual(await idsOf(bench, { correlationId, until }), [ids[1], ids[0]]);
  assert.deepEqual(await idsOf(bench, { correlationId, since, until }), [ids[1]]);
});

test('a bundle that grows over a restart keeps what stands for each of its requests', async (t) => {
  let bench = await makeBench(t);
  const drafts = await bench.add(100);
  bench = await bench.reopen();
  drafts.push(...(await bench.add(200)));
  // The first entry of a log is about no request.
  const terms = [Buffer.alloc(8), ...drafts.map((draft) => callTerm(draft.correlationId!))];
  await bench.record.sequenceNow();
  const rows = await bench.storage.db.selectFrom('bundle_call').selectAll().execute();
  const expected = [terms.slice(0, 256), terms.slice(256)].map((list) => Buffer.concat(list));
  assert.deepEqual(
    rows.map((row) => [row.number, Buffer.from(row.terms)]),
    [...expected.entries()],
  );
  for (const index of [0, 99, 100, 254, 255, 299]) {
    const { id, correlationId: wanted } = drafts[index]!;
    assert.deepEqual(await idsOf(bench, { correlationId: wanted! }), [id]);
  }
});

test('a request costs no index row of its own', async (t) => {
  const bench = await makeBench(t);
  await bench.add(500);
  await bench.record.sequenceNow();
  const rows = await bench.storage.db.selectFrom('bundle_term').select('bundle').execute();
  // One principal, one name of a key and ten keys, in two bundles.
  assert.equal(rows.length, 2 * 12);
});

test('an index that names a request wrongly finds nothing', async (t) => {
  const first = await makeBench(t);
  await first.add(300);
  await first.record.sequenceNow();
  const bench = await first.reopen((database) => {
    const terms = Buffer.concat([Buffer.alloc(80, 7), callTerm(correlationId)]);
    database.prepare('UPDATE "bundle_call" SET "terms" = ? WHERE "number" = 0').run(terms);
  });
  assert.deepEqual(await idsOf(bench, { correlationId }), []);
});

test('what stands for a request is found at the place of an entry only', () => {
  const term = callTerm(correlationId);
  const filler = Buffer.alloc(8, term[0]);
  assert.ok(hasCallTerm(Buffer.concat([filler, filler, term]), term));
  assert.ok(!hasCallTerm(Buffer.concat([filler, filler]), term));
  const shifted = [filler.subarray(0, 3), term, filler.subarray(0, 5)];
  assert.ok(!hasCallTerm(Buffer.concat(shifted), term));
  assert.ok(hasCallTerm(Buffer.concat([...shifted, term]), term));
});

/** Full bundles of which only the first is there, with one entry; the others have an index alone. */
function pretend(database: DatabaseSync, bundles: number): void {
  const entry = encodeEntry(makeDraft(0, systemClock, { correlationId }));
  const { bundles: rows, calls } = place(emptyEdge(), [entry], 0);
  const { number, width, leaves, openings, first_time, last_time } = rows[0]!;
  database
    .prepare(
      `INSERT INTO "bundle" ("number", "width", "leaves", "openings", "first_time", "last_time")
       VALUES (?, ?, ?, ?, ?, ?)`,
    )
    .run(number, width, leaves, openings, first_time, last_time);
  const insert = database.prepare('INSERT INTO "bundle_call" ("number", "terms") VALUES (?, ?)');
  insert.run(number, calls[0]!.terms);
  database.exec('BEGIN');
  for (let other = 1; other < bundles; other++) insert.run(other, Buffer.alloc(2048, 1));
  database.exec('COMMIT');
  database
    .prepare('INSERT INTO "tree" VALUES (1, ?, ?, ?, ?)')
    .run(bundles * 256, 'origin', 'checkpoint', 0);
}

test('one search for a request looks through a million entries', async (t) => {
  const first = await makeBench(t, { start: false });
  const { storage } = await first.reopen((database) => {
    pretend(database, bundlesOfAMillionEntries);
  });
  const { entries, next } = await searchRecord(storage.db, { correlationId });
  assert.deepEqual([entries.map((entry) => entry.place), next], [[0], undefined]);
});

test('a search for a request through more stops on the way and goes on from there', async (t) => {
  const first = await makeBench(t, { start: false });
  const { storage } = await first.reopen((database) => {
    pretend(database, 3 * bundlesOfAMillionEntries);
  });
  const { entries, next } = await searchRecord(storage.db, { correlationId });
  assert.deepEqual(entries, []);
  assert.ok(next !== undefined);
  const rest = await searchRecord(storage.db, { correlationId, after: next });
  assert.deepEqual([rest.entries.map((entry) => entry.place), rest.next], [[0], undefined]);
});
