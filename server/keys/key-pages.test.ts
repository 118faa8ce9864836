import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { policy } from '../../api/fields.ts';
import { systemClock } from '../base/clock.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { KeyStore } from './key-store.ts';
import { newKey } from './make-key.ts';

const names = ['a/1', 'app.x/1', 'app/1', 'app/2', 'app/sub/1', 'app0/1', 'zoo/1'];
let folder: string;
let storage: Storage;
let store: KeyStore;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-key-pages-'));
  storage = await openStorage({
    dataFolder: folder,
    clock: systemClock,
    log: { info() {}, warn() {}, error() {} },
    entryEncoder: new URL('../../test/plain-encoder.ts', import.meta.url),
  });
  store = new KeyStore(storage);
  const body = {
    algorithm: 'p-256',
    purpose: 'sign',
    labels: {},
    policy: policy.parse({}),
  } as const;
  const steps = names.map((name) => {
    const key = newKey({ name, ...body }, { ownerId: 'prn_test', kind: 'wrapped', now: 0 });
    return store.insertKey({ ...key, versions: [{ version: 1 }] as never }, 0);
  });
  await storage.commit({ steps, entries: [] });
});
after(async () => {
  await storage.close();
  rmSync(folder, { recursive: true });
});

async function page(within: string | undefined, from: string, limit = 50): Promise<string[]> {
  return (await store.page({ folder: within }, from, limit)).map(({ name }) => name);
}

test('a page of a folder begins where the folder begins, or after the name that is given', async () => {
  const inFolder = ['app/1', 'app/2', 'app/sub/1'];
  assert.deepEqual(await page('app', ''), inFolder);
  assert.deepEqual(await page('app', 'a/1'), inFolder);
  assert.deepEqual(await page('app', '', 2), inFolder.slice(0, 2));
  assert.deepEqual(await page('app', 'app/1'), inFolder.slice(1));
  assert.deepEqual(await page('app', 'app/sub/1'), []);
  assert.deepEqual(await page('app', 'zoo/1'), []);
});

test('without a folder all names come in their order', async () => {
  assert.deepEqual(await page(undefined, ''), names);
  assert.deepEqual(await page('', 'app/2'), ['app/sub/1', 'app0/1', 'zoo/1']);
});

test('a folder that no key can be in has no keys, whatever name is given', async () => {
  // The order of JavaScript's strings and that of their bytes differ here.
  assert.deepEqual(await page('\u{1f511}', '\uff5e'), []);
  assert.deepEqual(await page('\uff5e', 'a'), []);
});
