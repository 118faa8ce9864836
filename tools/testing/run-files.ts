import { join } from 'node:path';
import { run } from 'node:test';

/** One test or suite that did not simply pass. */
export interface Finding {
  readonly file: string;
  /** With the suites around it, outermost first. */
  readonly name: string;
  /** Why it was skipped, or the error as text. */
  readonly detail: string;
}

export interface FileResult {
  readonly file: string;
  readonly tests: number;
  readonly passed: number;
  readonly failures: readonly Finding[];
  readonly skips: readonly Finding[];
  /** What the file wrote, shown only when it fails. */
  readonly output: string;
  readonly durationSeconds: number;
}

export interface RunOptions {
  readonly root: string;
  readonly concurrency: number;
  /** A file that takes longer is killed and has failed. */
  readonly fileLimitSeconds: number;
  /** Told of each file as it ends. */
  readonly onFile: (result: FileResult) => void;
}

/** Runs each file in a process of its own, some at a time. Results come in the order of files. */
export async function runFiles(
  files: readonly string[],
  options: RunOptions,
): Promise<FileResult[]> {
  const results: FileResult[] = new Array(files.length);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < files.length; index = next++) {
      const result = await runFile(files[index]!, options);
      results[index] = result;
      options.onFile(result);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency }, worker));
  return results;
}

async function runFile(file: string, options: RunOptions): Promise<FileResult> {
  const path = join(options.root, file);
  const started = performance.now();
  const deadline = AbortSignal.timeout(options.fileLimitSeconds * 1000);
  const failures: Finding[] = [];
  const skips: Finding[] = [];
  const output: string[] = [];
  let passed = 0;
  let tests = 0;

  for await (const event of run({ files: [path], cwd: options.root, signal: deadline })) {
    if (event.type === 'test:stdout' || event.type === 'test:stderr') {
      output.push(event.data.message);
    } else if (event.type === 'test:pass') {
      const { details, skip, todo } = event.data;
      const name = fullName(event.data);
      if (skip !== undefined || todo !== undefined) {
        skips.push({ file, name, detail: reason(skip, todo) });
        if (details.type !== 'suite') tests++;
      } else if (event.data.name === path) {
        tests++;
        failures.push({ file, name: '(the whole file)', detail: 'it holds no test' });
      } else if (details.type !== 'suite') {
        tests++;
        passed++;
      }
    } else if (event.type === 'test:fail') {
      const { error, type } = event.data.details;
      if (type !== 'suite') tests++;
      if (failureType(error) === 'subtestsFailed') continue;
      const name = event.data.name === path ? '(the whole file)' : fullName(event.data);
      failures.push({ file, name, detail: errorText(error) });
    }
  }
  if (deadline.aborted) {
    const detail = `it ran for more than ${options.fileLimitSeconds} s and was ended`;
    failures.push({ file, name: '(the whole file)', detail });
  }
  const durationSeconds = (performance.now() - started) / 1000;
  return { file, tests, passed, failures, skips, output: output.join(''), durationSeconds };
}

/** `classname` is the dotted list of the suites around a test. */
function fullName(data: { name: string; classname?: string }): string {
  return data.classname === undefined ? data.name : `${data.classname}: ${data.name}`;
}

function reason(skip: string | boolean | undefined, todo: string | boolean | undefined): string {
  if (typeof skip === 'string') return skip.replace(/^skip: /, '');
  if (typeof todo === 'string') return `to do: ${todo}`;
  return todo === undefined ? 'no reason given' : 'to do';
}

function failureType(error: Error): string | undefined {
  return 'failureType' in error ? String(error.failureType) : undefined;
}

function errorText(error: Error): string {
  const { cause } = error;
  if (cause instanceof Error) return cause.stack ?? cause.message;
  return typeof cause === 'string' ? cause : error.message;
}
