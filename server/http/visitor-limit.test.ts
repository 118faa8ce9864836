import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { networkOf, VisitorLimit } from './visitor-limit.ts';

const clock = { time: 0, now: () => clock.time, monotonic: () => clock.time };
const settings = { requestsPerSecond: 2, burstRequests: 3, addressesMax: 2, clock };

function isLimited(limit: VisitorLimit, address: string): boolean {
  try {
    limit.take(address);
    return false;
  } catch (error) {
    assert.ok(isKeyreeveError(error, 'rate-limited'));
    assert.equal(error.retryAfterSeconds, 1);
    return true;
  }
}

test('a burst passes, then requests are limited until time has passed', () => {
  const limit = new VisitorLimit(settings);
  const first = [1, 2, 3, 4].map(() => isLimited(limit, '192.0.2.1'));
  assert.deepEqual(first, [false, false, false, true]);
  assert.equal(isLimited(limit, '192.0.2.2'), false);
  clock.time += 499;
  assert.equal(isLimited(limit, '192.0.2.1'), true);
  clock.time += 1;
  assert.equal(isLimited(limit, '192.0.2.1'), false);
  assert.equal(isLimited(limit, '192.0.2.1'), true);
});

test('a bucket never holds more than the burst', () => {
  const limit = new VisitorLimit(settings);
  isLimited(limit, '192.0.2.1');
  clock.time += 3_600_000;
  const next = [1, 2, 3, 4].map(() => isLimited(limit, '192.0.2.1'));
  assert.deepEqual(next, [false, false, false, true]);
});

test('IPv6 callers share the bucket of their /64', () => {
  const limit = new VisitorLimit(settings);
  for (const last of ['1', '2', '3']) isLimited(limit, `2001:db8:1:2::${last}`);
  assert.equal(isLimited(limit, '2001:db8:1:2:ffff::9'), true);
  assert.equal(isLimited(limit, '2001:db8:1:3::1'), false);
  assert.equal(networkOf('2001:db8::1'), '2001:db8:0:0');
  assert.equal(networkOf('::1'), '0:0:0:0');
  assert.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0');
});
