import type { Alert } from '../../api/alerts.ts';

/** A way to tell somebody. */
export interface Sender {
  /** How many alerts one call of `send` takes. */
  readonly batchMax: number;
  /**
   * Sends the alerts in their order and resolves once the receiver has them; what it resolves with
   * is for people (a recipient that was refused beside others that were not). Throws `SendFailure`.
   */
  send(alerts: readonly Alert[], signal: AbortSignal): Promise<string | undefined>;
  close(): void;
}

/** Why it did not arrive: `message` is for people and holds no secret. */
export class SendFailure extends Error {
  /** The receiver asks to be left alone for so long. */
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, retryAfterSeconds?: number) {
    super(message);
    this.name = 'SendFailure';
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const reasonLengthMax = 300;

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was broken off',
  EPIPE: 'the connection was broken off',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ENOTFOUND: 'the name of the host is not known',
  EAI_AGAIN: 'the name of the host cannot be looked up now',
  ETIMEDOUT: 'it did not answer in time',
};

/** What failed, in words. Text of the other side is cut and freed of control characters. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as { code?: unknown; message?: unknown };
  const known = typeof code === 'string' ? reasons[code] : undefined;
  return known ?? plainText(typeof message === 'string' ? message : String(error));
}

/** One line without control characters. */
export function plainText(text: string, lengthMax = reasonLengthMax): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ').trim();
  return line.length <= lengthMax ? line : `${line.slice(0, lengthMax - 1).toWellFormed()}…`;
}

/** A signal that ends with the given one, or after so long. */
export function within(signal: AbortSignal, seconds: number): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(seconds * 1000)]);
}
