import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { signerFromSeed, signNote } from '../audit/note.ts';
import { isKeyreeveError } from '../base/errors.ts';
import {
  type Installation,
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';
import { buryIn, createTombstones, replayTombstones } from './tombstones.ts';

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };

async function backUp(installation: Installation, file: string): Promise<void> {
  await saveAnswer(await installation.backup({ passphrase: passphraseText }), file);
}

async function stateOf(installation: Installation, name: string): Promise<string> {
  const { db } = installation.storage;
  const row = await db
    .selectFrom('key_version')
    .innerJoin('key', 'key.id', 'key_version.key_id')
    .select(['state', 'private_blob'])
    .where('name', '=', name)
    .executeTakeFirstOrThrow();
  return `${row.state}, ${row.private_blob === null ? 'gone' : 'there'}`;
}

test('a key destroyed after the backup is destroyed by its restore, file and all', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old', { keyFiles: 'old-files' }));
  await old.createKey(secretKey);
  await old.createKey({ ...secretKey, name: 'data/kept' });
  await old.createKey({ name: 'code', algorithm: 'p-256', purpose: 'sign', keystore: 'file' });
  const ciphertext = await old.encrypt('data/orders', 'gone');
  await backUp(old, file);
  await old.destroy('data/orders');
  await old.destroy('code');
  // Another node keeps them on its host too, signed by the same log.
  const folder = join(host, 'elsewhere');
  const elsewhere = createTombstones({ folder, storage: old.storage, sealer: old.storeKeys });
  assert.equal(await elsewhere.follow(), 2);
  assert.equal(await elsewhere.follow(), 0);
  assert.deepEqual(
    readdirSync(join(folder, 'tombstones')),
    readdirSync(join(host, 'seal', 'tombstones')),
  );
  await old.close();

  const config = placeIn(host, 'new', { keyFiles: 'new-files' });
  const restored = await restoreBackup({ file, passphrase: passphrase(), config });
  assert.deepEqual([...restored.tombstonesReplayed].sort(), ['code', 'data/orders']);
  assert.deepEqual(restored.tombstonesRefused, []);
  const files = (part: string) =>
    existsSync(join(host, 'new-files', part)) ? readdirSync(join(host, 'new-files', part)) : [];
  assert.deepEqual([...files('private'), ...files('public')], []);

  const fresh = await openInstallation(config, { clock: old.clock });
  t.after(() => fresh.close());
  assert.equal(await stateOf(fresh, 'data/orders'), 'destroyed, gone');
  assert.equal(await stateOf(fresh, 'data/kept'), 'active, there');
  await assert.rejects(fresh.decrypt('data/orders', ciphertext), (error) =>
    isKeyreeveError(error, 'key-destroyed'),
  );
  const found = await fresh.record.search({ action: 'key.destroyed' });
  assert.equal(found.entries.filter((one) => one.fields?.keyName === 'data/orders').length, 1);
});

test('a tombstone that no log key signed, or that was altered or moved, is reported and ignored', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  const orders = await old.createKey(secretKey);
  const others = await old.createKey({ ...secretKey, name: 'data/others' });
  const third = await old.createKey({ ...secretKey, name: 'data/third' });
  await backUp(old, file);
  const origin = (await old.record.checkpoint()).split('\n')[0]!;
  await old.destroy('data/third');
  await old.close();
  const folder = join(host, 'seal', 'tombstones');
  const destroyedAt = '2030-02-01T00:00:00.000Z';
  // Signed by a key of the attacker's, under the name of the log.
  const stranger = signerFromSeed(origin, Buffer.alloc(32, 9));
  const bury = buryIn(join(host, 'seal'), async (text) => signNote(text, stranger));
  await bury({ keyId: orders.id, keyName: 'data/orders', destroyedAt });
  // A real one under the name of another key, and a real one with another key inside.
  const real = readFileSync(join(folder, `${third.id}.note`), 'utf8');
  writeFileSync(join(folder, `${others.id}.note`), real);
  renameSync(join(folder, `${third.id}.note`), join(folder, 'kept'));
  writeFileSync(join(folder, `${third.id}.note`), real.replace('data/third', 'data/other'));
  // A succession that the attacker signed, for the key that signed the first note.
  const announcement = `keyreeve log key succession v1\n${stranger.verifier.line}\n`;
  writeFileSync(join(folder, 'x.succession.note'), signNote(announcement, stranger));
  writeFileSync(join(folder, 'unsigned.note'), 'keyreeve tombstone v1\n{}\n');
  writeFileSync(join(folder, 'large.note'), Buffer.alloc(100_000, 0x61));

  const config = placeIn(host, 'new');
  const restored = await restoreBackup({ file, passphrase: passphrase(), config });
  assert.deepEqual(restored.tombstonesReplayed, []);
  assert.deepEqual(
    restored.tombstonesRefused.map((one) => one.file).sort(),
    [
      'large.note',
      'unsigned.note',
      'x.succession.note',
      ...[`${orders.id}.note`, `${others.id}.note`, `${third.id}.note`],
    ].sort(),
  );
  const fresh = await openInstallation(config, { clock: old.clock });
  t.after(() => fresh.close());
  for (const name of ['data/orders', 'data/others', 'data/third']) {
    assert.equal(await stateOf(fresh, name), 'active, there');
  }
  // The same folder with the real note back: the test can fail.
  renameSync(join(folder, 'kept'), join(folder, `${third.id}.note`));
  const lines = await fresh.record.keyLines();
  const replayed = await replayTombstones(fresh.storage, join(host, 'seal'), lines, fresh.clock);
  assert.deepEqual(
    replayed.keys.map((one) => one.keyName),
    ['data/third'],
  );
});

test('a tombstone of a log that began after the backup is believed through its successions', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const unlock = { passphrase: passphrase() };
  let installation = await openInstallation(placeIn(host, 'first'));
  const { clock } = installation;
  await installation.createKey(secretKey);
  await installation.createKey({ ...secretKey, name: 'data/second' });
  await backUp(installation, file);
  await installation.close();
  // Two restores on end: the key that buries is two successions away from those in the backup.
  for (const name of ['second', 'third']) {
    const next = join(host, `${name}.gpg`);
    const config = placeIn(host, name);
    await restoreBackup({
      file: name === 'second' ? file : join(host, 'second-own.gpg'),
      ...unlock,
      config,
      clock,
    });
    installation = await openInstallation(config, { clock });
    await backUp(installation, join(host, `${name}-own.gpg`));
    if (name === 'third') await installation.destroy('data/orders');
    await installation.close();
    assert.equal(existsSync(next), false);
  }
  const config = placeIn(host, 'fourth');
  const restored = await restoreBackup({ file, ...unlock, config, clock });
  assert.deepEqual(restored.tombstonesReplayed, ['data/orders']);
  assert.deepEqual(restored.tombstonesRefused, []);

  // Without the successions the same note is from a stranger.
  const folder = join(host, 'seal', 'tombstones');
  for (const name of readdirSync(folder)) {
    if (name.endsWith('.succession.note')) rmSync(join(folder, name));
  }
  const again = await restoreBackup({ file, ...unlock, config: placeIn(host, 'fifth'), clock });
  assert.deepEqual(again.tombstonesReplayed, []);
  assert.equal(again.tombstonesRefused.length, 1);
});
