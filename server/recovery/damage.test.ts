import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { partTargetBytes, sealLabel, sumsPath } from './backup-format.ts';
import { readBackup } from './backup-reader.ts';
import { protect, unprotect } from './protection.ts';
import {
  collect,
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';
import { readTar, type TarFile, writeTar } from './tar.ts';
import { verifyBackup } from './verify-backup.ts';

/** Damaged at so many places, and restored or only read. */
const restoreRounds = 6;
const readRounds = 60;
const killRounds = 4;

async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function* listed(files: readonly TarFile[]): AsyncGenerator<TarFile> {
  yield* files;
}

/** An installation with some keys, closed again, and its backup for a passphrase and for age. */
async function prepare(host: string, rows = 0) {
  const old = await openInstallation(placeIn(host, 'old', { keyFiles: 'old-files' }));
  await old.createKey({ name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' });
  await old.createKey({ name: 'code', algorithm: 'p-256', purpose: 'sign', keystore: 'file' });
  const { db } = old.storage;
  for (let start = 0; start < rows; start += 1000) {
    const values = Array.from({ length: 1000 }, (_, index) => ({
      name: `row ${start + index}`,
      value: 'x'.repeat(100),
    }));
    await old.storage.commit({
      steps: [{ query: db.insertInto('meta').values(values).compile() }],
      entries: [],
    });
  }
  const { generateX25519Identity, identityToRecipient } = await import('age-encryption');
  const identity = await generateX25519Identity();
  const recipients = [await identityToRecipient(identity)];
  const gpgFile = join(host, 'backup.gpg');
  const ageFile = join(host, 'backup.age');
  await saveAnswer(await old.backup({ passphrase: passphraseText }), gpgFile);
  await saveAnswer(await old.backup({ recipients }), ageFile);
  await old.close();
  return { identity, recipients, gpgFile, ageFile };
}

test('a backup cut or altered anywhere is refused, and nothing is there afterwards', async (t) => {
  const host = temporaryFolder(t);
  const { identity, gpgFile, ageFile } = await prepare(host);
  const file = join(host, 'damaged');
  const config = placeIn(host, 'new', { keyFiles: 'files' });
  for (const [whole, unlock] of [
    [readFileSync(gpgFile), { passphrase: passphrase() }],
    [readFileSync(ageFile), { identity }],
  ] as const) {
    const refuse = async (damaged: Buffer, what: string) => {
      writeFileSync(file, damaged);
      await assert.rejects(
        restoreBackup({ file, ...unlock, config }),
        (error) =>
          isKeyreeveError(error, 'backup-invalid') || isKeyreeveError(error, 'wrong-passphrase'),
        what,
      );
      assert.deepEqual(existsSync(config.data) ? readdirSync(config.data) : [], [], what);
      assert.equal(existsSync(join(host, 'files', 'private')), false, what);
    };
    for (let round = 0; round < restoreRounds; round++) {
      const at = randomInt(whole.length);
      await refuse(whole.subarray(0, at), `cut at ${at}`);
      const altered = Buffer.from(whole);
      altered[at]! ^= 1 << randomInt(8);
      await refuse(altered, `bit of byte ${at} of ${whole.length} changed`);
    }
    await refuse(whole.subarray(0, -1), 'last byte cut');
    await refuse(Buffer.concat([whole, Buffer.of(0)]), 'a byte added');
    await refuse(Buffer.concat([whole, whole]), 'added to itself');
    await refuse(Buffer.alloc(0), 'empty');
  }
});

test('a damaged length inside an OpenPGP message is refused, and nothing waits for its rest', async (t) => {
  const { gpgFile } = await prepare(temporaryFolder(t));
  const altered = readFileSync(gpgFile);
  // The length of the second part of the literal data, which openpgp then waits for: for ever.
  altered[16_479]! ^= 8;
  writeFileSync(gpgFile, altered);
  await assert.rejects(verifyBackup({ file: gpgFile, passphrase: passphrase() }), (error) =>
    isKeyreeveError(error, 'backup-invalid'),
  );
});

test('reading finds damage at every place tried', async (t) => {
  const host = temporaryFolder(t);
  const { identity, ageFile } = await prepare(host);
  const whole = readFileSync(ageFile);
  const file = join(host, 'damaged');
  for (let round = 0; round < readRounds; round++) {
    const at = randomInt(whole.length);
    const altered = Buffer.from(whole);
    altered[at]! ^= 1 << randomInt(8);
    for (const damaged of [altered, whole.subarray(0, at)]) {
      writeFileSync(file, damaged);
      await assert.rejects(
        verifyBackup({ file, identity }),
        (error) =>
          isKeyreeveError(error, 'backup-invalid') || isKeyreeveError(error, 'wrong-passphrase'),
        `byte ${at}`,
      );
    }
  }
});

test('a backup whose content does not fit its sums, or has no place in one, is refused', async (t) => {
  const host = temporaryFolder(t);
  const { gpgFile } = await prepare(host);
  const opened = await unprotect(oneChunk(readFileSync(gpgFile)), { passphrase: passphrase() });
  const files: TarFile[] = [];
  for await (const file of readTar(opened, () => 1e9)) files.push(file);
  const refuse = async (changed: readonly TarFile[], why: RegExp) => {
    await assert.rejects(readBackup(writeTar(listed(changed), new Date(0)), {}), (error) => {
      assert.ok(isKeyreeveError(error, 'backup-invalid'), String(error));
      assert.match(error.message, why);
      return true;
    });
  };
  const changed = (path: string, bytes: Buffer) =>
    files.map((file) => (file.path === path ? { path, bytes } : file));
  const key = files.find(({ path }) => path === 'tables/key/000001.ndjson')!;
  const renamed = Buffer.from(Buffer.from(key.bytes).toString().replace('orders', 'others'));
  await refuse(changed(key.path, renamed), /is not what sums\.json says/);
  await refuse(files.slice(1), /does not begin with manifest/);
  await refuse(files.slice(0, -1), /its end is missing/);
  await refuse(files.slice(0, -2), /its end is missing/);
  await refuse(
    files.filter((file) => file !== key),
    /files of it are missing/,
  );
  await refuse([...files, key], /something follows its end/);
  await refuse([files[0]!, key, key, ...files.slice(1)], /out of order/);
  const stray = { path: '../../etc/passwd', bytes: Buffer.from('x') };
  await refuse([files[0]!, stray, ...files.slice(1)], /has no place in a backup/);
  const climbing = { path: 'files/file-keystore/private/../x', bytes: Buffer.from('x') };
  await refuse([files[0]!, climbing, ...files.slice(1)], /has no place in a backup/);
  await refuse(changed(key.path, Buffer.from('{"a":1}')), /in the middle of a row/);
  const empty = '{}\n';
  const full = partTargetBytes - (partTargetBytes % empty.length);
  const many = (bytes: number) => Buffer.alloc(bytes, empty);
  await refuse(changed(key.path, many(full + 2 * empty.length)), /has too many rows/);
  await refuse(changed(key.path, many(full + empty.length)), /is not what sums.json says/);
  await refuse(changed('manifest.json', Buffer.from('{"format":"other"}')), /of something else/);
  const newer = Buffer.from('{"format":"keyreeve-backup","formatVersion":2}');
  await refuse(changed('manifest.json', newer), /newer than this program/);
});

test('a backup that a stranger made for the recipient is refused by its seal', async (t) => {
  const host = temporaryFolder(t);
  const { identity, recipients, ageFile } = await prepare(host);
  const files: TarFile[] = [];
  const opened = await unprotect(oneChunk(readFileSync(ageFile)), { identity });
  for await (const file of readTar(opened, () => 1e9)) files.push(file);
  // All is as in a real one, but for the order of two members of the sums.
  const forged = files.map((file) => {
    if (file.path !== sumsPath) return file;
    const { tables, files: named } = JSON.parse(Buffer.from(file.bytes).toString());
    return { path: sumsPath, bytes: Buffer.from(JSON.stringify({ tables, files: named })) };
  });
  const file = join(host, 'forged.age');
  const tar = writeTar(listed(forged), new Date(0));
  writeFileSync(file, await collect(await protect(tar, { kind: 'age', recipients })));
  await verifyBackup({ file, identity });
  const config = placeIn(host, 'new', { keyFiles: 'files' });
  await assert.rejects(restoreBackup({ file, identity, config }), (error) => {
    assert.ok(isKeyreeveError(error, 'backup-invalid'));
    assert.match(error.message, /seal/);
    return true;
  });
  assert.deepEqual(readdirSync(config.data), []);
  assert.match(sealLabel('bak_a'), /bak_a/);
});

let server: TestPostgres | undefined;
after(() => server?.remove());

/**
 * Kills restores at later and later moments until one gets through; counts how many were killed in
 * time. One that was killed after its one act of publishing got through as well.
 */
async function killRestores(
  host: string,
  file: string,
  name: string,
  target: { databaseUrl?: string; isPublished: () => boolean },
) {
  const script = new URL('./restore.child.ts', import.meta.url).pathname;
  const parameters = [script, file, host, name, target.databaseUrl ?? ''];
  let killed = 0;
  for (let round = 0; round < killRounds; round++) {
    const child = spawn(process.execPath, parameters, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    const delay = 20 * 1.8 ** round;
    const timer = setTimeout(() => child.kill('SIGKILL'), delay + randomInt(Math.ceil(delay)));
    const [code] = await once(child, 'close');
    clearTimeout(timer);
    if (code === 0 || target.isPublished()) return { killed, isDone: true };
    killed++;
    const visible = existsSync(join(host, name)) ? readdirSync(join(host, name)) : [];
    assert.deepEqual(
      visible.filter((one) => !one.startsWith('.restoring-')),
      [],
    );
  }
  return { killed, isDone: false };
}

test('a restore that is killed leaves nothing that looks like data, and can be repeated', async (t) => {
  const host = temporaryFolder(t);
  const { gpgFile: file } = await prepare(host, 60_000);
  const config = placeIn(host, 'new', { keyFiles: 'files' });
  const { killed, isDone } = await killRestores(host, file, 'new', {
    isPublished: () => existsSync(join(config.data, 'keyreeve.db')),
  });
  assert.ok(killed > 0);
  if (!isDone) await restoreBackup({ file, passphrase: passphrase(), config });
  assert.deepEqual(readdirSync(config.data), ['keyreeve.db']);
  assert.deepEqual(readdirSync(join(host, 'files')).sort(), ['private', 'public']);
  const fresh = await openInstallation(config);
  t.after(() => fresh.close());
  assert.deepEqual((await fresh.record.verify()).problems, []);
});

test('a restore into PostgreSQL that is killed leaves no table, and can be repeated', async (t) => {
  server = startPostgres(t);
  if (server === undefined) return;
  const host = temporaryFolder(t);
  const { gpgFile: file } = await prepare(host, 30_000);
  const databaseUrl = server.createDatabase('killed');
  const tables = `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`;
  const config = placeIn(host, 'new', { keyFiles: 'files', databaseUrl });
  const { killed, isDone } = await killRestores(host, file, 'new', {
    databaseUrl,
    isPublished: () => server!.sql('killed', tables) !== '0',
  });
  assert.ok(killed > 0);
  if (!isDone) {
    assert.equal(server.sql('killed', tables), '0');
    await restoreBackup({ file, passphrase: passphrase(), config });
  }
  const fresh = await openInstallation(config);
  t.after(() => fresh.close());
  const rows = await fresh.storage.db
    .selectFrom('meta')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('name', 'like', 'row %')
    .executeTakeFirstOrThrow();
  assert.equal(Number(rows.count), 30_000);
});

test('a restore does not touch key files that are there and are others', async (t) => {
  const host = temporaryFolder(t);
  const { gpgFile: file } = await prepare(host);
  const [name] = readdirSync(join(host, 'old-files', 'private'));
  mkdirSync(join(host, 'files', 'private'), { recursive: true, mode: 0o700 });
  writeFileSync(join(host, 'files', 'private', name!), 'another key', { mode: 0o600 });
  const config = placeIn(host, 'new', { keyFiles: 'files' });
  await assert.rejects(restoreBackup({ file, passphrase: passphrase(), config }), (error) =>
    isKeyreeveError(error, 'not-empty'),
  );
  assert.equal(readFileSync(join(host, 'files', 'private', name!), 'utf8'), 'another key');
  assert.deepEqual(readdirSync(config.data), []);
  const without = placeIn(host, 'new');
  await assert.rejects(
    restoreBackup({ file, passphrase: passphrase(), config: without }),
    (error) => isKeyreeveError(error, 'config-invalid'),
  );
});
