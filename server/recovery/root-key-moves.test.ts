import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startSoftHsm } from '../../test/softhsm.ts';
import { startTpm } from '../../test/tpm.ts';
import { KeyreeveError } from '../base/errors.ts';
import { createRootKey, makeRootKeyText, parseSealLocation } from '../keystores/keystores.ts';
import { moveRootKey } from './move-root-key.ts';
import type { PlaceConfig } from './place.ts';
import {
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';
import { verifyBackup } from './verify-backup.ts';

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };

const keyIn = (token: { uri: string }, label: string) =>
  token.uri.replace('?', `;object=${encodeURIComponent(label)}?`);
const sealedAt = (config: PlaceConfig, uri: string): PlaceConfig => ({
  ...config,
  seal: { kind: 'pkcs11', uri },
});

async function open(t: TestContext, ...given: Parameters<typeof openInstallation>) {
  const installation = await openInstallation(...given);
  let isOpen = true;
  const close = async () => {
    if (isOpen) await installation.close();
    isOpen = false;
  };
  t.after(close);
  return { ...installation, close };
}

test('a running installation moves its root key from a folder to another and goes on', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const before = await open(t, config);
  const { clock } = before;
  await before.createKey(secretKey);
  const ciphertext = await before.encrypt('data/orders', 'ten apples');
  const moved = await before.moveRootKey(join(host, 'stick'));
  assert.equal(moved.moved, true);
  assert.deepEqual(moved.settings, {
    KEYREEVE_SEAL: join(host, 'stick'),
    KEYREEVE_CHECKPOINTS: config.checkpoints,
  });
  assert.equal(await before.decrypt('data/orders', ciphertext), 'ten apples');
  assert.equal((await before.rootKeys.inForce(before.storage)).fingerprint, moved.fingerprint);
  // A backup made now is sealed by the new one.
  const backup = join(host, 'backup.gpg');
  await saveAnswer(await before.backup({ passphrase: passphraseText }), backup);
  const again = await before.moveRootKey(join(host, 'seal'));
  assert.equal(again.moved, true, 'back to where it was');
  await before.moveRootKey(join(host, 'stick'));
  await before.close();
  const seal = { kind: 'path', path: join(host, 'stick') } as const;
  const verified = await verifyBackup({ file: backup, passphrase: passphrase(), config: { seal } });
  assert.equal(verified.sealed, true);
  await assert.rejects(openInstallation(config, { clock }), (error: KeyreeveError) => {
    assert.equal(error.code, 'root-key-mismatch');
    assert.match(error.hint ?? '', new RegExp(join(host, 'stick')));
    return true;
  });
  const after = await open(t, { ...config, seal }, { clock });
  assert.equal(await after.decrypt('data/orders', ciphertext), 'ten apples');
});

test('no key that has a name of its own becomes the root key', async (t) => {
  const host = temporaryFolder(t);
  const site = await open(t, placeIn(host, 'data'));
  await site.createKey(secretKey);
  const { fingerprint } = await site.moveRootKey(join(host, 'stick'));
  await site.moveRootKey(join(host, 'seal'));
  // As if what lies there were that key: in a token it can be.
  const { db } = site.storage;
  const query = db
    .updateTable('key_version')
    .set({ fingerprint: fingerprint.padEnd(64, '0') })
    .where('key_id', 'in', db.selectFrom('key').select('id').where('name', '=', 'data/orders'))
    .compile();
  await site.storage.commit({ steps: [{ query }], entries: [] });
  await assert.rejects(site.moveRootKey(join(host, 'stick')), { code: 'conflict' });
  assert.notEqual((await site.rootKeys.inForce(site.storage)).fingerprint, fingerprint);
});

test('a move that is not allowed, or to a lesser or a wrong place, changes nothing', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const site = await open(t, config);
  const refused = async (to: string, code: string) => {
    await assert.rejects(site.moveRootKey(to), { code });
    const inForce = await site.rootKeys.inForce(site.storage);
    assert.equal(inForce.fingerprint, site.rootKey.fingerprint);
  };
  await refused(join(host, 'seal'), 'invalid-request');
  await refused(join(config.data, 'seal'), 'invalid-request');
  await refused('stick', 'invalid-request');
  await refused('env:KEYREEVE_TEST_NO_SUCH', 'root-key-missing');
  await refused('pkcs11:token=T;object=o', 'config-invalid');
  await refused('pkcs11:token=T;object=o?module-path=/no/such.so', 'keystore-unavailable');
  site.rules.allowKeystore = async () => {
    throw new KeyreeveError('invalid-request', 'This module is not on the list.');
  };
  await refused('pkcs11:token=T;object=o?module-path=/no/such.so', 'invalid-request');
  site.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'You may not.');
  };
  await refused(join(host, 'stick'), 'forbidden');
  assert.equal(existsSync(join(host, 'stick')), false);
  site.rights.authorise = () => undefined;
  const [one, other] = await Promise.allSettled([
    site.moveRootKey(join(host, 'one')),
    site.moveRootKey(join(host, 'other')),
  ]);
  assert.equal(one.status, 'fulfilled');
  assert.equal((other as PromiseRejectedResult).reason.code, 'conflict');

  // From a variable, which a stolen disk does not hold, no call from afar leads to a file.
  process.env.KEYREEVE_TEST_SEAL = makeRootKeyText();
  t.after(() => delete process.env.KEYREEVE_TEST_SEAL);
  await site.moveRootKey('env:KEYREEVE_TEST_SEAL');
  await assert.rejects(site.moveRootKey(join(host, 'lesser')), { code: 'forbidden' });
  assert.equal(existsSync(join(host, 'lesser')), false);
  assert.equal(await site.moves.settle(), 0, 'no intent is left');
});

