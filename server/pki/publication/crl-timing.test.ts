import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isPending,
  neverMilliseconds,
  nextDueAt,
  nextUpdateAt,
  thisUpdateAt,
} from './crl-timing.ts';

const now = Date.UTC(2030, 0, 1, 0, 0, 0, 700);
const day = 86_400;

test('thisUpdate is a whole second, now, and never before that of the CRL before', () => {
  assert.equal(thisUpdateAt(now, undefined), now - 700);
  assert.equal(thisUpdateAt(now, now - 5700), now - 700);
  assert.equal(thisUpdateAt(now, now + 9300), now + 9300);
});

test('the next CRL is out a third of the validity before nextUpdate, or sooner', () => {
  const at = now - 700;
  const due = (crlEverySeconds: number, crlValiditySeconds: number) =>
    (nextDueAt(at, { crlEverySeconds, crlValiditySeconds }) - at) / 1000;
  assert.equal(due(day, 7 * day), day);
  assert.equal(due(7 * day, 7 * day), (7 * day * 2) / 3);
  assert.equal(due(366 * day, 600), 400);
  assert.equal(due(60, 600), 60);
  assert.equal(nextUpdateAt(at, { crlEverySeconds: 60, crlValiditySeconds: 600 }), at + 600_000);
  assert.equal(new Date(neverMilliseconds).toISOString(), '9999-12-31T23:59:59.000Z');
});

test('what is due within the five seconds waits to be published; the regular time does not', () => {
  const pending = (dueAt: number | null, publishedAt: number | null) =>
    isPending({ dueAt, publishedAt }, now);
  assert.equal(pending(null, now), false);
  assert.equal(pending(now, null), true);
  assert.equal(pending(now + 5000, now), true);
  assert.equal(pending(now + 5001, now), false);
  assert.equal(pending(now + 1, now - 60_000), false);
});
