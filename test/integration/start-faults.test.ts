import assert from 'node:assert/strict';
import { chmodSync, cpSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import type { ErrorCode } from '../../api/error-codes.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { type Installation, logIn, makeInstallation, startService } from '../service.ts';

/** The start is refused: exit code 1, the code, and a hint in these words. */
async function refused(
  t: TestContext,
  installation: Installation,
  code: ErrorCode,
  hint: string | RegExp = /./,
  extra: Readonly<Record<string, string>> = {},
): Promise<void> {
  await assert.rejects(startService(t, installation, extra), (error) => {
    const { message } = error as Error;
    assert.match(message, /^ended with 1: /);
    assert.ok(message.includes(`(${code})\nhint: `), `${code} is expected in: ${message}`);
    const found = message.slice(message.indexOf('\nhint: ') + 7).trim();
    if (typeof hint === 'string') assert.equal(found.replace(/^Run: /, ''), hint);
    else assert.match(found, hint);
    assert.doesNotMatch(message, /\n {4}at /, 'a stack is shown to the operator');
    return true;
  });
}

/** An installation that was used and stopped. */
async function usedInstallation(t: TestContext): Promise<Installation> {
  const installation = makeInstallation(t);
  installation.environment.CRYPTO_KEYS_PATH = join(installation.folder, 'keys');
  const service = await startService(t, installation);
  const { client } = await logIn(t, service);
  for (const keystore of ['wrapped', 'file']) {
    const name = `start/${keystore}`;
    const body = { name, algorithm: 'p-256', purpose: 'sign', keystore } as const;
    await client.call('key.create', { body });
  }
  assert.equal(await service.stop(), 0);
  return installation;
}

test('a second start on one folder is refused while the first serves', async (t) => {
  const installation = makeInstallation(t);
  const service = await startService(t, installation);
  const { client } = await logIn(t, service);
  await refused(t, installation, 'already-running', /\d/);
  assert.ok(await client.call('status'));
  await service.stop('SIGKILL');
  const again = await startService(t, installation);
  assert.equal(await again.stop(), 0);
});

test('without its root key, or with another, the service does not start', async (t) => {
  const installation = await usedInstallation(t);
  const { seal, folder } = installation;
  renameSync(seal, `${seal}-away`);
  await refused(t, installation, 'root-key-missing', /KEYREEVE_SEAL/);
  rmSync(seal, { recursive: true, force: true });

  const stranger = makeInstallation(t);
  const other = await startService(t, stranger);
  await other.stop();
  cpSync(stranger.seal, join(folder, 'other-seal'), { recursive: true });
  chmodSync(join(folder, 'other-seal'), 0o700);
  const elsewhere = { KEYREEVE_SEAL: join(folder, 'other-seal') };
  await refused(t, installation, 'root-key-mismatch', /KEYREEVE_SEAL/, elsewhere);

  renameSync(`${seal}-away`, seal);
  const service = await startService(t, installation);
  assert.equal(service.loginCode, undefined);
  assert.equal(await service.stop(), 0);
});

test('a folder or file that others may read is refused with the command that mends it', async (t) => {
  const installation = await usedInstallation(t);
  const { data, seal } = installation;
  for (const [path, lax, right] of [
    [data, 0o755, '700'],
    [data, 0o710, '700'],
    [join(data, 'keyreeve.db'), 0o644, '600'],
    [seal, 0o750, '700'],
    [join(seal, 'root.key'), 0o640, '600'],
    [join(seal, 'root.key'), 0o604, '600'],
  ] as const) {
    chmodSync(path, lax);
    await refused(t, installation, 'lax-mode', `chmod ${right} ${path}`);
    chmodSync(path, Number.parseInt(right, 8));
  }
  const service = await startService(t, installation);
  assert.equal(await service.stop(), 0);
});

test('a key file that others may read is not used until it is mended', async (t) => {
  const installation = makeInstallation(t);
  const folder = join(installation.folder, 'keys');
  installation.environment.CRYPTO_KEYS_PATH = folder;
  const first = await startService(t, installation);
  const login = await logIn(t, first);
  const key = 'start/file';
  const { versions } = await login.client.call('key.create', {
    body: { name: key, algorithm: 'p-256', purpose: 'sign', keystore: 'file' },
  });
  const file = join(folder, 'private', `${versions[0]!.uri.slice('file:'.length)}.pem`);
  await first.stop();

  const service = await startService(t, installation);
  const client = login.at(service.url);
  const sign = () => client.call('key.sign', { params: { key }, body: { data: 'aGVsbG8=' } });
  for (const [path, lax, right] of [
    [file, 0o644, '600'],
    [join(folder, 'private'), 0o755, '700'],
    [folder, 0o705, '700'],
  ] as const) {
    chmodSync(path, lax);
    await assert.rejects(sign(), (error) => {
      assert.ok(isKeyreeveError(error, 'lax-mode'), String(error));
      assert.equal(error.hint, `Run: chmod ${right} ${path}`);
      return true;
    });
    const { keystores } = await client.call('status');
    const found = keystores.find((keystore) => keystore.name === 'file');
    assert.equal(found?.ready, false);
    assert.ok(found.reason?.includes(path), found.reason ?? 'no reason');
    chmodSync(path, Number.parseInt(right, 8));
  }
  renameSync(file, `${file}-away`);
  await assert.rejects(sign(), (error) => isKeyreeveError(error, 'keystore-unavailable'));
  renameSync(`${file}-away`, file);
  assert.equal((await sign()).version, 1);
  await service.stop();

  delete installation.environment.CRYPTO_KEYS_PATH;
  const without = login.at((await startService(t, installation)).url);
  const params = { key };
  const away = (error: unknown) => isKeyreeveError(error, 'keystore-unavailable');
  const body = { data: 'aGVsbG8=' };
  await assert.rejects(without.call('key.sign', { params, body }), away);
  await assert.rejects(without.call('key.rotate', { params, body: {} }), away);
});

test('a database of a newer version, a damaged one and a lost one are refused', async (t) => {
  const installation = await usedInstallation(t);
  const path = join(installation.data, 'keyreeve.db');
  cpSync(path, `${path}.good`);
  const change = (sql: string) => {
    const database = new DatabaseSync(path);
    database.exec(sql);
    database.close();
  };
  const columns = '("version", "name", "applied_at")';
  change(`INSERT INTO "schema_version" ${columns} VALUES (9999, 'from later', 0)`);
  await refused(t, installation, 'schema-newer');
  change('DELETE FROM "schema_version" WHERE "version" = 9999');

  change('PRAGMA application_id = 1');
  await refused(t, installation, 'integrity-failed');
  renameSync(`${path}.good`, path);

  // A root key with no database beside it, and one that has lost its own, are not the same.
  renameSync(path, `${path}.away`);
  cpSync(`${path}.away`, `${path}-wal`);
  await refused(t, installation, 'integrity-failed');
  rmSync(`${path}-wal`);
  renameSync(`${path}.away`, path);
  const service = await startService(t, installation);
  assert.equal(await service.stop(), 0);
});

test('a Ctrl-C that arrives twice at once stops the service as one does', async (t) => {
  const service = await startService(t, makeInstallation(t));
  service.process.kill('SIGINT');
  assert.equal(await service.stop('SIGINT'), 0);
});
