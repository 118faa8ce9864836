import assert from 'node:assert/strict';
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import type { Migration } from '../storage/storage.ts';
import { migrations } from '../storage/storage.ts';
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
import { verifyBackup } from './verify-backup.ts';

async function backUp(installation: Installation, file: string): Promise<void> {
  await saveAnswer(await installation.backup({ passphrase: passphraseText }), file);
}

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };

test('a backup restored elsewhere decrypts what the old installation encrypted', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old', { keyFiles: 'old-files' }));
  await old.createKey(secretKey);
  await old.createKey({ name: 'code/sign', algorithm: 'p-256', purpose: 'sign', keystore: 'file' });
  const ciphertext = await old.encrypt('data/orders', 'ten apples');
  const signed = (await old.call('key.sign', { key: 'code/sign' }, { message: 'aGk=' })) as {
    signature: string;
  };
  await backUp(old, file);
  const oldSize = Number((await old.record.checkpoint()).split('\n')[1]);
  await old.close();

  const config = placeIn(host, 'new', { keyFiles: 'new-files' });
  const restored = await restoreBackup({ file, passphrase: passphrase(), config });
  assert.equal(restored.keys, 2);
  assert.deepEqual(restored.tombstonesRefused, []);
  assert.deepEqual(readdirSync(config.data), ['keyreeve.db']);

  const fresh = await openInstallation(config, { clock: old.clock });
  t.after(() => fresh.close());
  assert.equal(await fresh.decrypt('data/orders', ciphertext), 'ten apples');
  const again = (await fresh.call(
    'key.verify',
    { key: 'code/sign' },
    { message: 'aGk=', signature: signed.signature },
  )) as { valid: boolean };
  assert.equal(again.valid, true);
  await fresh.call('key.sign', { key: 'code/sign' }, { message: 'aGk=' });

  const verified = await fresh.record.verify();
  assert.deepEqual(verified.problems, []);
  const checkpoint = await fresh.record.checkpoint();
  assert.match(checkpoint, /\ncontinues keyreeve\.local\/ins_a+\/1-[0-9a-f]{6} \d+ /);
  assert.ok(Number(checkpoint.split('\n')[1]) > oldSize - 3);
  const row = await fresh.storage.db.selectFrom('backup').select('id').executeTakeFirstOrThrow();
  assert.equal(row.id, restored.backup);
  // Nothing is left to be settled: the backup had its own intent in it.
  assert.deepEqual(await fresh.storage.db.selectFrom('intent').selectAll().execute(), []);
});

test('without its root key, or with another, a backup is not restored and nothing is written', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  await old.createKey(secretKey);
  await backUp(old, file);
  await old.close();
  renameSync(join(host, 'seal'), join(host, 'away'));

  const config = placeIn(host, 'new');
  const attempt = () => restoreBackup({ file, passphrase: passphrase(), config });
  await assert.rejects(attempt, (error) => isKeyreeveError(error, 'root-key-missing'));
  const other = await openInstallation(placeIn(host, 'other'));
  await other.close();
  await assert.rejects(attempt, (error) => isKeyreeveError(error, 'root-key-mismatch'));
  assert.equal(existsSync(config.data), false);

  rmSync(join(host, 'seal'), { recursive: true });
  renameSync(join(host, 'away'), join(host, 'seal'));
  assert.equal((await attempt()).keys, 1);
});

test('a wrong passphrase is told as such, and a folder or database with data is refused', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  await backUp(old, file);
  await old.close();
  const config = placeIn(host, 'new');
  const wrong = new SecretBytes(Buffer.from('not the passphrase'));
  await assert.rejects(restoreBackup({ file, passphrase: wrong, config }), (error) =>
    isKeyreeveError(error, 'wrong-passphrase'),
  );
  assert.equal(existsSync(config.data), false);
  await assert.rejects(
    restoreBackup({ file, passphrase: passphrase(), config: placeIn(host, 'old') }),
    (error) => isKeyreeveError(error, 'not-empty'),
  );
});

