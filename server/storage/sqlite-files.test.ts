import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { addMeta, entry, eventually, metaNames, openAt } from './storage.fixture.ts';
import { hasCode } from './storage.suite.ts';

const root = mkdtempSync(join(tmpdir(), 'keyreeve-files-'));
let places = 0;
after(() => rmSync(root, { recursive: true, force: true }));

const newFolder = () => join(root, `data-${++places}`);
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('the data folder and its files are for the owner alone', async (t) => {
  const dataFolder = newFolder();
  const storage = await openAt({ dataFolder });
  t.after(() => storage.close());
  await storage.commit({ steps: [], entries: [entry()] });
  assert.equal(modeOf(dataFolder), '700');
  const files = readdirSync(dataFolder);
  assert.deepEqual(files.sort(), ['keyreeve.db', 'keyreeve.db-wal', 'lock', 'pid']);
  for (const file of files) assert.equal(modeOf(join(dataFolder, file)), '600', file);
  await storage.close();
  assert.deepEqual(readdirSync(dataFolder).sort(), ['keyreeve.db', 'lock']);
});

test('a laxer mode is refused with the command that mends it', async () => {
  const dataFolder = newFolder();
  await (await openAt({ dataFolder })).close();
  const database = join(dataFolder, 'keyreeve.db');
  for (const [path, lax, right] of [
    [dataFolder, 0o750, 0o700],
    [database, 0o604, 0o600],
    [join(dataFolder, 'lock'), 0o660, 0o600],
  ] as const) {
    chmodSync(path, lax);
    await assert.rejects(openAt({ dataFolder }), (error) => {
      assert.ok(isKeyreeveError(error, 'lax-mode'));
      assert.equal(error.hint, `chmod ${right.toString(8)} ${path}`);
      return true;
    });
    chmodSync(path, right);
  }
  await (await openAt({ dataFolder })).close();
});

test('a deleted secret does not stay in the file', async () => {
  const dataFolder = newFolder();
  const storage = await openAt({ dataFolder });
  const secret = 'a secret that is deleted again, and must not stay in the file';
  const { db } = storage;
  await storage.commit({ steps: [addMeta(storage, 'secret', secret)], entries: [] });
  const remove = db.deleteFrom('meta').where('name', '=', 'secret').compile();
  await storage.commit({ steps: [{ query: remove }], entries: [] });
  await storage.close();
  assert.equal(readFileSync(join(dataFolder, 'keyreeve.db')).includes(secret), false);
});

test('files that are no database of ours are refused and left as they are', async () => {
  const garbage = newFolder();
  mkdirSync(garbage, { mode: 0o700 });
  const path = join(garbage, 'keyreeve.db');
  writeFileSync(path, 'not a database at all'.repeat(100), { mode: 0o600 });
  await assert.rejects(openAt({ dataFolder: garbage }), hasCode('integrity-failed'));
  assert.ok(readFileSync(path, 'utf8').startsWith('not a database'));

  rmSync(path);
  const foreign = new DatabaseSync(path);
  foreign.exec('CREATE TABLE "theirs" ("x" INTEGER)');
  foreign.close();
  chmodSync(path, 0o600);
  await assert.rejects(openAt({ dataFolder: garbage }), hasCode('integrity-failed'));

  writeFileSync(path, '');
  await assert.rejects(openAt({ dataFolder: garbage }), hasCode('integrity-failed'));
});

test('a log without its database is not covered by a fresh one', async () => {
  const dataFolder = newFolder();
  await (await openAt({ dataFolder })).close();
  const database = join(dataFolder, 'keyreeve.db');
  writeFileSync(`${database}-wal`, 'what was committed last', { mode: 0o600 });
  rmSync(database);
  await assert.rejects(openAt({ dataFolder }), hasCode('integrity-failed'));
  assert.equal(existsSync(database), false);
});

test('a data folder that is moved away is missed, and served again when it is back', async (t) => {
  const dataFolder = newFolder();
  const storage = await openAt({ dataFolder });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  renameSync(dataFolder, `${dataFolder}-away`);
  const write = { steps: [addMeta(storage, 'lost')], entries: [] };
  await assert.rejects(storage.commit(write), hasCode('storage-unavailable'));
  renameSync(`${dataFolder}-away`, dataFolder);
  await storage.commit({ steps: [addMeta(storage, 'after')], entries: [] });
  assert.deepEqual(await metaNames(storage), ['after', 'before']);
});

test('a log that is removed under way loses nothing', async (t) => {
  const dataFolder = newFolder();
  const storage = await openAt({ dataFolder });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'before')], entries: [] });
  await metaNames(storage);
  rmSync(join(dataFolder, 'keyreeve.db-wal'));
  await storage.commit({ steps: [addMeta(storage, 'after')], entries: [] });
  assert.deepEqual(await metaNames(storage), ['after', 'before']);
  const copy = join(root, 'copy.db');
  await storage.close();
  copyFileSync(join(dataFolder, 'keyreeve.db'), copy);
  const names = new DatabaseSync(copy).prepare('SELECT "name" FROM "meta" ORDER BY "name"').all();
  assert.deepEqual(
    names.map(({ name }) => name),
    ['after', 'before'],
  );
});

test('another file in place of the open one is served only if it is not older', async (t) => {
  const dataFolder = newFolder();
  const database = join(dataFolder, 'keyreeve.db');
  const first = await openAt({ dataFolder });
  await first.commit({ steps: [addMeta(first, 'first')], entries: [entry()] });
  await first.close();
  copyFileSync(database, join(root, 'older.db'));
  const storage = await openAt({ dataFolder });
  t.after(() => storage.close());
  await storage.commit({ steps: [addMeta(storage, 'second')], entries: [entry()] });
  await storage.snapshot(async (db) => {
    await db.selectFrom('meta').selectAll().execute();
  });
  // The log goes into the file after a quiet while: then the file alone is whole.
  await eventually(() => statSync(`${database}-wal`).size === 0);

  copyFileSync(database, join(root, 'newest.db'));
  for (const path of [database, `${database}-wal`]) {
    renameSync(path, join(root, `aside-${path.split('/').at(-1)}`));
  }
  copyFileSync(join(root, 'older.db'), database);
  const write = () => storage.commit({ steps: [addMeta(storage, 'third')], entries: [] });
  await assert.rejects(write(), (error) => {
    assert.ok(isKeyreeveError(error, 'storage-unavailable'));
    assert.match(error.message, /replaced by an older one/);
    return true;
  });
  rmSync(database);
  copyFileSync(join(root, 'newest.db'), database);
  await write();
  assert.deepEqual(await metaNames(storage), ['first', 'second', 'third']);
});
