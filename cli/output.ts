/** What people and programs get to see. */
import type { CliContext, TerminalOutput } from './context.ts';

export interface Output {
  /** True where a program reads: exact answers of the API, nothing else on standard output. */
  readonly json: boolean;
  /** A line on standard output; nothing with `--json`. */
  print(text: string): void;
  /** The answer for programs; nothing without `--json`. */
  data(value: unknown): void;
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void;
  /** Names and values, one to a line. Values of undefined are left out. */
  details(rows: readonly (readonly [string, string | undefined])[]): void;
  /** What was done, on standard error, so that it never mixes with output. */
  note(text: string): void;
}

/** The output of one command. */
export function createOutput(context: CliContext, json: boolean): Output {
  const { standardOutput, standardError } = context;
  const write = (text: string) => {
    if (!json) standardOutput.write(`${text}\n`);
  };
  return {
    json,
    print: (text) => write(printable(text)),
    data: (value) => {
      if (json) standardOutput.write(`${jsonText(value, 2)}\n`);
    },
    table: (headings, rows) => {
      const heading = (line: string) => emphasise(context, standardOutput, line);
      const [first = '', ...rest] = formatTable(headings, rows, widthOf(standardOutput));
      write(heading(first));
      for (const line of rest) write(line);
    },
    details: (rows) => {
      for (const line of formatDetails(rows)) write(line);
    },
    note: (text) => {
      standardError.write(`${printable(text)}\n`);
    },
  };
}

/** Aligned columns, each line cut to the width where there is one. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
): string[] {
  const all = [headings, ...rows].map((row) => row.map(printable));
  const widths = headings.map((_, column) =>
    Math.max(...all.map((row) => [...(row[column] ?? '')].length)),
  );
  return all.map((row) => {
    const line = row
      .map((cell, column) => cell + ' '.repeat(widths[column]! - [...cell].length))
      .join('  ')
      .trimEnd();
    return cut(line, width);
  });
}

/** `name: value` lines with the values aligned. */
export function formatDetails(rows: readonly (readonly [string, string | undefined])[]): string[] {
  const present = rows.filter((row): row is [string, string] => row[1] !== undefined);
  const width = Math.max(0, ...present.map(([name]) => name.length)) + 2;
  return present.map(([name, value]) => `${`${name}:`.padEnd(width)}${printable(value)}`);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is replaced.
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
/** Those that JSON leaves as they are. */
const unprintableInJson = /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Control characters in names and reasons of others never reach a terminal. */
export function printable(text: string): string {
  return text.replace(unprintable, '?');
}

/** The same for a text of several lines. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** JSON in which control characters are escaped, those too that JSON would allow. */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(
    unprintableInJson,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Bold on a terminal, unless NO_COLOR (no-color.org) is set. */
export function emphasise(context: CliContext, output: TerminalOutput, text: string): string {
  return usesColour(context, output) ? `\u001b[1m${text}\u001b[0m` : text;
}

/** Whether escape sequences are welcome there. */
export function usesColour(context: CliContext, output: TerminalOutput): boolean {
  const { NO_COLOR, TERM } = context.env;
  return output.isTTY === true && !NO_COLOR && TERM !== 'dumb';
}

function widthOf(output: TerminalOutput): number | undefined {
  return output.isTTY === true ? output.columns : undefined;
}

function cut(line: string, width: number | undefined): string {
  const characters = [...line];
  return width === undefined || width < 2 || characters.length <= width
    ? line
    : `${characters.slice(0, width - 1).join('')}…`;
}