test('private halves that a policy keeps out of backups are in none', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old', { keyFiles: 'old-files' }));
  const policy = { recovery: 'none' };
  await old.createKey({ ...secretKey, policy });
  await old.createKey({ ...secretKey, name: 'data/kept' });
  await old.createKey({
    name: 'code/sign',
    algorithm: 'p-256',
    purpose: 'sign',
    keystore: 'file',
    policy,
  });
  const lost = await old.encrypt('data/orders', 'gone');
  const kept = await old.encrypt('data/kept', 'there');
  await backUp(old, file);
  await old.close();
  const config = placeIn(host, 'new', { keyFiles: 'new-files' });
  const restored = await restoreBackup({ file, passphrase: passphrase(), config });
  assert.equal(restored.keysLeftOut, 1);
  assert.equal(existsSync(join(host, 'new-files')), false);
  const fresh = await openInstallation(config);
  t.after(() => fresh.close());
  assert.equal(await fresh.decrypt('data/kept', kept), 'there');
  await assert.rejects(fresh.decrypt('data/orders', lost), (error) =>
    isKeyreeveError(error, 'key-destroyed'),
  );
});

test('a backup of an older schema is migrated, one of a newer schema refused', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const next: Migration = {
    id: migrations.length + 1,
    name: 'next',
    up: () => [`CREATE TABLE "next_table" ("id" BIGINT PRIMARY KEY)`],
  };
  const history = [...migrations, next];
  const old = await openInstallation(placeIn(host, 'old'));
  await old.createKey(secretKey);
  await backUp(old, file);
  await old.close();
  const config = placeIn(host, 'new');
  await restoreBackup({ file, passphrase: passphrase(), config, migrations: history });
  const newer = await openInstallation(config, { migrations: history, clock: old.clock });
  const file2 = join(host, 'newer.gpg');
  await backUp(newer, file2);
  await newer.close();
  await assert.rejects(
    restoreBackup({ file: file2, passphrase: passphrase(), config: placeIn(host, 'third') }),
    (error) => isKeyreeveError(error, 'schema-newer'),
  );
  assert.equal(existsSync(join(host, 'third')), false);
});

test('tokens are restored as they were, or all revoked when asked', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  const { db } = old.storage;
  const now = Date.now();
  const principal = {
    id: 'prn_1',
    name: 'ada',
    kind: 'person',
    state: 'active',
    roles_json: '[]',
    created_at: now,
    created_by: null,
    revision: 1,
  };
  const token = {
    id: 'tok_1',
    principal_id: 'prn_1',
    hash: Buffer.alloc(32, 7),
    label: '',
    scope_json: '{}',
    created_at: now,
    created_by: 'prn_1',
    parent_id: null,
    expires_at: now * 2,
    revoked_at: null,
  };
  await old.storage.commit({
    steps: [
      { query: db.insertInto('principal').values(principal).compile() },
      { query: db.insertInto('token').values(token).compile() },
    ],
    entries: [],
  });
  await backUp(old, file);
  await old.close();
  const options = { file, passphrase: passphrase() };
  const kept = await restoreBackup({ ...options, config: placeIn(host, 'kept') });
  assert.equal(kept.validTokens, 1);
  const config = placeIn(host, 'revoked');
  const revoked = await restoreBackup({ ...options, config, revokeTokens: true });
  assert.equal(revoked.validTokens, 0);
});

test('a restore that is a drill leaves out who is told of alerts, and what waits for them', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, '1.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  const target = {
    ...{ id: 'alt_1', name: 'siem', kind: 'syslog', settings_json: '{}', secret: null },
    ...{ created_at: 1, created_by: 'prn_1', delivered_at: null, failed_at: null },
    ...{ reason: null, revision: 1 },
  };
  const topics = ['alert', 'alert:alt_1', 'other'];
  await old.storage.commit({
    steps: [{ query: old.storage.db.insertInto('alert_target').values(target).compile() }],
    entries: [],
    outbox: topics.map((topic) => ({ topic, payload: '{}' })),
  });
  await backUp(old, file);
  await old.close();
  for (const withoutAlerts of [false, true]) {
    const config = placeIn(host, `without-${withoutAlerts}`);
    await restoreBackup({ file, passphrase: passphrase(), config, withoutAlerts });
    const restored = await openInstallation(config);
    const { db } = restored.storage;
    const targets = await db.selectFrom('alert_target').select('name').execute();
    const waiting = await db.selectFrom('outbox').select('topic').orderBy('id').execute();
    await restored.close();
    assert.equal(targets.length, withoutAlerts ? 0 : 1);
    // The last one tells of the restore.
    assert.deepEqual(
      waiting.map(({ topic }) => topic),
      withoutAlerts ? ['other'] : [...topics, 'alert'],
    );
  }
});

