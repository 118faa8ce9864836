import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EpochKeeper } from './epoch-keeper.ts';
import { quietLog } from './storage.fixture.ts';

/** A clock that is driven by hand: of the day, and the one that does not go back. */
function handClock() {
  const time = { day: 1_000_000, running: 0 };
  const clock = { now: () => time.day, monotonic: () => time.running };
  const pass = (milliseconds: number) => {
    time.day += milliseconds;
    time.running += milliseconds;
  };
  return { clock, time, pass };
}

test('an epoch below the known one says nothing of what is the newest', () => {
  const { clock, pass } = handClock();
  const epochs = new EpochKeeper(7, clock, quietLog);
  pass(2000);
  epochs.confirm(6, epochs.now());
  assert.deepEqual([epochs.epoch, epochs.age()], [7, 2000]);
  epochs.confirm(7, epochs.now() - 500);
  assert.deepEqual([epochs.epoch, epochs.age()], [7, 500]);
});

test('the time that a host slept counts, and a clock that is put back takes none away', () => {
  const { clock, time, pass } = handClock();
  const epochs = new EpochKeeper(1, clock, quietLog);
  pass(300);
  // Asleep, the one clock stands still.
  time.day += 60_000;
  assert.equal(epochs.age(), 60_300);
  time.day -= 3_600_000;
  assert.equal(epochs.age(), 60_300);
  pass(200);
  assert.equal(epochs.age(), 60_500);
});
