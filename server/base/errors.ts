import { type ErrorCode, errorCodes } from '../../api/error-codes.ts';

export interface ErrorOptions {
  /** What the person can do next, one sentence, shown as `hint:`. */
  readonly hint?: string;
  /** Facts for programs, without secrets; they go into the problem document. */
  readonly data?: Readonly<Record<string, string | number | boolean>>;
  /** Seconds after which a retry makes sense. */
  readonly retryAfterSeconds?: number;
  /** Something may lie outside the database that nobody knows of: the intent of the act has to stay. */
  readonly leavesBehind?: boolean;
  /** The private cause, for the log, never for the caller. */
  readonly cause?: unknown;
}

/**
 * The one error of the product: a code from the closed set and a message that a person can act on
 * and that holds no secret. Only `http/`, `protocols/` and `cli/` render it.
 */
export class KeyreeveError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly data: Readonly<Record<string, string | number | boolean>>;
  readonly retryAfterSeconds: number | undefined;
  readonly leavesBehind: boolean;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'KeyreeveError';
    this.code = code;
    this.hint = options.hint;
    this.data = options.data ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.leavesBehind = options.leavesBehind ?? false;
  }

  /** The same error of an act after which something may lie outside the database. */
  leavingBehind(): KeyreeveError {
    const { hint, data, retryAfterSeconds } = this;
    return new KeyreeveError(this.code, this.message, {
      ...(hint === undefined ? {} : { hint }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
      data,
      leavesBehind: true,
      cause: this,
    });
  }

  get status(): number {
    return errorCodes[this.code].status;
  }
}

/** True for an error of ours, with this code if one is given. */
export function isKeyreeveError(error: unknown, code?: ErrorCode): error is KeyreeveError {
  return error instanceof KeyreeveError && (code === undefined || error.code === code);
}
