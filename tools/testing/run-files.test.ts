import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { closingReport, fileReport } from './report.ts';
import { type FileResult, runFiles } from './run-files.ts';
import { makeTree } from './tree.ts';

async function runTree(t: TestContext, files: Record<string, string>, fileLimitSeconds = 30) {
  // A runner inside a test would take itself for part of the outer run.
  const context = process.env.NODE_TEST_CONTEXT;
  delete process.env.NODE_TEST_CONTEXT;
  t.after(() => {
    if (context !== undefined) process.env.NODE_TEST_CONTEXT = context;
  });
  const root = makeTree(t, { 'package.json': '{"type": "module"}', ...files });
  const options = { root, concurrency: 2, fileLimitSeconds, onFile: () => {} };
  return runFiles(Object.keys(files), options);
}

const preamble = `import assert from 'node:assert'; import { suite, test } from 'node:test';\n`;

test('passes, failures and skips are counted and named', async (t) => {
  const results = await runTree(t, {
    'a.test.ts': `${preamble}
      test('passes', () => {});
      suite('group', () => {
        test('fails', async (t) => { await t.test('inside', () => assert.equal(1, 2)); });
        test('skips itself', (t) => t.skip('skip: no tool'));
      });
      test('is left out', { skip: true }, () => {});
      test.todo('comes later');`,
    'b.test.ts': `${preamble} test('also passes', () => { console.log('quiet'); });`,
  });
  const [first, second] = results as [FileResult, FileResult];
  assert.equal(first.passed, 1);
  assert.deepEqual(
    first.failures.map(({ name }) => name),
    ['group.fails: inside'],
  );
  assert.match(first.failures[0]!.detail, /1 !== 2|1 == 2/);
  assert.deepEqual(
    first.skips.map(({ name, detail }) => [name, detail]),
    [
      ['group: skips itself', 'no tool'],
      ['is left out', 'no reason given'],
      ['comes later', 'to do'],
    ],
  );
  assert.deepEqual([second.tests, second.passed, second.failures.length], [1, 1, 0]);
});

test('a file that cannot be loaded, holds no test or does not end has failed', async (t) => {
  const results = await runTree(
    t,
    {
      'broken.test.ts': `throw new Error('broken at once');`,
      'empty.test.ts': `const nothing = 1;`,
      'hanging.test.ts': `${preamble} test('hangs', async () => {
        setInterval(() => {}, 1000);
        await new Promise(() => {});
      });`,
      'leaking.test.ts': `${preamble} test('leaks', () => { setInterval(() => {}, 1000); });`,
    },
    3,
  );
  const details = results.map(({ failures }) => failures.map(({ detail }) => detail).join());
  assert.match(details[1]!, /holds no test/);
  assert.match(details[2]!, /ran for more than 3 s/);
  assert.match(details[3]!, /ran for more than 3 s/);
  assert.match(fileReport(results[0]!), /FAIL broken\.test\.ts[\s\S]*broken at once/);
  assert.ok(results.every(({ failures }) => failures.length > 0));
});

const result: FileResult = {
  file: 'a.test.ts',
  tests: 2,
  passed: 1,
  failures: [],
  skips: [{ file: 'a.test.ts', name: 'opens the backup', detail: 'age is not here' }],
  output: '',
  durationSeconds: 0.5,
};

test('the closing line counts, and a skip fails the run only where skips are forbidden', () => {
  const allowed = closingReport([result], 1.24, false);
  assert.ok(allowed.ok);
  assert.deepEqual(allowed.text.split('\n'), [
    'skipped:',
    '  a.test.ts: opens the backup (age is not here)',
    '2 tests in 1 files, 1.2 s',
    '1 passed, 0 failed, 1 skipped',
  ]);
  assert.equal(closingReport([result], 1, true).ok, false);
});

test('a failure fails the run and is named at its end', () => {
  const failures = [{ file: 'a.test.ts', name: 'adds', detail: 'Error: 1 is not 2' }];
  const closing = closingReport([{ ...result, skips: [], failures }], 1, false);
  assert.equal(closing.ok, false);
  assert.match(closing.text, /^failed:\n {2}a\.test\.ts: adds\n.*\n1 passed, 1 failed, 0 skipped/);
});
