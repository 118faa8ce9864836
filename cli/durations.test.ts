import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import { formatDuration, parseDuration, parseTime } from './durations.ts';

const refused = (error: unknown) => isKeyreeveError(error, 'invalid-request');

test('lengths of time are read as people write them', () => {
  assert.equal(parseDuration('90d'), 90 * 86_400);
  assert.equal(parseDuration('12h'), 43_200);
  assert.equal(parseDuration('1d12h'), 129_600);
  assert.equal(parseDuration('2w'), 1_209_600);
  assert.equal(parseDuration('30m'), 1800);
  assert.equal(parseDuration('10y'), 3650 * 86_400);
});

test('what is not a length of time is refused', () => {
  for (const text of ['', '90', 'd', '1.5h', '-1d', '1 d', '1D', '1j', '99999999999d']) {
    assert.throws(() => parseDuration(text), refused, text);
  }
});

test('seconds are written as people read them', () => {
  assert.equal(formatDuration(90 * 86_400), '90d');
  assert.equal(formatDuration(129_601), '1d12h1s');
  assert.equal(formatDuration(0), '0s');
});

test('a time is a date, or a length of time before or after now', () => {
  const now = Date.parse('2026-05-01T12:00:00Z');
  assert.equal(parseTime('2026-04-01', now, 'before'), '2026-04-01T00:00:00.000Z');
  assert.equal(parseTime('2026-04-01T10:00:00+02:00', now, 'before'), '2026-04-01T08:00:00.000Z');
  assert.equal(parseTime('2h', now, 'before'), '2026-05-01T10:00:00.000Z');
  assert.equal(parseTime('2h', now, 'after'), '2026-05-01T14:00:00.000Z');
  for (const text of ['yesterday', '2026-13-01', '12:00', '999999999w', '']) {
    assert.throws(() => parseTime(text, now, 'after'), refused, text);
  }
});
