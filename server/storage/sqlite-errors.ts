import { messageOf, type PlainError, StorageFault } from './group.ts';

/** Primary result codes of SQLite (https://www.sqlite.org/rescode.html) that mean something here. */
const resultCodes = {
  busy: 5,
  locked: 6,
  outOfMemory: 7,
  readOnly: 8,
  inputOutput: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

/** Extended codes of rules that a caller can break; a missing value or wrong type is our own fault. */
const brokenRules: ReadonlySet<unknown> = new Set([
  275, // CHECK
  787, // FOREIGN KEY
  1555, // PRIMARY KEY
  2067, // UNIQUE
  2579, // row id
]);

/** The primary result code of an error of `node:sqlite`, or undefined for any other error. */
export function primaryCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

export function isBusy(error: unknown): boolean {
  const code = primaryCode(error);
  return code === resultCodes.busy || code === resultCodes.locked;
}

export function isReadOnly(error: unknown): boolean {
  return primaryCode(error) === resultCodes.readOnly;
}

/** True where a statement broke a key, a unique constraint or a check: the write's own fault. */
export function isConstraint(error: unknown): boolean {
  return brokenRules.has((error as { errcode?: unknown } | null)?.errcode);
}

/** The error of a database that cannot go on, or undefined where only the statement was wrong. */
export function databaseFault(error: unknown): PlainError | undefined {
  if (error instanceof StorageFault) return error.plain;
  const detail = messageOf(error);
  switch (primaryCode(error)) {
    case resultCodes.full:
      return storageFull(detail);
    case resultCodes.corrupt:
    case resultCodes.notADatabase:
      return {
        code: 'integrity-failed',
        message: 'the database file is damaged',
        hint: 'stop the service and restore the newest backup into an empty folder',
        detail,
      };
    case resultCodes.busy:
    case resultCodes.locked:
    case resultCodes.outOfMemory:
    case resultCodes.readOnly:
    case resultCodes.inputOutput:
    case resultCodes.cannotOpen:
      return {
        code: 'storage-unavailable',
        message: 'the database file cannot be read or written',
        hint: 'look at the disk and the mount of the data folder; the service goes on by itself',
        detail,
      };
    default:
      return undefined;
  }
}

export function storageFull(detail: string): PlainError {
  return {
    code: 'storage-full',
    message: 'the disk that holds the database is full: nothing was changed',
    hint: 'free some space; the service goes on by itself',
    detail,
  };
}

/**
 * The error of a COMMIT that failed. A flush that failed may still leave a whole commit record in
 * the log, to be found after a crash, so that only a full disk is known to have changed nothing.
 */
export function commitFault(error: unknown): PlainError {
  if (primaryCode(error) === resultCodes.full) return storageFull(messageOf(error));
  return {
    code: 'outcome-unknown',
    message: 'the disk failed while it wrote: it may be done, or not',
    hint: 'repeat the request with the same idempotency key',
    detail: messageOf(error),
  };
}

/** The error of a statement that is wrong in itself: a fault of the code, told to nobody. */
export function statementFault(error: unknown): PlainError {
  return { code: 'internal', message: 'a database statement failed', detail: messageOf(error) };
}
