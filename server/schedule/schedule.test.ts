import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { pino } from 'pino';
import { Schedule } from './schedule.ts';

test('work that fails is logged with its reason, and tried again', async (t) => {
  const lines: string[] = [];
  const log = pino(
    new Writable({
      write: (line: Buffer, _encoding, done) => {
        lines.push(line.toString('utf8'));
        done();
      },
    }),
  );
  const schedule = new Schedule(log);
  t.after(() => schedule.stop());
  const { promise, resolve } = Promise.withResolvers<void>();
  let runs = 0;
  schedule.every('cleaning up', 0.01, async () => {
    runs += 1;
    if (runs === 2) return resolve();
    throw new Error('the broom is away');
  });
  // The timers of the schedule keep no process alive.
  const alive = setInterval(() => undefined, 1000);
  await promise;
  clearInterval(alive);
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /the broom is away/);
  assert.match(lines[0]!, /cleaning up/);
});
