import assert from 'node:assert/strict';
import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { installationId, makeBench, testSealer } from './audit.fixture.ts';
import { createRecord } from './audit.ts';
import { openCheckpoint, parseVerifiers } from './note.ts';
import { publishedFolder, readPublished, thinPublished } from './publish.ts';
import { hashLeaf, verifyConsistency, verifyInclusion } from './tree.ts';

test('a new log begins with an entry that says so, under a signed checkpoint', async (t) => {
  const { record } = await makeBench(t);
  const note = await record.checkpoint();
  const checkpoint = openCheckpoint(note, parseVerifiers((await record.keyLines()).join('\n')));
  assert.equal(checkpoint.size, 1);
  assert.match(checkpoint.origin, /^keyreeve\.local\/ins_a{26}\/1-[0-9a-f]{6}$/);
  const { fields } = await record.entry(0);
  assert.equal(fields?.action, 'log.started');
});

test('entries get their place within a second, in the order of their commits', async (t) => {
  const { record, storage, add } = await makeBench(t);
  const drafts = await add(700);
  await sleep(1000);
  const left = await storage.db.selectFrom('entry_tail').select('id').execute();
  assert.equal(left.length, 0);
  for (const place of [1, 255, 256, 512, 700]) {
    assert.equal((await record.entry(place)).fields?.id, drafts[place - 1]!.id);
  }
});

test('the proof of an entry verifies against the checkpoint', async (t) => {
  const { record, add } = await makeBench(t);
  await add(300);
  await record.sequenceNow();
  const verifiers = parseVerifiers((await record.keyLines()).join('\n'));
  for (const place of [0, 17, 299]) {
    const { leaf, proof, checkpoint } = await record.entry(place);
    const { size, root } = openCheckpoint(checkpoint, verifiers);
    assert.ok(verifyInclusion(place, size, hashLeaf(leaf), proof, root));
  }
  await assert.rejects(record.entry(301), { code: 'not-found' });
  await assert.rejects(record.entry(-1), { code: 'not-found' });
});

test('each checkpoint continues the one before', async (t) => {
  const { record, add } = await makeBench(t);
  const verifiers = parseVerifiers((await record.keyLines()).join('\n'));
  let before = openCheckpoint(await record.checkpoint(), verifiers);
  for (const count of [1, 5, 249, 1, 1, 300, 700]) {
    await add(count);
    await record.sequenceNow();
    const now = openCheckpoint(await record.checkpoint(), verifiers);
    assert.equal(now.size, before.size + count);
    const proof = await record.consistencyProof(before.size, now.size);
    assert.ok(verifyConsistency(before.size, now.size, before.root, now.root, proof));
    before = now;
  }
});

test('the record goes on after a restart as if there had been none', async (t) => {
  const bench = await makeBench(t);
  await bench.add(300);
  const again = await bench.reopen();
  await again.add(300);
  await again.record.sequenceNow();
  const result = await again.record.verify();
  assert.deepEqual([result.ok, result.size, result.problems], [true, 601, []]);
});

test('two records on one database never give a place twice', async (t) => {
  const { record, storage, add } = await makeBench(t);
  const options = { storage, installationId, sealer: testSealer, checkpointFolder: undefined };
  const clock = { now: () => Date.now(), monotonic: () => performance.now() };
  const other = createRecord({ ...options, clock, holder: 'other' });
  await Promise.all([record.sequenceNow(), other.sequenceNow(), add(500), other.sequenceNow()]);
  await Promise.all([record.sequenceNow(), other.sequenceNow()]);
  await other.stop();
  await record.sequenceNow();
  const result = await record.verify();
  assert.deepEqual([result.ok, result.size], [true, 501]);
});

test('where two believe that they hold the lease, no place is given twice', async (t) => {
  const { record, storage, add } = await makeBench(t);
  let hours = 0;
  // To this one every lease has ended long ago.
  const clock = { now: () => Date.now() + ++hours * 3_600_000, monotonic: () => performance.now() };
  const options = { storage, installationId, sealer: testSealer, checkpointFolder: undefined };
  const other = createRecord({ ...options, clock, holder: 'other' });
  for (let round = 0; round < 5; round++) {
    await Promise.all([record.sequenceNow(), other.sequenceNow(), add(100), other.sequenceNow()]);
  }
  await other.sequenceNow();
  await other.stop();
  const result = await record.verify();
  assert.deepEqual([result.ok, result.size], [true, 501]);
});

