/** How a command ends: for scripts, and therefore for ever. */
import { type ErrorCode, errorCodes } from '../api/error-codes.ts';

export const exitCodes = {
  ok: 0,
  no: 1,
  usage: 2,
  'not-allowed': 3,
  'not-found': 4,
  conflict: 5,
  unavailable: 6,
  untrusted: 7,
  pending: 8,
} as const;
export type ExitName = keyof typeof exitCodes;
export type ExitCode = (typeof exitCodes)[ExitName];

export const exitTitles = {
  ok: 'done; or the answer is yes',
  no: 'the answer is no (not valid, not authentic), or it failed for a reason without a code of its own',
  usage: 'the command, the request or the configuration is wrong',
  'not-allowed': 'not logged in, or not allowed',
  'not-found': 'no such key, file or other thing, or it is destroyed',
  conflict: 'it exists already, or its state does not allow this',
  unavailable: 'the service does not answer or cannot now: try again',
  untrusted: 'the service, the record or stored data cannot be trusted: look into it',
  pending: 'others have to approve first: repeat the command when they have',
} as const satisfies Record<ExitName, string>;

type Status = (typeof errorCodes)[ErrorCode]['status'];

/** The HTTP status of an error says how the command ends; a new status does not compile without. */
const byStatus = {
  202: 'pending',
  400: 'usage',
  401: 'not-allowed',
  403: 'not-allowed',
  404: 'not-found',
  405: 'usage',
  408: 'unavailable',
  409: 'conflict',
  410: 'not-found',
  413: 'usage',
  415: 'usage',
  429: 'unavailable',
  500: 'no',
  502: 'untrusted',
  503: 'unavailable',
} as const satisfies Record<Status, ExitName>;

/** Errors that mean something else to a person at a terminal than their status says. */
const byCode: { readonly [Code in ErrorCode]?: ExitName } = {
  'invalid-ciphertext': 'no',
  'wrong-passphrase': 'no',
  'backup-invalid': 'no',
  'config-invalid': 'usage',
  'not-empty': 'conflict',
  'already-running': 'conflict',
  'record-corrupt': 'untrusted',
  'integrity-failed': 'untrusted',
  'root-key-mismatch': 'untrusted',
};

/** The exit code of a command that failed with this error code. */
export function exitCodeOf(code: ErrorCode): ExitCode {
  return exitCodes[byCode[code] ?? byStatus[errorCodes[code].status]];
}
