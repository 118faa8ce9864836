import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { type Migration, migrations } from '../storage/storage.ts';
import { openInstallation, passphrase, placeIn, temporaryFolder } from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';
import { upgrade } from './upgrade.ts';

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };
const next: Migration = {
  id: migrations.length + 1,
  name: 'next',
  up: () => [
    `ALTER TABLE "principal" ADD COLUMN "shoe_size" INTEGER`,
    `CREATE TABLE "next_table" ("id" INTEGER PRIMARY KEY)`,
  ],
};
const broken: Migration = { ...next, up: () => [`CREATE TABLE "half" ("id" INTEGER)`, 'nonsense'] };
const newer = [...migrations, next];

let server: TestPostgres | undefined;
after(() => server?.remove());

test('an upgrade backs up, checks the backup, and brings the schema up to date', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const old = await openInstallation(config);
  await old.createKey(secretKey);
  const ciphertext = await old.encrypt('data/orders', 'ten apples');
  const { clock } = old;
  await assert.rejects(
    upgrade({ config, passphrase: passphrase(), migrations: newer, clock }),
    (error) => isKeyreeveError(error, 'already-running'),
  );
  await old.close();

  const done = await upgrade({ config, passphrase: passphrase(), migrations: newer, clock });
  assert.equal(done.from, migrations.length);
  assert.equal(done.to, newer.length);
  assert.equal(statSync(done.backup!).mode & 0o777, 0o600);
  const upgraded = await openInstallation(config, { migrations: newer, clock });
  assert.equal(await upgraded.decrypt('data/orders', ciphertext), 'ten apples');
  const rows = await upgraded.storage.db.selectFrom('backup').select('label').execute();
  assert.deepEqual(rows, [{ label: `before the upgrade from schema ${migrations.length}` }]);
  await upgraded.close();

  const again = await upgrade({ config, migrations: newer, clock });
  assert.deepEqual(again, { from: newer.length, to: newer.length, backup: undefined });
  await assert.rejects(upgrade({ config, passphrase: passphrase(), clock }), (error) =>
    isKeyreeveError(error, 'schema-newer'),
  );
  const restored = await restoreBackup({
    file: done.backup!,
    passphrase: passphrase(),
    config: placeIn(host, 'new'),
    clock,
  });
  assert.equal(restored.keys, 1);
});

test('an upgrade whose backup or migration fails leaves the database as it was', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const old = await openInstallation(config);
  await old.createKey(secretKey);
  const { clock } = old;
  await old.close();
  await assert.rejects(upgrade({ config, migrations: newer, clock }), (error) =>
    isKeyreeveError(error, 'invalid-request'),
  );
  await assert.rejects(
    upgrade({ config, recipients: ['age1nonsense'], migrations: newer, clock }),
    (error) => isKeyreeveError(error, 'invalid-request'),
  );
  assert.deepEqual(
    existsSync(`${config.data}.backups`) ? readdirSync(`${config.data}.backups`) : [],
    [],
  );
  await assert.rejects(
    upgrade({ config, passphrase: passphrase(), migrations: [...migrations, broken], clock }),
  );
  const same = await openInstallation(config, { clock });
  t.after(() => same.close());
  const tables = await same.storage.db.introspection.getTables();
  assert.equal(
    tables.some((table) => table.name === 'half'),
    false,
  );
  await assert.rejects(
    upgrade({ config: placeIn(host, 'none'), passphrase: passphrase(), clock }),
    (error) => isKeyreeveError(error, 'not-found'),
  );
  assert.equal(existsSync(join(host, 'none')), false);
});

test('a PostgreSQL database is upgraded the same way', async (t) => {
  server = startPostgres(t);
  if (server === undefined) return;
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data', { databaseUrl: server.createDatabase('upgraded') });
  await assert.rejects(upgrade({ config, passphrase: passphrase() }), (error) =>
    isKeyreeveError(error, 'not-found'),
  );
  const old = await openInstallation(config);
  await old.createKey(secretKey);
  const { clock } = old;
  await old.close();
  const file = join(host, 'before.gpg');
  const done = await upgrade({ config, passphrase: passphrase(), file, migrations: newer, clock });
  assert.deepEqual(done, { from: migrations.length, to: newer.length, backup: file });
  assert.equal(server.sql('upgraded', 'SELECT count(*) FROM next_table'), '0');
});
