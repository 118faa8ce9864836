import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { test } from 'node:test';
import { startPostgres } from '../../test/postgres.ts';
import { systemClock } from '../base/clock.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { createNodes } from './nodes.ts';

const log = { info() {}, warn() {}, error() {} };
const entryEncoder = new URL('../../test/plain-encoder.ts', import.meta.url);

test('the record tells once that a node joined, and once that it is gone, but not that it stopped', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  const databaseUrl = server.createDatabase('entries');
  const open = () =>
    openStorage({ dataFolder: 'unused', databaseUrl, clock: systemClock, log, entryEncoder });
  const node = async (storage: Storage) => {
    const options = { storage, clock: systemClock, log, version: '1.0', goneAfterSeconds: 0.5 };
    const nodes = createNodes(options);
    await nodes.start();
    return nodes;
  };
  const storages = [await open(), await open(), await open(), await open()] as const;
  t.after(async () => {
    await Promise.all(storages.map((storage) => storage.close().catch(() => undefined)));
    server.remove();
  });
  const [lost, stopping, first, second] = storages;
  await node(lost);
  const stopped = await node(stopping);
  const living = [await node(first), await node(second)];
  await stopped.stop();
  // Its process is gone, and nobody says so.
  await lost.close();
  await new Promise((resolve) => setTimeout(resolve, 700));
  // Both hear of each other by what storage writes of them; one of them takes the lost one out.
  await Promise.all(living.map((one) => one.look()));
  const rows = await first.db.selectFrom('entry_tail').select('opening').orderBy('id').execute();
  const entries = rows.map(({ opening }) => JSON.parse(Buffer.from(opening).toString('utf8')));
  const gone = entries.filter(({ action }) => action === 'node.gone');
  const about = (nodeId: string) => gone.filter(({ detail }) => JSON.parse(detail).id === nodeId);
  assert.ok(entries.filter(({ action }) => action === 'node.joined').length >= 4);
  assert.equal(about(lost.nodeId).length, 1);
  assert.equal(about(lost.nodeId)[0].resource, `${hostname()} ${process.pid}`);
  assert.equal(about(stopping.nodeId).length, 0);
  await Promise.all(living.map((one) => one.stop()));
});
