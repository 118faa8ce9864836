import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { entryEncoder } from '../audit/audit.ts';
import { systemClock } from '../base/clock.ts';
import { openStorage } from '../storage/storage.ts';
import { createRootKey, openRootKey, parseSealLocation } from './root-key.ts';
import { RootKeys } from './root-keys.ts';
import { openStoreKeys, rewrapSteps } from './store-keys.ts';

test('a root key that another node has moved is opened, and believed only if it opens the store keys', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-root-keys-'));
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const storage = await openStorage({
    ...{ dataFolder: join(folder, 'data'), clock: systemClock, entryEncoder, log },
  });
  t.after(async () => {
    await storage.close();
    rmSync(folder, { recursive: true });
  });
  const place = (name: string) => parseSealLocation(join(folder, name));
  const [old, fresh, forged] = await Promise.all(
    ['old', 'fresh', 'forged'].map((name) => createRootKey(place(name))),
  );
  const storeKeys = await openStoreKeys(storage, old!, systemClock);
  const asked: string[] = [];
  const rootKeys = new RootKeys({
    rootKey: old!,
    open: async (moved) => {
      asked.push(moved.place);
      const found = await openRootKey(parseSealLocation(moved.place));
      if (found === undefined) return undefined;
      return (await storeKeys.areWrappedBy(found, storage)) ? found : undefined;
    },
  });
  assert.equal((await rootKeys.inForce(storage)).fingerprint, old!.fingerprint);
  assert.deepEqual(asked, []);
  // As another node does it.
  await storage.commit({ steps: await rewrapSteps(storage, old!, fresh!), entries: [] });
  assert.equal((await rootKeys.inForce(storage)).fingerprint, fresh!.fingerprint);
  assert.equal((await rootKeys.inForce(storage)).fingerprint, fresh!.fingerprint);
  assert.deepEqual(asked, [join(folder, 'fresh')]);
  // Whoever can write to the database alone cannot make the service take his own.
  const facts = [
    ['root-key-fingerprint', forged!.fingerprint],
    ['root-key-place', join(folder, 'forged')],
  ] as const;
  await storage.commit({
    steps: facts.map(([name, value]) => ({
      query: storage.db.updateTable('meta').set({ value }).where('name', '=', name).compile(),
    })),
    entries: [],
  });
  await assert.rejects(rootKeys.inForce(storage), { code: 'root-key-mismatch' });
});
