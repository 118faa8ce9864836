import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { createRootKey, makeRootKeyText } from '../keystores/keystores.ts';
import { moveRootKey } from './move-root-key.ts';
import { openInstallation, placeIn, temporaryFolder } from './recovery.fixture.ts';

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };

test('the root key moves: what it protects opens at the new place, and no more at the old', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const before = await openInstallation(config);
  const { clock } = before;
  await assert.rejects(moveRootKey({ config, to: join(host, 'stick') }), (error) =>
    isKeyreeveError(error, 'already-running'),
  );
  await before.close();

  const moved = await moveRootKey({ config, to: join(host, 'stick'), clock });
  assert.equal(moved.moved, true);
  assert.notEqual(moved.fingerprint, before.rootKey.fingerprint);
  assert.deepEqual(moved.settings, {
    KEYREEVE_SEAL: join(host, 'stick'),
    KEYREEVE_CHECKPOINTS: config.checkpoints,
  });
  // The old one stays: older backups are restored with it.
  assert.equal(existsSync(join(host, 'seal', 'root.key')), true);
  await assert.rejects(openInstallation(config, { clock }), (error) =>
    isKeyreeveError(error, 'root-key-mismatch'),
  );
});

test('what was moved opens with the new root key', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const before = await openInstallation(config);
  await before.createKey(secretKey);
  const ciphertext = await before.encrypt('data/orders', 'ten apples');
  const { clock } = before;
  await before.close();
  await moveRootKey({ config, to: join(host, 'stick'), clock });
  const seal = { kind: 'path', path: join(host, 'stick') } as const;
  const after = await openInstallation({ ...config, seal }, { clock });
  t.after(() => after.close());
  assert.equal(await after.decrypt('data/orders', ciphertext), 'ten apples');
  assert.deepEqual((await after.record.verify()).problems, []);
});

test('a move that was killed is finished by doing it again', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const before = await openInstallation(config);
  const { clock } = before;
  await before.close();
  const to = join(host, 'stick');
  // Killed before the commit: the new root key is on disk, the old one in force.
  const fresh = await createRootKey({ kind: 'folder', path: to });
  await (await openInstallation(config, { clock })).close();
  const moved = await moveRootKey({ config, to, clock });
  assert.equal(moved.fingerprint, fresh.fingerprint);
  // Killed after the commit: the configuration still names the old place.
  const again = await moveRootKey({ config, to, clock });
  assert.equal(again.moved, false);
  assert.equal(again.fingerprint, fresh.fingerprint);
});

test('a move to the same place, from a lost key, or to a variable without one is refused', async (t) => {
  const host = temporaryFolder(t);
  const config = placeIn(host, 'data');
  const before = await openInstallation(config);
  const { clock } = before;
  await before.close();
  const old = readFileSync(join(host, 'seal', 'root.key'));
  await assert.rejects(moveRootKey({ config, to: join(host, 'seal'), clock }), (error) =>
    isKeyreeveError(error, 'invalid-request'),
  );
  for (const to of [config.data, join(config.data, 'seal'), join(config.data, '..x')]) {
    await assert.rejects(moveRootKey({ config, to, clock }), (error) =>
      isKeyreeveError(error, 'invalid-request'),
    );
    assert.equal(existsSync(join(to, 'root.key')), false);
  }
  await assert.rejects(moveRootKey({ config, to: 'env:KEYREEVE_TEST_NO_SUCH', clock }), (error) =>
    isKeyreeveError(error, 'root-key-missing'),
  );
  writeFileSync(join(host, 'seal', 'root.key'), makeRootKeyText());
  await assert.rejects(moveRootKey({ config, to: join(host, 'stick'), clock }), (error) =>
    isKeyreeveError(error, 'root-key-mismatch'),
  );
  assert.equal(existsSync(join(host, 'stick')), false);
  writeFileSync(join(host, 'seal', 'root.key'), old);
  await (await openInstallation(config, { clock })).close();
  await assert.rejects(
    moveRootKey({ config: placeIn(host, 'other'), to: join(host, 'stick'), clock }),
    (error) => isKeyreeveError(error, 'not-found'),
  );
});
