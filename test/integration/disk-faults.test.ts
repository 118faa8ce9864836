import assert from 'node:assert/strict';
import { readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../eventually.ts';
import { fillDisk, mountFreezable, mountTmpfs } from '../mounts.ts';
import { type RawAnswer, rawRequests } from '../raw-request.ts';
import { logIn, makeInstallation, startService } from '../service.ts';

/** Longer than storage waits for a disk, and shorter than two such times. */
const answerMillisecondsMax = 9000;

interface Served {
  create(name: string, idempotencyKey?: string, keystore?: string): Promise<RawAnswer>;
  sign(): Promise<RawAnswer>;
  status(path: string): Promise<number>;
  verifies(): Promise<boolean>;
  names(): Promise<string[]>;
}

/** A service with its data in this folder, one key, and a checkpoint from before the fault. */
async function serve(
  t: TestContext,
  folder: string,
  extra: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const installation = makeInstallation(t);
  Object.assign(installation.environment, {
    KEYREEVE_DATA: join(folder, 'data'),
    KEYREEVE_SEAL: join(installation.folder, 'seal'),
    ...extra,
  });
  const service = await startService(t, installation);
  const { client, token, caPem } = await logIn(t, service);
  const raw = rawRequests(t, service.url, caPem);
  // A connection of its own: a call that hangs would hold up what comes behind it.
  const probe = rawRequests(t, service.url, caPem);
  const create = (name: string, idempotencyKey?: string, keystore = 'wrapped') => {
    const body = { name, algorithm: 'p-256', purpose: 'sign', keystore };
    const headers = idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey };
    return raw('POST', '/api/v1/keys', { token, body, headers });
  };
  const body = { data: 'aGVsbG8=' };
  assert.equal((await create('disk/key')).status, 201);
  const held = await client.call('audit.checkpoint');
  return {
    create,
    sign: () => raw('POST', '/api/v1/keys/disk%2Fkey/sign', { token, body }),
    status: async (path) => (await probe('GET', path)).status,
    verifies: async () => (await client.call('audit.verify', { body: held })).ok,
    names: async () => {
      const { items } = await client.call('key.list', { query: { limit: 500 } });
      return items.map((key) => key.name);
    },
  };
}

test('a full disk refuses what must be written, and serves again when there is room', async (t) => {
  const mount = mountTmpfs(t, 8);
  if (mount === undefined) return;
  t.after(() => mount.remove());
  const service = await serve(t, mount.folder);
  const filler = join(mount.folder, 'filler');
  fillDisk(filler);

  // The log of the database has room of its own for a while.
  const made: string[] = ['disk/key'];
  const refused: string[] = [];
  for (let count = 0; refused.length < 3; count++) {
    assert.ok(count < 3000, 'the disk does not fill up');
    const name = `disk/key-${count}`;
    const answer = await service.create(name);
    if (answer.status === 201) {
      made.push(name);
      continue;
    }
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.json.code, 'storage-full', answer.text);
    refused.push(name);
  }
  const signed = await service.sign();
  assert.deepEqual([signed.status, signed.json.code], [503, 'storage-full'], signed.text);
  assert.equal(signed.json.signature, undefined);
  assert.equal(await service.status('/healthz'), 200);
  assert.equal(await service.status('/readyz'), 503);
  assert.deepEqual((await service.names()).sort(), made.sort());

  rmSync(filler);
  await eventually(async () => (await service.status('/readyz')) === 200);
  assert.equal((await service.sign()).status, 200);
  assert.equal((await service.create(refused[0]!)).status, 201);
  assert.deepEqual((await service.names()).sort(), [...made, refused[0]!].sort());
  assert.equal(await service.verifies(), true);
});