let server: TestPostgres | undefined;
after(() => server?.remove());

test('SQLite restores into PostgreSQL and back, and numbers go on behind those restored', async (t) => {
  server = startPostgres(t);
  if (server === undefined) return;
  const host = temporaryFolder(t);
  const old = await openInstallation(placeIn(host, 'old'));
  await old.createKey(secretKey);
  const ciphertext = await old.encrypt('data/orders', 'ten apples');
  await old.storage.commit({ steps: [], entries: [], outbox: [{ topic: 'a', payload: '{}' }] });
  await backUp(old, join(host, '1.gpg'));
  await old.close();

  const middle = placeIn(host, 'middle', { databaseUrl: server.createDatabase('middle') });
  const options = { passphrase: passphrase() };
  await restoreBackup({ ...options, file: join(host, '1.gpg'), config: middle });
  await assert.rejects(
    restoreBackup({ ...options, file: join(host, '1.gpg'), config: middle }),
    (error) => isKeyreeveError(error, 'not-empty'),
  );
  const schemas = `SELECT count(*) FROM pg_namespace WHERE nspname = 'keyreeve_restoring'`;
  assert.equal(server.sql('middle', schemas), '0');
  const second = await openInstallation(middle, { clock: old.clock });
  assert.equal(await second.decrypt('data/orders', ciphertext), 'ten apples');
  await second.createKey({ ...secretKey, name: 'data/second' });
  await second.storage.commit({ steps: [], entries: [], outbox: [{ topic: 'b', payload: '{}' }] });
  const ids = await second.storage.db.selectFrom('outbox').select('id').orderBy('id').execute();
  assert.ok(ids[1]!.id > ids[0]!.id + 900_000_000);
  assert.deepEqual((await second.record.verify()).problems, []);
  await backUp(second, join(host, '2.gpg'));
  await second.close();

  const last = placeIn(host, 'last');
  const restored = await restoreBackup({ ...options, file: join(host, '2.gpg'), config: last });
  assert.equal(restored.keys, 2);
  const third = await openInstallation(last, { clock: old.clock });
  t.after(() => third.close());
  assert.equal(await third.decrypt('data/orders', ciphertext), 'ten apples');
  assert.deepEqual((await third.record.verify()).problems, []);
  assert.equal((await third.record.keyLines()).length, 3);
});

test('verifying names what is in a backup, and whether its root key made it', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  await old.createKey(secretKey);
  await backUp(old, file);
  await old.close();
  const verified = await verifyBackup({ file, passphrase: passphrase(), config: old.config });
  assert.equal(verified.keys, 1);
  assert.equal(verified.sealed, true);
  assert.ok(verified.entries >= 3);
  const elsewhere = await verifyBackup({ file, passphrase: passphrase() });
  assert.equal(elsewhere.sealed, false);
});

test('what waited for approval when a backup was made is void after its restore', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old'));
  const { db } = old.storage;
  const row = {
    ...{ id: 'apr_one', state: 'pending', kind: 'ordinary', action: 'key.destroy' },
    ...{ principal_id: 'prn_one', credential_id: 'tok_one', requesters_json: '{}' },
    ...{ command_json: '{}', digest: 'ab', salt: Buffer.alloc(32), requirements_json: '[]' },
    ...{ reason: null, created_at: 1, expires_at: 2 ** 42, ended_at: null, revision: 1 },
  };
  const ended = { ...row, id: 'apr_two', state: 'executed', ended_at: 2 };
  await old.storage.commit({
    steps: [row, ended].map((one) => ({ query: db.insertInto('approval').values(one).compile() })),
    entries: [],
  });
  await backUp(old, file);
  await old.close();
  const config = placeIn(host, 'new');
  await restoreBackup({ file, passphrase: passphrase(), config });
  const fresh = await openInstallation(config, { clock: old.clock });
  t.after(() => fresh.close());
  const states = await fresh.storage.db
    .selectFrom('approval')
    .select(['id', 'state'])
    .orderBy('id')
    .execute();
  assert.deepEqual(
    states.map(({ id, state }) => [id, state]),
    [
      ['apr_one', 'void'],
      ['apr_two', 'executed'],
    ],
  );
});