test('two records that begin at the same time begin one log', async (t) => {
  const { record, storage } = await makeBench(t, { start: false });
  const clock = { now: () => Date.now(), monotonic: () => performance.now() };
  const options = {
    storage,
    clock,
    installationId,
    sealer: testSealer,
    checkpointFolder: undefined,
  };
  const other = createRecord({ ...options, holder: 'other' });
  await Promise.all([record.start(), other.start()]);
  await other.stop();
  assert.equal((await record.keyLines()).length, 1);
  assert.ok((await record.verify()).ok);
});

test('the files of the tlog-tiles layout are served, and only those of the tree', async (t) => {
  const { record, add } = await makeBench(t);
  await add(299);
  await record.sequenceNow();
  const lengthOf = async (path: string) => (await record.resource(path))?.bytes.length;
  assert.equal(await lengthOf('tile/0/000'), 8192);
  assert.equal(await lengthOf('tile/0/001.p/44'), 44 * 32);
  assert.equal(await lengthOf('tile/0/001.p/3'), 3 * 32);
  assert.equal(await lengthOf('tile/1/000.p/1'), 32);
  assert.ok((await lengthOf('tile/entries/000'))! > 256 * 100);
  assert.ok(
    (await lengthOf('tile/entries/001.p/43'))! < (await lengthOf('tile/entries/001.p/44'))!,
  );
  assert.equal((await record.resource('checkpoint'))?.immutable, false);
  for (const path of ['tile/0/001', 'tile/0/001.p/45', 'tile/2/000.p/1', 'tile/0/002.p/1', 'x']) {
    assert.equal(await record.resource(path), undefined, path);
  }
});

test('entries are found by key, principal, request, action, outcome and time', async (t) => {
  const { record, add } = await makeBench(t);
  await add(600);
  const [wanted] = await add(1, {
    keyId: 'key_wanted',
    action: 'key.destroy',
    outcome: 'forbidden',
  });
  await add(300);
  const found = async (query: Parameters<typeof record.search>[0]) =>
    (await record.search(query)).entries.map((entry) => entry.fields.id);
  assert.deepEqual(await found({ keyId: 'key_wanted' }), [wanted!.id]);
  assert.deepEqual(await found({ correlationId: wanted!.correlationId! }), [wanted!.id]);
  assert.deepEqual(await found({ action: 'key.destroy' }), [wanted!.id]);
  assert.deepEqual(await found({ outcome: 'forbidden', principalId: wanted!.principalId! }), [
    wanted!.id,
  ]);
  assert.deepEqual(await found({ keyId: 'key_wanted', action: 'key.sign' }), []);
  assert.deepEqual(await found({ keyId: 'key_absent' }), []);
  const time = Date.parse(wanted!.time);
  assert.ok((await found({ since: time, until: time + 1, limit: 1000 })).includes(wanted!.id));
  assert.deepEqual(await found({ keyId: 'key_wanted', until: time }), []);
  assert.deepEqual(await found({ keyId: 'key_wanted', since: time + 1 }), []);
  assert.equal((await found({ kind: 'event' })).length, 1);
  for (const limit of [0, 1001, 1.5]) {
    await assert.rejects(record.search({ limit }), { code: 'invalid-request' });
  }
  await assert.rejects(record.search({ after: 'x' }), { code: 'invalid-request' });
});

test('pages of a search hold every entry once, newest first', async (t) => {
  const { record, add } = await makeBench(t);
  const drafts = await add(700);
  const seen: (string | undefined)[] = [];
  let after: string | undefined;
  do {
    const page = await record.search({ action: 'key.sign', limit: 90, ...(after && { after }) });
    seen.push(...page.entries.map((entry) => entry.fields.id));
    after = page.next;
  } while (after !== undefined);
  assert.deepEqual(seen, drafts.map((draft) => draft.id).reverse());
});

