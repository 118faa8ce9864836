import { messageOf, type PlainError, StorageFault } from './group.ts';

/** Classes and codes of SQLSTATE: PostgreSQL 15, appendix A. */
const retriedStates: ReadonlySet<string> = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
]);
/** Rules that a caller can break; a missing value or wrong type is our own fault. */
const brokenRules: ReadonlySet<string> = new Set([
  '23503', // foreign_key_violation
  '23505', // unique_violation
  '23514', // check_violation
]);
/** Faults of the statement alone: data exceptions, integrity, syntax and names. */
const statementClasses: ReadonlySet<string> = new Set(['22', '23', '42']);
const diskFull = '53100';
const readOnlyTransaction = '25006';
const damagedStates: ReadonlySet<string> = new Set(['XX001', 'XX002']);

/** The SQLSTATE of an error that the server sent, or undefined: the connection failed. */
export function stateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

export function isRetried(error: unknown): boolean {
  return retriedStates.has(stateOf(error) ?? '');
}

export function isConstraint(error: unknown): boolean {
  return brokenRules.has(stateOf(error) ?? '');
}

export function isStatementFault(error: unknown): boolean {
  return statementClasses.has((stateOf(error) ?? '').slice(0, 2));
}

export function isReadOnly(error: unknown): boolean {
  return stateOf(error) === readOnlyTransaction;
}

/** The error of a group or read that failed as a whole before it was committed. */
export function databaseFault(error: unknown): PlainError {
  if (error instanceof StorageFault) return error.plain;
  const state = stateOf(error) ?? '';
  const detail = messageOf(error);
  if (state === diskFull) {
    return {
      code: 'storage-full',
      message: 'the disk of the database is full: nothing was changed',
      hint: 'free some space; the service goes on by itself',
      detail,
    };
  }
  if (damagedStates.has(state)) {
    return {
      code: 'integrity-failed',
      message: 'the database is damaged',
      hint: 'look at the log of PostgreSQL, and restore a backup',
      detail,
    };
  }
  if (statementClasses.has(state.slice(0, 2))) {
    return { code: 'internal', message: 'a database statement failed', detail };
  }
  return { ...unavailable, detail };
}

export const unavailable: PlainError = {
  code: 'storage-unavailable',
  message: 'the database does not answer: nothing was changed',
  hint: 'look at PostgreSQL and the network; the service goes on by itself when it is back',
};

export const unknownOutcome: PlainError = {
  code: 'outcome-unknown',
  message: 'the database did not answer while it committed: it may be done, or not',
  hint: 'repeat the request with the same idempotency key',
};
