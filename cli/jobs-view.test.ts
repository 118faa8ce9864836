import assert from 'node:assert/strict';
import { test } from 'node:test';
import { printJobs } from './jobs-view.ts';
import type { Output } from './output.ts';

const job = {
  name: 'publishing CRLs',
  scope: 'one-node',
  everySeconds: 1,
  node: 'ada',
  startedAt: '2030-01-01T00:00:00.000Z',
  succeededAt: '2030-01-01T00:00:00.000Z',
  nextAt: '2030-01-01T00:00:01.000Z',
  failures: 0,
  reason: null,
} as const;

test('work that fails stands before work that does not', () => {
  const rows: (readonly string[])[] = [];
  const output = {
    print: () => undefined,
    table: (_headings: readonly string[], all: readonly (readonly string[])[]) => rows.push(...all),
  } as unknown as Output;
  const failing = { ...job, name: 'sweeping', failures: 3, succeededAt: null, reason: 'No broom.' };
  printJobs(output, [job, failing, { ...job, name: 'comparing clocks', scope: 'each-node' }]);
  assert.deepEqual(rows[0], ['sweeping', 'ada', '-', job.nextAt, '3', 'No broom.']);
  assert.deepEqual(
    rows.map(([name, on]) => [name, on]),
    [
      ['sweeping', 'ada'],
      ['publishing CRLs', 'ada'],
      ['comparing clocks', 'each node'],
    ],
  );
});
