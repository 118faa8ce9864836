import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockGuard, clockRefuseSeconds, requireClockAfter } from './clock-guard.ts';

function clockAt(start: number) {
  return {
    wall: start,
    passed: 0,
    now: function now() {
      return this.wall;
    },
    monotonic: function monotonic() {
      return this.passed;
    },
  };
}

test('a clock that moves with the time that passes is trusted', () => {
  const clock = clockAt(1_000_000);
  const guard = new ClockGuard(clock);
  clock.wall += 3_600_000;
  clock.passed += 3_600_000;
  assert.equal(guard.isUnsafe, false);
  guard.require();
});

for (const direction of [1, -1]) {
  test(`a clock that jumps ${direction > 0 ? 'ahead' : 'back'} is refused at the limit and trusted again when it is right`, () => {
    const clock = clockAt(1_000_000);
    const guard = new ClockGuard(clock);
    clock.wall += direction * (clockRefuseSeconds * 1000 - 1);
    guard.require();
    clock.wall += direction;
    assert.throws(() => guard.require(), { code: 'clock-unsafe' });
    clock.wall = 1_000_000;
    guard.require();
  });
}

test('a clock that differs from the database’s is refused', () => {
  const clock = clockAt(1_000_000);
  const guard = new ClockGuard(clock);
  guard.compare(clock.now() - clockRefuseSeconds * 1000, clock.now());
  assert.throws(() => guard.require(), { code: 'clock-unsafe' });
  guard.compare(clock.now() + 1000, clock.now());
  guard.require();
});

test('a start under a clock behind the record is refused', () => {
  const clock = clockAt(1_000_000);
  requireClockAfter(clock, undefined);
  requireClockAfter(clock, 1_000_000 + clockRefuseSeconds * 1000 - 1);
  assert.throws(() => requireClockAfter(clock, 1_000_000 + clockRefuseSeconds * 1000), {
    code: 'clock-unsafe',
  });
});
