import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { newTimedId } from '../../base/ids.ts';
import { openTestPublication } from './publication.fixture.ts';

const count = 20_000;
const rowsPerStep = 500;
/** Others wait no longer than that for their turn while a large CRL is made. */
const delayMilliseconds = 250;

test('a CRL of 20,000 entries is made while others have their turn', async (t) => {
  const ca = await openTestPublication(t);
  const { id } = await ca.root('ca');
  await ca.round();
  const now = ca.clock.now();
  const serials = Array.from({ length: count }, () => `61${randomBytes(16).toString('hex')}`);
  for (let start = 0; start < count; start += rowsPerStep * 20) {
    await ca.storage.commit({ steps: stepsFrom(start), entries: [] });
  }
  function stepsFrom(start: number) {
    return Array.from({ length: 20 }, (_, step) => {
      const from = start + step * rowsPerStep;
      const rows = serials.slice(from, from + rowsPerStep).map((serial, index) => ({
        id: newTimedId('crt', now),
        ...{ ca_id: id, ca_version: 1, serial, subject: 'CN=x', profile: 'tls-client' },
        ...{ not_before: now, not_after: now + 86_400_000, fingerprint: null },
        ...{ key_fingerprint: null, key_id: null, key_version: null, names_json: '[]' },
        ...{ created_at: now, created_by: 'prn_test', revoked_at: now, invalid_from: null },
        ...{ reason: index % 2 === 0 ? 'keyCompromise' : 'unspecified', der: null },
      }));
      return { query: ca.storage.db.insertInto('certificate').values(rows).compile() };
    });
  }
  ca.clock.advance(86_400 - 60);
  const due = ca.storage.db.updateTable('ca_version').set({ crl_due_at: 1 }).compile();
  await ca.storage.commit({ steps: [{ query: due }], entries: [] });

  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const begun = performance.now();
  await ca.round();
  const seconds = (performance.now() - begun) / 1000;
  delay.disable();
  t.diagnostic(`${seconds.toFixed(2)} s, event loop held for ${Math.round(delay.max / 1e6)} ms`);
  const crl = await ca.crl('ca');
  assert.equal(crl.entries.length, count);
  const found = new Set(crl.entries.map(({ serial }) => serial.toString('hex')));
  assert.ok(serials.every((serial) => found.has(serial)));
  assert.ok(delay.max / 1e6 < delayMilliseconds, `${delay.max / 1e6} ms`);
});
