import assert from 'node:assert/strict';
import { chmod, cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireProgram, tryRun } from '../../test/tools.ts';
import { systemClock } from '../base/clock.ts';
import {
  type Bench,
  changeDatabase,
  makeBench,
  makeDraft,
  makeFolder,
  testSealer,
} from './audit.fixture.ts';
import { verifyExport, writeExport } from './audit.ts';
import { encodeEntry } from './leaf.ts';
import { loadLog, signCheckpoint } from './log-key.ts';
import { openCheckpoint, parseVerifiers } from './note.ts';
import { emptyEdge, place, type Unplaced } from './placement.ts';
import { folderSource } from './sources.ts';
import { entriesPath, splitLeaves, tilePath } from './tiles.ts';

const script = fileURLToPath(new URL('../../test/verify-record.py', import.meta.url));
const hourMilliseconds = 3_600_000;

/** A record that was backed up at 301 entries, went on to 351, and was then restored. */
async function restored(t: TestContext) {
  const old = await makeBench(t);
  await old.add(300);
  await old.record.sequenceNow();
  const inBackup = await old.record.checkpoint();
  const folder = await makeFolder(t);
  const database = join(folder, 'data', 'keyreeve.db');
  await mkdir(join(folder, 'data'), { mode: 0o700 });
  changeDatabase(old.data, (live) => live.exec(`VACUUM INTO '${database}'`));
  await chmod(database, 0o600);
  await old.add(50);
  await old.record.sequenceNow();
  const afterBackup = await old.record.checkpoint();
  await old.record.publishNow();
  await old.record.stop();
  const oldKeys = (await old.record.keyLines()).join('\n');
  const options = { folder, checkpointFolder: old.checkpoints };
  return { old, options, inBackup, afterBackup, oldKeys };
}

async function exportOf(bench: Bench, name: string): Promise<string> {
  const folder = join(bench.folder, name);
  await writeExport(bench.record.export(), folder);
  return folder;
}

test('a restored database that would go on under its old name is refused', async (t) => {
  const { options } = await restored(t);
  await assert.rejects(makeBench(t, options), { code: 'record-corrupt' });
});

test('a restored record goes on under a new name that names the old, and says what was lost', async (t) => {
  const { options, inBackup, afterBackup, oldKeys } = await restored(t);
  const bench = await makeBench(t, { ...options, start: false });
  await bench.record.continueLog();
  await bench.record.start();
  await bench.add(20);
  await bench.record.sequenceNow();
  const keys = await bench.record.keyLines();
  const verifiers = parseVerifiers(keys.join('\n'));
  const now = openCheckpoint(await bench.record.checkpoint(), verifiers);
  const before = openCheckpoint(inBackup, verifiers);
  assert.match(now.origin, /\/2-[0-9a-f]{6}$/);
  assert.equal(now.size, 322);
  const { origin, size, root } = before;
  assert.deepEqual(now.continues, { origin, size, root });
  const { fields } = await bench.record.entry(301);
  assert.equal(fields?.action, 'log.continued');
  assert.equal(JSON.parse(fields?.detail ?? '').lost, 50);
  const result = await bench.record.verify({ checkpoint: inBackup, logKey: oldKeys });
  assert.deepEqual([result.ok, result.problems], [true, []]);
  assert.ok(result.notes.some((note) => note.includes('351 entries')));
  const lost = await bench.record.verify({ checkpoint: afterBackup, logKey: oldKeys });
  assert.ok(lost.notes.some((note) => note.startsWith('your checkpoint')));
});

