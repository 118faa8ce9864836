import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import {
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';

const rows = 300_000;
const rowBytes = 800;
const rowsPerCommit = 2000;
/**
 * What backup and restore may add to the memory of the process: well below the length of the backup
 * (330 MB). Of it 65 MB are hashed to make a key of the passphrase, and the garbage collector is in
 * no hurry: twice that is seen.
 */
const memoryGrowthLimitBytes = 256 * 1024 * 1024;

test('300,000 rows are backed up and restored in bounded memory', async (t) => {
  const host = temporaryFolder(t);
  const old = await openInstallation(placeIn(host, 'old'));
  const { storage, clock } = old;
  for (let start = 0; start < rows; start += rowsPerCommit) {
    const values = Array.from({ length: rowsPerCommit }, (_, index) => ({
      level: 9,
      number: start + index,
      width: 1,
      hashes: randomBytes(rowBytes),
    }));
    await storage.commit({
      steps: [{ query: storage.db.insertInto('tile').values(values).compile() }],
      entries: [],
    });
  }
  const before = process.memoryUsage.rss();
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 20);
  const file = join(host, 'backup.gpg');
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const begun = performance.now();
  await saveAnswer(await old.backup({ passphrase: passphraseText }), file);
  const made = performance.now();
  delay.disable();
  await old.close();
  const config = placeIn(host, 'new');
  await restoreBackup({ file, passphrase: passphrase(), config, clock });
  const done = performance.now();
  clearInterval(watch);
  t.diagnostic(
    `${statSync(file).size} bytes, made in ${Math.round(made - begun)} ms, restored in ${Math.round(done - made)} ms, memory grew by ${Math.round((peak - before) / 1e6)} MB, the event loop waited ${Math.round(delay.percentile(99) / 1e6)} ms (99 %), ${Math.round(delay.max / 1e6)} ms at most`,
  );
  assert.ok(peak - before < memoryGrowthLimitBytes, `grew by ${peak - before} bytes`);
  const fresh = await openInstallation(config, { clock });
  t.after(() => fresh.close());
  const { count } = await fresh.storage.db
    .selectFrom('tile')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('level', '=', 9)
    .executeTakeFirstOrThrow();
  assert.equal(Number(count), rows);
});
