import type { ErrorCode } from '../../api/error-codes.ts';
import { KeyreeveError } from '../base/errors.ts';
import { DerError } from '../der/der.ts';

interface What {
  readonly code: ErrorCode;
  /** The beginning of a sentence: `The certificate`. */
  readonly title: string;
}

/** What can be malformed, and the error that says so. */
export const readable = {
  certificate: { code: 'certificate-malformed', title: 'The certificate' },
  request: { code: 'request-malformed', title: 'The certificate request' },
  crl: { code: 'crl-malformed', title: 'The revocation list' },
  name: { code: 'certificate-malformed', title: 'The distinguished name' },
  extensions: { code: 'certificate-malformed', title: 'The list of extensions' },
  publicKey: { code: 'public-key-refused', title: 'The public key' },
} as const satisfies Record<string, What>;

export type Readable = keyof typeof readable;

/** Runs `read` and turns what it refuses into the error of its kind, with the reason as data. */
export function reading<Result>(what: Readable, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    const { code, title } = readable[what];
    throw new KeyreeveError(code, `${title} is not well-formed: ${error.message}.`, {
      data: { reason: error.reason },
      cause: error,
    });
  }
}

/** The error for a subject or a name that cannot be used. */
export function nameNotAllowed(message: string, hint?: string): KeyreeveError {
  return new KeyreeveError('subject-not-allowed', message, hint === undefined ? {} : { hint });
}
