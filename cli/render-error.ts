/** Errors as people read them: `error:` and then `hint:`, on standard error. */
import { isKeyreeveError } from '../server/base/errors.ts';
import type { CliContext } from './context.ts';
import { type ExitCode, exitCodeOf, exitCodes } from './exit-codes.ts';
import { printable, usesColour } from './output.ts';

/** Writes the error and returns the code to end with. With `json`, one line for programs too. */
export function renderError(context: CliContext, error: unknown, json: boolean): ExitCode {
  const known = isKeyreeveError(error);
  const { message, hint } = known ? error : describe(error);
  const code = known ? error.code : 'internal';
  if (json) {
    const data = known ? error.data : {};
    const object = { error: { code, message, ...(hint === undefined ? {} : { hint }), data } };
    context.standardError.write(`${JSON.stringify(object)}\n`);
  } else {
    writeError(context, message, hint);
  }
  return known ? exitCodeOf(error.code) : exitCodes.no;
}

/** The two lines of an error. */
export function writeError(context: CliContext, message: string, hint: string | undefined): void {
  const { standardError } = context;
  const red = (text: string) =>
    usesColour(context, standardError) ? `\u001b[31m${text}\u001b[0m` : text;
  standardError.write(`${red('error:')} ${soften(printable(message))}\n`);
  if (hint !== undefined) standardError.write(`hint: ${printable(hint)}\n`);
}

/** A sentence in the manner of a terminal: lower case at the start, no full stop. */
export function soften(message: string): string {
  const text = message.replace(/(?<!\.)\.$/, '');
  return /^[A-Z][a-z]*\b/.test(text) && !/^(I|RSA)\b/.test(text)
    ? text.charAt(0).toLowerCase() + text.slice(1)
    : text;
}

interface Described {
  readonly message: string;
  readonly hint?: string;
}

function describe(error: unknown): Described {
  const { code, path, message } = error as NodeJS.ErrnoException;
  const reason = code === undefined ? undefined : systemReasons[code];
  if (reason !== undefined && path !== undefined) return { message: `${path}: ${reason}` };
  return {
    message: error instanceof Error && message !== '' ? message : 'an unexpected error',
    hint: 'This is a fault of the program: please report it with what you did.',
  };
}

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'the system allows no access',
  EPERM: 'the system allows no access',
  EISDIR: 'is a folder',
  ENOTDIR: 'is not a folder',
  EEXIST: 'exists already',
  ENOSPC: 'no space is left',
  EROFS: 'the disk is read-only',
};
