import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import {
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';

const secretKey = { name: 'data/locked', algorithm: 'aes-256', purpose: 'encrypt' };

test('a key under the export lock is in no backup, wherever it lies', async (t) => {
  const host = temporaryFolder(t);
  const file = join(host, 'backup.gpg');
  const old = await openInstallation(placeIn(host, 'old', { keyFiles: 'old-files' }));
  const policy = { exportLocked: true };
  await old.createKey({ ...secretKey, policy });
  await old.createKey({
    ...{ name: 'code/locked', algorithm: 'p-256', purpose: 'sign', keystore: 'file' },
    policy,
  });
  await old.createKey({ ...secretKey, name: 'data/open' });
  await assert.rejects(
    old.createKey({ ...secretKey, name: 'data/both', policy: { ...policy, recovery: 'replica' } }),
    (error) => isKeyreeveError(error, 'invalid-policy'),
  );
  const lost = await old.encrypt('data/locked', 'stays');
  const kept = await old.encrypt('data/open', 'goes');
  await saveAnswer(await old.backup({ passphrase: passphraseText }), file);
  await old.close();
  const config = placeIn(host, 'new', { keyFiles: 'new-files' });
  await restoreBackup({ file, passphrase: passphrase(), config });
  assert.equal(existsSync(join(host, 'new-files')), false, 'the key file stayed at home');
  const fresh = await openInstallation(config);
  t.after(() => fresh.close());
  assert.equal(await fresh.decrypt('data/open', kept), 'goes');
  await assert.rejects(fresh.decrypt('data/locked', lost), (error) =>
    isKeyreeveError(error, 'key-destroyed'),
  );
});