test('an export of a restored record is proven by a checkpoint from before the restore', async (t) => {
  const { options, inBackup } = await restored(t);
  const bench = await makeBench(t, { ...options, start: false });
  await bench.record.continueLog();
  await bench.record.start();
  const folder = await exportOf(bench, 'export');
  const logKey = (await bench.record.keyLines()).join('\n');
  const result = await verifyExport(folder, { checkpoint: inBackup, logKey });
  assert.deepEqual([result.ok, result.problems], [true, []]);
  const onlyOld = logKey.split('\n')[0]!;
  const partly = await verifyExport(folder, { checkpoint: inBackup, logKey: onlyOld });
  assert.deepEqual(
    partly.problems.map(({ code }) => code),
    ['checkpoint-invalid'],
  );
  const python = requireProgram(t, 'python3');
  if (python === undefined || requireProgram(t, 'openssl') === undefined) return;
  await writeFile(join(folder, '../c'), inBackup);
  await writeFile(join(folder, '../k'), logKey);
  const args = [
    script,
    folder,
    '--checkpoint',
    join(folder, '../c'),
    '--log-key',
    join(folder, '../k'),
  ];
  assert.equal(tryRun(python, args).status, 0);
});

test('the same backup restored twice makes two names', async (t) => {
  const { options } = await restored(t);
  const origins = new Set<string>();
  for (let round = 0; round < 2; round++) {
    const folder = await makeFolder(t);
    await cp(join(options.folder, 'data'), join(folder, 'data'), { recursive: true });
    const bench = await makeBench(t, { folder, start: false, checkpointFolder: undefined });
    await bench.record.continueLog();
    origins.add((await bench.record.keyLines()).at(-1)!.split('+')[0]!);
  }
  assert.equal(origins.size, 2);
});

test('entries that had no place when the backup was made get one after the first entry', async (t) => {
  const bench = await makeBench(t);
  await bench.record.stop();
  await bench.add(10);
  await bench.record.continueLog();
  assert.equal((await bench.record.entry(1)).fields?.action, 'log.continued');
  assert.equal(await bench.record.sequenceNow(), 10);
  const result = await bench.record.verify();
  assert.deepEqual([result.ok, result.size, result.problems], [true, 12, []]);
});

test('one who holds database and key can rewrite the past, and a checkpoint that left shows it', async (t) => {
  const bench = await makeBench(t);
  await bench.add(300);
  await bench.record.sequenceNow();
  const left = await bench.record.checkpoint();
  await bench.add(10);
  await bench.record.sequenceNow();
  const folder = await exportOf(bench, 'export');
  const logKey = (await bench.record.keyLines()).join('\n');
  const log = await loadLog(bench.storage.db, testSealer, logKey.split('+')[0]!);
  const source = folderSource(folder);
  const entries = [0, 1].map((number) => source.leaves(number, number === 0 ? 256 : 55));
  const leaves = (await Promise.all(entries)).flatMap((bundle) => splitLeaves(bundle!));
  const forged = encodeEntry(makeDraft(0, systemClock, { action: 'key.show' }));
  const unplaced: Unplaced[] = leaves.map((leaf) => ({ leaf, opening: Buffer.of(0) }));
  const { edge, bundles, tiles } = place(emptyEdge(), unplaced.with(99, forged), 0);
  for (const { number, width, leaves: bytes } of bundles) {
    await writeFile(join(folder, entriesPath(number, width)), bytes);
  }
  for (const { level, number, width, hashes } of tiles) {
    await writeFile(join(folder, tilePath(level, number, width)), hashes);
  }
  await rm(join(folder, 'openings'), { recursive: true });
  const note = signCheckpoint(log, edge.frontier.size, edge.frontier.root());
  await writeFile(join(folder, 'checkpoint'), note);
  assert.ok((await verifyExport(folder, { checkpoint: note, logKey })).ok);
  const result = await verifyExport(folder, { checkpoint: left, logKey });
  assert.deepEqual(
    result.problems.map(({ code }) => code),
    ['checkpoint-inconsistent'],
  );
});

