import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatExpiry } from './expiry.ts';

const now = Date.parse('2026-05-01T12:00:00Z');
const after = (seconds: number) => new Date(now + seconds * 1000).toISOString();

test('the end of a certificate is shown as the time that is left', () => {
  assert.equal(formatExpiry(after(365 * 86_400), now), 'in 365d');
  assert.equal(formatExpiry(after(30 * 86_400), now), 'in 30d');
  assert.equal(formatExpiry(after(-3 * 86_400 - 5), now), '3d ago');
  assert.equal(formatExpiry('9999-12-31T23:59:59.000Z', now), 'never');
});

test('what ends within thirty days is marked', () => {
  assert.equal(formatExpiry(after(30 * 86_400 - 1), now), 'in 29d (soon)');
  assert.equal(formatExpiry(after(40 * 3600), now), 'in 40h (soon)');
  assert.equal(formatExpiry(after(90), now), 'in 1m (soon)');
  assert.equal(formatExpiry(after(5), now), 'in 5s (soon)');
});