test('a move that ended in the middle is settled at the next start, and done again', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const site = await open(t, config);
  const { clock, storage } = site;
  // Killed after the new root key was made, before it was in force.
  const fresh = await createRootKey(parseSealLocation(join(host, 'stick')));
  await storage.commit({
    steps: [
      {
        query: storage.db
          .insertInto('intent')
          .values({
            id: 'int_test',
            kind: 'root-key.move',
            payload_json: JSON.stringify({ to: join(host, 'stick') }),
            entry_id: 'ent_test',
            created_at: clock.now(),
          })
          .compile(),
      },
    ],
    entries: [],
  });
  await site.close();
  const again = await open(t, config, { clock });
  assert.equal(await again.moves.settle(), 1);
  assert.equal(await again.moves.settle(), 0);
  assert.equal((await again.moveRootKey(join(host, 'stick'))).fingerprint, fresh.fingerprint);
});

test('from a folder into SoftHSM2, on to a TPM, and on the host back: all opens with each', async (t) => {
  const hsm = startSoftHsm(t);
  const tpm = await startTpm(t);
  if (hsm === undefined || tpm === undefined) return;
  t.after(() => hsm.remove());
  t.after(() => tpm.remove());
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  let site = await open(t, config);
  const { clock } = site;
  await site.createKey(secretKey);
  const ciphertext = await site.encrypt('data/orders', 'ten apples');
  const inHsm = await site.moveRootKey(keyIn(hsm, 'root'));
  await assert.rejects(site.moveRootKey(join(host, 'stick')), { code: 'forbidden' });
  const backup = join(host, 'in-hsm.gpg');
  await saveAnswer(await site.backup({ passphrase: passphraseText }), backup);
  await site.moveRootKey(keyIn(tpm, 'root'));
  await assert.rejects(site.moveRootKey(keyIn(hsm, 'root')), { code: 'forbidden' });
  assert.equal(await site.decrypt('data/orders', ciphertext), 'ten apples');
  await site.close();

  // Started with each place: the one in force alone.
  for (const lost of [config, sealedAt(config, keyIn(hsm, 'root'))]) {
    await assert.rejects(openInstallation(lost, { clock }), (error: KeyreeveError) => {
      assert.equal(error.code, 'root-key-mismatch');
      assert.match(error.hint ?? '', /token=keyreeve%20tpm;object=root/);
      return true;
    });
  }
  site = await open(t, sealedAt(config, keyIn(tpm, 'root')), { clock });
  assert.equal(await site.decrypt('data/orders', ciphertext), 'ten apples');
  assert.deepEqual((await site.record.verify()).problems, []);
  await site.close();

  // On the host, to a token whose key is there already, and out into a folder.
  const onHost = (from: PlaceConfig, to: string) => moveRootKey({ config: from, to, clock });
  const back = await onHost(sealedAt(config, keyIn(tpm, 'root')), keyIn(hsm, 'root'));
  assert.equal(back.fingerprint, inHsm.fingerprint);
  const out = await onHost(sealedAt(config, keyIn(hsm, 'root')), join(host, 'stick'));
  assert.match(out.advice, /keep that token/);
  site = await open(t, { ...config, seal: { kind: 'path', path: join(host, 'stick') } }, { clock });
  assert.equal(await site.decrypt('data/orders', ciphertext), 'ten apples');
  await site.close();

  // The backup of then is proven and restored with the token of then.
  const restored = { ...placeIn(host, 'restored'), checkpoints: join(host, 'checkpoints') };
  const restore = (at: PlaceConfig) =>
    restoreBackup({ config: at, file: backup, passphrase: passphrase(), clock });
  const { seal } = sealedAt(config, keyIn(hsm, 'root'));
  hsm.takeAway();
  await assert.rejects(restore({ ...restored, seal }), { code: 'keystore-unavailable' });
  hsm.putBack();
  await assert.rejects(restore(restored), { code: 'root-key-mismatch' });
  await assert.rejects(restore({ ...restored, seal: sealedAt(config, keyIn(tpm, 'root')).seal }), {
    code: 'root-key-mismatch',
  });
  assert.equal(existsSync(join(restored.data, 'keyreeve.db')), false);
  await restore({ ...restored, seal });
  site = await open(t, { ...restored, seal }, { clock });
  assert.equal(await site.decrypt('data/orders', ciphertext), 'ten apples');
});

test('a backup that another key of the same token sealed is refused', async (t) => {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return;
  t.after(() => hsm.remove());
  const host = temporaryFolder(t);
  const config = sealedAt(placeIn(host, 'data'), keyIn(hsm, 'root'));
  const site = await open(t, config);
  // Another installation with another key of the same token: its seal does not count here.
  const other = await open(t, {
    ...sealedAt(placeIn(host, 'other'), keyIn(hsm, 'another')),
    checkpoints: join(host, 'other-checkpoints'),
  });
  const { inForce } = other.rootKeys;
  const forger = {
    fingerprint: site.rootKey.fingerprint,
    wrap: (label: string, bytes: Uint8Array) => other.rootKey.wrap(label, bytes),
  };
  other.rootKeys.inForce = async () => ({ ...other.rootKey, ...forger });
  const backup = join(host, 'forged.gpg');
  await saveAnswer(await other.backup({ passphrase: passphraseText }), backup);
  other.rootKeys.inForce = inForce;
  await assert.rejects(verifyBackup({ file: backup, passphrase: passphrase(), config }), {
    code: 'backup-invalid',
  });
});