test('entries without a place are found too', async (t) => {
  const { record, storage } = await makeBench(t);
  await record.stop();
  const blocked = createRecord({
    storage,
    clock: { now: () => Date.now(), monotonic: () => performance.now() },
    installationId,
    holder: 'x',
    sealer: { ...testSealer, unseal: () => Promise.reject(new Error('no key')) },
    checkpointFolder: undefined,
  });
  await storage.commit({
    steps: [],
    entries: [
      { id: 'ent_x', time: '2026-01-01T00:00:00.000Z', kind: 'event', action: 'a', outcome: 'ok' },
    ],
  });
  const { entries } = await blocked.search({});
  assert.deepEqual(entries.map((entry) => [entry.place, entry.fields.id]).slice(0, 1), [
    [null, 'ent_x'],
  ]);
});

test('checkpoints are published with the key line, and a failing folder only shows in health', async (t) => {
  const { record, checkpoints, add } = await makeBench(t);
  await record.publishNow();
  const { origin } = openCheckpoint(
    await record.checkpoint(),
    parseVerifiers((await record.keyLines())[0]!),
  );
  const folder = publishedFolder(checkpoints, origin);
  await add(10);
  await record.sequenceNow();
  await record.publishNow();
  const names = (await readdir(folder)).sort();
  assert.deepEqual(names, [
    '0000000000000001.note',
    '0000000000000011.note',
    'latest',
    'log-key.pub',
  ]);
  assert.equal(await readFile(join(folder, 'latest'), 'utf8'), await record.checkpoint());
  const line = await readFile(join(folder, 'log-key.pub'), 'utf8');
  assert.deepEqual([line.trim()], await record.keyLines());
});

test('a checkpoint folder that cannot be written is reported and made up for', async (t) => {
  const first = await makeBench(t);
  const blocker = join(first.folder, 'blocker');
  await writeFile(blocker, '');
  const { record, add } = await makeBench(t, { checkpointFolder: join(blocker, 'x') });
  await record.publishNow();
  assert.equal(record.publishedAt, undefined);
  assert.deepEqual(
    record.health().problems.map((problem) => problem.code),
    ['checkpoint-folder'],
  );
  await add(10);
  assert.equal(await record.sequenceNow(), 10);
  await rm(blocker);
  await record.publishNow();
  assert.deepEqual(record.health().problems, []);
  assert.ok(record.publishedAt !== undefined);
  const origin = (await record.keyLines())[0]!.split('+')[0]!;
  assert.equal((await readPublished(join(blocker, 'x'), origin)).length, 1);
});

test('published checkpoints are thinned to one for each day but the last', async (t) => {
  const { record, checkpoints } = await makeBench(t);
  await record.stop();
  const { origin } = openCheckpoint(
    await record.checkpoint(),
    parseVerifiers((await record.keyLines())[0]!),
  );
  const folder = publishedFolder(checkpoints, origin);
  const now = Date.parse('2026-06-10T12:00:00Z');
  const times = {
    2: '2026-06-01T01:00Z',
    3: '2026-06-01T23:00Z',
    4: '2026-06-02T05:00Z',
    5: '2026-06-10T01:00Z',
    6: '2026-06-10T02:00Z',
  };
  for (const [size, time] of Object.entries(times)) {
    const path = join(folder, `${size.padStart(16, '0')}.note`);
    await writeFile(path, 'x');
    await utimes(path, new Date(time), new Date(time));
  }
  await thinPublished(checkpoints, origin, now);
  const left = (await readdir(folder))
    .filter((name) => name.endsWith('.note'))
    .map((name) => Number.parseInt(name, 10));
  assert.deepEqual(left.sort(), [1, 3, 4, 5, 6]);
});

test('a database older than its published checkpoint is refused', async (t) => {
  const bench = await makeBench(t);
  await bench.add(5);
  await bench.record.stop();
  await assert.rejects(
    bench.reopen((database) => {
      database.exec('UPDATE tree SET size = 1');
    }),
    { code: 'record-corrupt' },
  );
});

test('a tree that is not the one that was signed is not built upon', async (t) => {
  const bench = await makeBench(t);
  await bench.add(5);
  await bench.record.sequenceNow();
  const damaged = await bench
    .reopen((database) => {
      const { hashes } = database.prepare('SELECT hashes FROM tile').get() as {
        hashes: Uint8Array;
      };
      hashes[40]! ^= 1;
      database.prepare('UPDATE tile SET hashes = ?').run(hashes);
    })
    .catch((error) => error as Error);
  assert.ok(damaged instanceof Error && 'code' in damaged && damaged.code === 'record-corrupt');
});
