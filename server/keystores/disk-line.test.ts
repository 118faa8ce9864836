import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyreeveError } from '../base/errors.ts';
import { DiskLine } from './disk-line.ts';

const noAnswer = (error: unknown) => isKeyreeveError(error, 'keystore-unavailable');

/** Work that ends when the test says so. */
function work() {
  let end: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const line: string[] = [];
  const run = async (name: string) => {
    line.push(name);
    await ended;
    return name;
  };
  return { run, line, end };
}

test('what is asked of a disk is done one after the other, and errors are handed on', async () => {
  const disk = new DiskLine('/keys');
  const order: number[] = [];
  const all = [3, 1, 2].map((number) =>
    disk.run(async () => {
      await new Promise((resolve) => setTimeout(resolve, number * 5));
      order.push(number);
      return number;
    }),
  );
  assert.deepEqual(await Promise.all(all), [3, 1, 2]);
  assert.deepEqual(order, [3, 1, 2]);
  await assert.rejects(
    disk.run(() => Promise.reject(new Error('as it was'))),
    /as it was/,
  );
  assert.equal(await disk.run(async () => 'goes on'), 'goes on');
});

test('a disk that hangs is given up in time, and what it does late is taken back', async () => {
  const disk = new DiskLine('/keys', 0.05);
  const { run, line, end } = work();
  let undone = 0;
  const undo = async () => {
    undone++;
  };
  const hanging = disk.run(() => run('hanging'), undo);
  const behind = disk.run(() => run('behind'), undo);
  await assert.rejects(hanging, noAnswer);
  await assert.rejects(behind, noAnswer);
  const asked = performance.now();
  await assert.rejects(
    disk.run(() => run('refused')),
    noAnswer,
  );
  assert.ok(performance.now() - asked < 40, 'it waited for a disk that is known to hang');
  assert.equal(undone, 0);
  end();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(undone, 1);
  assert.deepEqual(line, ['hanging'], 'work that nobody waits for was begun');
  assert.equal(await disk.run(() => run('later')), 'later');
});
