import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startInPool } from './pool-starts.ts';

test('jobs of one turn are started together, in their order, after it', async () => {
  const started: number[] = [];
  const job = (number: number) =>
    startInPool<number>((resolve) => {
      started.push(number);
      resolve(number * 10);
    });
  const results = Promise.all([job(1), job(2), job(3)]);
  await Promise.resolve();
  assert.deepEqual(started, []);
  assert.deepEqual(await results, [10, 20, 30]);
  assert.deepEqual(started, [1, 2, 3]);
});

test('a job that cannot be started is refused, and the others are started', async () => {
  const broken = startInPool(() => {
    throw new TypeError('not a key');
  });
  const good = startInPool<string>((resolve) => resolve('done'));
  await assert.rejects(broken, /not a key/);
  assert.equal(await good, 'done');
});

test('a job that is given while others are started waits for the next turn', async () => {
  const started: string[] = [];
  let inner: Promise<string> | undefined;
  await startInPool<string>((resolve) => {
    inner = startInPool<string>((end) => {
      started.push('inner');
      end('inner');
    });
    started.push('outer');
    resolve('outer');
  });
  assert.equal(await inner, 'inner');
  assert.deepEqual(started, ['outer', 'inner']);
});