test('an entry that says what is not true of the log before it is found', async (t) => {
  const bench = await makeBench(t);
  const root = Buffer.alloc(32, 1).toString('base64');
  const detail = JSON.stringify({ origin: 'x', size: 1, root, lost: 0 });
  await bench.add(1, { kind: 'event', action: 'log.continued', detail });
  await bench.add(1, { kind: 'event', action: 'log.continued', detail: 'nothing' });
  const { problems } = await bench.record.verify();
  const expected = [1, 2].map((place) => ['continuation-invalid', place]);
  assert.deepEqual(
    problems.map(({ code, place }) => [code, place]),
    expected,
  );
});

/** 600 entries an hour ago, of which those of two whole bundles are moved to an archive. */
async function archived(t: TestContext) {
  const bench = await makeBench(t);
  const old = new Date(Date.now() - hourMilliseconds).toISOString();
  await bench.add(600, { time: old });
  await bench.record.sequenceNow();
  const archive = join(bench.folder, 'archive');
  // The first entry, log.started, is of now: its bundle stays.
  const moved = await bench.record.retain(Date.now() - hourMilliseconds / 2, archive);
  return { bench, archive, moved };
}

test('values of old entries move to an archive, and an entry says so', async (t) => {
  const { bench, archive, moved } = await archived(t);
  assert.deepEqual(moved, { bundles: 1, entries: 256 });
  assert.deepEqual(await readdir(join(archive, 'openings')), ['001.ndjson']);
  const { entries } = await bench.record.search({ action: 'record.archived' });
  assert.deepEqual(JSON.parse(entries[0]!.fields.detail!).bundles, [1]);
  assert.equal((await bench.record.entry(300)).fields, null);
  const found = await bench.record.search({ keyName: 'code-signing/windows' });
  assert.equal(found.archivedBundles, 1);
  assert.deepEqual(await bench.record.retain(Date.now(), archive), { bundles: 1, entries: 256 });
});

test('a record without the values of old entries verifies, with the archive wholly', async (t) => {
  const { bench, archive } = await archived(t);
  const result = await bench.record.verify();
  assert.deepEqual([result.ok, result.withoutOpening], [true, 256]);
  const folder = await exportOf(bench, 'export');
  const checkpoint = await bench.record.checkpoint();
  const logKey = (await bench.record.keyLines()).join('\n');
  const without = await verifyExport(folder, { checkpoint, logKey });
  assert.deepEqual([without.ok, without.withoutOpening], [true, 256]);
  const whole = await verifyExport(folder, { checkpoint, logKey, archives: [archive] });
  assert.deepEqual([whole.ok, whole.withoutOpening], [true, 0]);
  const python = requireProgram(t, 'python3');
  if (python === undefined || requireProgram(t, 'openssl') === undefined) return;
  await writeFile(join(folder, '../c'), checkpoint);
  await writeFile(join(folder, '../k'), logKey);
  const args = [
    script,
    folder,
    '--checkpoint',
    join(folder, '../c'),
    '--log-key',
    join(folder, '../k'),
  ];
  const { stdout } = tryRun(python, [...args, '--archive', archive]);
  const { ok, withoutOpening } = JSON.parse(stdout.toString());
  assert.deepEqual([ok, withoutOpening], [true, 0]);
});

test('a damaged bundle is not moved to the archive', async (t) => {
  const bench = await makeBench(t);
  const old = new Date(Date.now() - hourMilliseconds).toISOString();
  await bench.add(600, { time: old });
  await bench.record.sequenceNow();
  const again = await bench.reopen((database) => {
    const row = database.prepare('SELECT openings FROM bundle WHERE number = 1').get();
    const { openings } = row as { openings: Uint8Array };
    openings[100]! ^= 1;
    database.prepare('UPDATE bundle SET openings = ? WHERE number = 1').run(openings);
  });
  const archive = join(bench.folder, 'archive');
  await assert.rejects(again.record.retain(Date.now() - hourMilliseconds / 2, archive), {
    code: 'record-corrupt',
  });
  const row = again.storage.db.selectFrom('bundle').select('number').where('openings', 'is', null);
  assert.deepEqual(await row.execute(), []);
});
