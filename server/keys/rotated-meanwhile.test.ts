import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../test/postgres.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { openTestKeys } from './testing.ts';

const data = Buffer.from('a message').toString('base64');
let server: TestPostgres | undefined;
after(() => server?.remove());

/** A key that one node has in memory in its first version, and the other has rotated. */
async function rotatedElsewhere(t: TestContext) {
  server ??= startPostgres(t);
  if (server === undefined) return undefined;
  const databaseUrl = server.createDatabase(`rotated${t.name.length}`);
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-rotated-'));
  const a = await openTestKeys({ databaseUrl, folder });
  const b = await openTestKeys({ databaseUrl, folder, storeKey: a.storeKey });
  t.after(async () => {
    await Promise.all([a.close(), b.close()]);
    rmSync(folder, { recursive: true });
  });
  const key = { name: 'k', algorithm: 'p-256', purpose: 'sign' } as const;
  await a.create(key);
  await b.storage.refreshEpoch();
  const signed = await b.call('key.sign', 'k', { data });
  assert.equal(signed.version, 1);
  return { a, b };
}

test('a node that has not heard of a rotation signs with the new version all the same', async (t) => {
  const nodes = await rotatedElsewhere(t);
  if (nodes === undefined) return;
  await nodes.a.call('key.rotate', 'k', {});
  const { version, signature } = await nodes.b.call('key.sign', 'k', { data });
  assert.equal(version, 2);
  const verdict = await nodes.a.call('key.verify', 'k', { data, signature });
  assert.deepEqual([verdict.valid, verdict.version], [true, 2]);
});

test('a version that the caller names is refused where another node has replaced it', async (t) => {
  const nodes = await rotatedElsewhere(t);
  if (nodes === undefined) return;
  await nodes.a.call('key.rotate', 'k', {});
  await assert.rejects(nodes.b.call('key.sign', 'k', { data, version: 1 }), (error) =>
    isKeyreeveError(error, 'state-not-allowed'),
  );
});

test('a key that another node has suspended is refused', async (t) => {
  const nodes = await rotatedElsewhere(t);
  if (nodes === undefined) return;
  await nodes.a.call('key.state', 'k', { state: 'suspended' });
  await assert.rejects(nodes.b.call('key.sign', 'k', { data }), (error) =>
    isKeyreeveError(error, 'state-not-allowed'),
  );
});
