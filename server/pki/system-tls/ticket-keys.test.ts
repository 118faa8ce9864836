import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { eventually } from '../../../test/eventually.ts';
import { systemClock } from '../../base/clock.ts';
import { openStorage } from '../../storage/storage.ts';
import { openTicketKeys, ticketPeriodSeconds } from './ticket-keys.ts';

const log = { info() {}, warn() {}, error() {} };
const entryEncoder = new URL('../../../test/plain-encoder.ts', import.meta.url);
// Not a cipher: it shows that what lies in the database was sealed for its place.
const sealer = {
  seal: (label: string, bytes: Uint8Array) => Buffer.concat([Buffer.from(label), bytes]),
  unseal: (label: string, sealed: Uint8Array) => {
    if (!Buffer.from(sealed).toString('latin1').startsWith(label)) throw new Error('damaged');
    return sealed.subarray(label.length);
  },
};
const metaName = 'tls-ticket-keys';

async function open(t: TestContext) {
  const dataFolder = mkdtempSync(join(tmpdir(), 'keyreeve-tickets-'));
  const storage = await openStorage({ dataFolder, clock: systemClock, log, entryEncoder });
  t.after(async () => {
    await storage.close();
    rmSync(dataFolder, { recursive: true });
  });
  let now = 1_900_000_000_000;
  const clock = { now: () => now, monotonic: () => now };
  return {
    storage,
    node: (ahead = 0) =>
      openTicketKeys({
        ...{ storage, sealer },
        clock: { now: () => now + ahead, monotonic: clock.monotonic },
      }),
    advance: () => {
      now += ticketPeriodSeconds * 1000;
    },
    stored: async () => {
      const rows = await storage.db
        .selectFrom('meta')
        .select('value')
        .where('name', '=', metaName)
        .execute();
      return rows.map(({ value }) => Buffer.from(value.split(' ')[1]!, 'base64'));
    },
  };
}

test('the keys of session tickets are the same for all who serve, and change with time', async (t) => {
  const { node, advance, stored } = await open(t);
  const [first, second] = await Promise.all([node(), node()]);
  const before = first();
  assert.equal(before.length, 48);
  assert.deepEqual(before, second());
  assert.equal(first(), before, 'they are kept as long as they are the same');
  advance();
  await eventually(async () => !first().equals(before) && first().equals(second()));
  assert.equal(first(), first());
  const [sealed, ...more] = await stored();
  assert.ok(sealed!.toString('latin1').startsWith('tls\n'));
  assert.deepEqual(more, []);
});

test('nothing that is kept leads back to the keys of former periods', async (t) => {
  const { node, advance, stored } = await open(t);
  const first = await node();
  const before = first();
  const [was] = await stored();
  advance();
  await eventually(async () => !first().equals(before));
  const [is] = await stored();
  assert.ok(was!.includes(before));
  assert.ok(!is!.includes(before));
  assert.ok(is!.includes(first()));
});

test('a node whose clock is a little behind takes the keys of the next period', async (t) => {
  const { node } = await open(t);
  const ahead = await node(ticketPeriodSeconds * 1000);
  const behind = await node();
  assert.deepEqual(behind(), ahead());
  // One that was days ahead is not waited for.
  await node(5 * ticketPeriodSeconds * 1000);
  const late = await node();
  assert.notDeepEqual(late(), ahead());
});

test('keys that are damaged in the database are made anew', async (t) => {
  const { node, storage } = await open(t);
  const first = (await node())();
  const query = storage.db
    .updateTable('meta')
    .set({ value: 'what is this' })
    .where('name', '=', metaName)
    .compile();
  await storage.commit({ steps: [{ query }], entries: [] });
  const second = (await node())();
  assert.equal(second.length, 48);
  assert.notDeepEqual(second, first);
});
