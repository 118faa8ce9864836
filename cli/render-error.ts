/** Errors as people read them: `error:` and then `hint:`, on standard error. */
import type { ErrorCode } from '../api/error-codes.ts';
import { ApprovalPendingError } from '../server/base/approval-pending.ts';
import { isKeyreeveError } from '../server/base/errors.ts';
import { writePending } from './approvals/pending.ts';
import type { CliContext } from './context.ts';
import { type ExitCode, exitCodeOf } from './exit-codes.ts';
import { jsonText, printable, usesColour } from './output.ts';

/** Writes the error and returns the code to end with. With `json`, one line for programs too. */
export function renderError(context: CliContext, error: unknown, json: boolean): ExitCode {
  const { code, message, hint, data } = isKeyreeveError(error) ? error : describe(error);
  if (json) {
    const object = { error: { code, message, ...(hint === undefined ? {} : { hint }), data } };
    context.standardError.write(`${jsonText(object)}\n`);
  } else if (error instanceof ApprovalPendingError) {
    writePending(context, error);
  } else {
    writeError(context, message, hint);
  }
  return exitCodeOf(code);
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
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What the system said of a file, or a fault of the program. */
function describe(error: unknown): Described {
  const { code, path, message } = error as NodeJS.ErrnoException;
  const reason = code === undefined ? undefined : systemReasons[code];
  if (reason !== undefined && path !== undefined) {
    const { hint } = reason;
    const about = { code: reason.code, message: `${path}: ${reason.text}`, data: {} };
    return hint === undefined ? about : { ...about, hint };
  }
  return {
    code: 'internal',
    message: error instanceof Error && message !== '' ? message : 'an unexpected error',
    hint: 'This is a fault of the program: please report it with what you did.',
    data: {},
  };
}

interface SystemReason {
  readonly code: ErrorCode;
  readonly text: string;
  readonly hint?: string;
}

const noAccess = {
  code: 'forbidden',
  text: 'the system allows no access',
  hint: 'Check the owner and mode of the file and its folder, and as whom you run this.',
} as const;

const systemReasons: Readonly<Record<string, SystemReason>> = {
  ENOENT: {
    code: 'not-found',
    text: 'no such file or folder',
    hint: 'Check the name, and the folder that you are in.',
  },
  EACCES: noAccess,
  EPERM: noAccess,
  EISDIR: { code: 'invalid-request', text: 'is a folder', hint: 'Name a file.' },
  ENOTDIR: { code: 'invalid-request', text: 'is not a folder', hint: 'Name a folder.' },
  EEXIST: { code: 'already-exists', text: 'exists already', hint: 'Name another.' },
  ENOSPC: { code: 'storage-full', text: 'no space is left', hint: 'Make room.' },
  EROFS: {
    code: 'forbidden',
    text: 'the disk is read-only',
    hint: 'Name a place that can be written.',
  },
};
