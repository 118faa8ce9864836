import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addCounts, LatencyCounts, percentile } from './latency.ts';

test('percentiles are right within a tenth', () => {
  const counts = new LatencyCounts();
  for (let milliseconds = 1; milliseconds <= 1000; milliseconds++) counts.add(milliseconds);
  for (const part of [0.01, 0.5, 0.99]) {
    const found = percentile(counts.toJSON(), part);
    assert.ok(found >= part * 1000 && found <= part * 1000 * 1.1, `${part}: ${found}`);
  }
});

test('times too small and too large for any class are counted all the same', () => {
  const counts = new LatencyCounts();
  counts.add(0);
  counts.add(1e12);
  assert.equal(
    addCounts([counts.toJSON(), counts.toJSON()]).reduce((a, b) => a + b),
    4,
  );
});
