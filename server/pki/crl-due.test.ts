import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crlGapSeconds, gapLeft, revocationDueAt } from './crl-due.ts';

const now = Date.UTC(2030, 0, 1, 0, 0, 0, 700);

test('between two CRLs lie five seconds, unless the clock went back', () => {
  const left = (publishedAt: number | null) => gapLeft({ publishedAt }, now);
  assert.equal(left(null), 0);
  assert.equal(left(now), crlGapSeconds * 1000);
  assert.equal(left(now - 4999), 1);
  assert.equal(left(now - 5000), 0);
  assert.equal(left(now + 60_000), 0);
});

test('a revocation is published once the gap is over, or with what is due before', () => {
  const due = (dueAt: number | null, publishedAt: number | null) =>
    revocationDueAt({ dueAt, publishedAt }, now) - now;
  assert.equal(due(null, null), 0);
  assert.equal(due(now + 60_000, now - 60_000), 0);
  assert.equal(due(now + 60_000, now - 1000), 4000);
  assert.equal(due(now + 60_000, now + 30_000), 0);
  assert.equal(due(now - 1000, now - 60_000), -1000);
});
