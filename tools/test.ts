// `npm test [file, folder or word ...]` and, with --long, `npm run test:long`.
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { installDebianPackages } from './testing/debian-packages.ts';
import { closingReport, fileReport } from './testing/report.ts';
import { runFiles } from './testing/run-files.ts';
import { selectTestFiles } from './testing/select-files.ts';

// One more than processors: a file often waits, for a disk, a lease or a token.
const concurrency = availableParallelism() + 1;
const fileLimitSeconds = 8 * 60;
const longFileLimitSeconds = 2 * 60 * 60;

const root = dirname(import.meta.dirname);
const words = process.argv.slice(2);
const long = words.includes('--long');
const wanted = words.filter((word) => word !== '--long');
const skipsFail = process.env.KEYREEVE_TEST_NO_SKIP === '1';

// What a person has set for their own service must not reach the ones that tests start.
for (const name of Object.keys(process.env)) {
  if (name.startsWith('KEYREEVE_') && !name.startsWith('KEYREEVE_TEST_')) delete process.env[name];
}

try {
  const files = selectTestFiles({ root, wanted, long });
  if (files.length === 0) throw new Error('there are no test files');
  installDebianPackages((line) => console.log(line));
  const started = performance.now();
  const results = await runFiles(files, {
    root,
    concurrency,
    fileLimitSeconds: long ? longFileLimitSeconds : fileLimitSeconds,
    onFile: (result) => console.log(fileReport(result)),
  });
  const closing = closingReport(results, (performance.now() - started) / 1000, skipsFail);
  console.log(`\n${closing.text}`);
  process.exitCode = closing.ok ? 0 : 1;
} catch (error) {
  console.error(`error: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
