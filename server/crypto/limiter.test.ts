import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Limiter, mapBatch } from './limiter.ts';

test('a limiter runs as many as it may, in order, and goes on after a failure', async () => {
  const limiter = new Limiter(2);
  let running = 0;
  let most = 0;
  const ended: number[] = [];
  const tasks = [0, 1, 2, 3, 4].map((index) =>
    limiter.run(async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      ended.push(index);
      if (index === 1) throw new Error('one fails');
    }),
  );
  const results = await Promise.allSettled(tasks);
  assert.equal(most, 2);
  assert.deepEqual(ended, [0, 1, 2, 3, 4]);
  assert.equal(results.filter(({ status }) => status === 'rejected').length, 1);
});

test('a batch keeps the order and reports the failure', async () => {
  const doubled = await mapBatch([1, 2, 3], async (item) => item * 2);
  assert.deepEqual(doubled, [2, 4, 6]);
  await assert.rejects(
    mapBatch([1], () => Promise.reject(new Error('no'))),
    /no/,
  );
});
