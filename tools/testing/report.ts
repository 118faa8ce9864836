import type { FileResult, Finding } from './run-files.ts';

const outputLinesShown = 100;

/** One line for a file that passed; for one that failed, its failures and what it wrote. */
export function fileReport(result: FileResult): string {
  const ok = result.failures.length === 0;
  const skips = result.skips.length === 0 ? '' : `, ${result.skips.length} skipped`;
  const time = `${result.durationSeconds.toFixed(1)} s`;
  const line = `${ok ? 'ok  ' : 'FAIL'} ${result.file}: ${result.tests} tests${skips}, ${time}`;
  if (ok) return line;
  const failures = result.failures.map((finding) => indent(`${finding.name}\n${finding.detail}`));
  const output = result.output.trimEnd().split('\n').slice(-outputLinesShown);
  const wrote = result.output.trim() === '' ? [] : [indent(`it wrote:\n${output.join('\n')}`)];
  return [line, ...failures, ...wrote].join('\n');
}

export interface Totals {
  readonly text: string;
  readonly ok: boolean;
}

/**
 * The end of a run: every skip and failure by name, and the closing line of counts.
 * @param skipsFail whether a skip fails the run
 */
export function closingReport(
  results: readonly FileResult[],
  seconds: number,
  skipsFail: boolean,
): Totals {
  const skips = results.flatMap((result) => result.skips);
  const failures = results.flatMap((result) => result.failures);
  const sum = (pick: (result: FileResult) => number) =>
    results.reduce((total, result) => total + pick(result), 0);
  const lines: string[] = [];
  if (skips.length > 0) {
    lines.push(skipsFail ? 'skipped, which KEYREEVE_TEST_NO_SKIP=1 forbids:' : 'skipped:');
    lines.push(...skips.map(nameLine));
  }
  if (failures.length > 0) lines.push('failed:', ...failures.map(shortNameLine));
  const passed = sum((result) => result.passed);
  const tests = sum((result) => result.tests);
  lines.push(
    `${tests} tests in ${results.length} files, ${seconds.toFixed(1)} s`,
    `${passed} passed, ${failures.length} failed, ${skips.length} skipped`,
  );
  return { text: lines.join('\n'), ok: failures.length === 0 && !(skipsFail && skips.length > 0) };
}

function nameLine(finding: Finding): string {
  return `  ${finding.file}: ${finding.name} (${finding.detail})`;
}

function shortNameLine(finding: Finding): string {
  return `  ${finding.file}: ${finding.name}`;
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '    ');
}