test('a disk that hangs is given up in time, and the idempotency key tells what became of it', async (t) => {
  const mount = mountFreezable(t);
  if (mount === undefined) return;
  // Before anything else: a process that waits for a frozen disk cannot even be killed.
  t.after(() => mount.thaw());
  t.after(() => mount.remove());
  const service = await serve(t, mount.folder);
  mount.freeze();
  try {
    const begun = performance.now();
    const stuck = service.create('disk/stuck', 'only-once');
    let health = 0;
    let slowest = 0;
    const watching = (async () => {
      for (let isOver = false; !isOver; ) {
        isOver = await Promise.race([stuck.then(() => true), pause(100).then(() => false)]);
        const asked = performance.now();
        assert.equal(await service.status('/healthz').catch(String), 200);
        slowest = Math.max(slowest, performance.now() - asked);
        health++;
      }
    })();
    const answer = await stuck;
    assert.deepEqual([answer.status, answer.json.code], [503, 'outcome-unknown'], answer.text);
    assert.match(String(answer.json.hint), /idempotency key/);
    assert.ok(performance.now() - begun < answerMillisecondsMax, 'it took too long');
    await watching;
    assert.ok(health > 10 && slowest < 2000, `${health} answers, the slowest in ${slowest} ms`);

    const later = performance.now();
    const refused = await service.sign();
    assert.deepEqual([refused.status, refused.json.code], [503, 'storage-unavailable']);
    assert.ok(performance.now() - later < 2000, 'it waited for a disk that is known to hang');
    assert.equal(await service.status('/readyz'), 503);
  } finally {
    mount.thaw();
  }
  await eventually(async () => (await service.status('/readyz')) === 200);
  const again = await service.create('disk/stuck', 'only-once');
  assert.equal(again.status, 201, again.text);
  assert.deepEqual((await service.names()).sort(), ['disk/key', 'disk/stuck']);
  assert.equal((await service.sign()).status, 200);
  assert.equal(await service.verifies(), true);
});

test('a disk of key files that hangs stops those keys alone, and for no longer', async (t) => {
  const mount = mountFreezable(t);
  if (mount === undefined) return;
  t.after(() => mount.thaw());
  t.after(() => mount.remove());
  const { folder } = makeInstallation(t);
  const keys = join(mount.folder, 'keys');
  const service = await serve(t, folder, { CRYPTO_KEYS_PATH: keys });
  assert.equal((await service.create('disk/file', undefined, 'file')).status, 201);
  const files = readdirSync(join(keys, 'private'));
  mount.freeze();
  try {
    const begun = performance.now();
    const stuck = service.create('disk/stuck', undefined, 'file');
    for (let count = 0; count < 5; count++) {
      await pause(100);
      const asked = performance.now();
      assert.equal(await service.status('/healthz'), 200);
      assert.ok(performance.now() - asked < 2000, 'the event loop waits for the disk');
    }
    const answer = await stuck;
    assert.deepEqual([answer.status, answer.json.code], [503, 'keystore-unavailable']);
    assert.ok(performance.now() - begun < answerMillisecondsMax, 'it took too long');
    assert.equal((await service.sign()).status, 200);
    assert.equal((await service.create('disk/wrapped')).status, 201);
  } finally {
    mount.thaw();
  }
  const served = async () => (await service.create('disk/again', 'again', 'file')).status === 201;
  await eventually(served);
  const now = readdirSync(join(keys, 'private'));
  assert.equal(now.length, files.length + 1, `what was given up is left: ${now}`);
  const names = ['disk/again', 'disk/file', 'disk/key', 'disk/wrapped'];
  assert.deepEqual((await service.names()).sort(), names);
  assert.equal(await service.verifies(), true);
});

test('a data folder that is moved away is missed, and served again when it is back', async (t) => {
  const { folder } = makeInstallation(t);
  const service = await serve(t, folder);
  const data = join(folder, 'data');
  renameSync(data, `${data}-away`);
  try {
    for (const answer of [await service.create('disk/lost'), await service.sign()]) {
      assert.deepEqual([answer.status, answer.json.code], [503, 'storage-unavailable']);
    }
    assert.equal(await service.status('/healthz'), 200);
    assert.equal(await service.status('/readyz'), 503);
  } finally {
    renameSync(`${data}-away`, data);
  }
  await eventually(async () => (await service.status('/readyz')) === 200);
  assert.equal((await service.sign()).status, 200);
  assert.deepEqual(await service.names(), ['disk/key']);
  assert.equal((await service.create('disk/lost')).status, 201);
  assert.equal(await service.verifies(), true);
});

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
