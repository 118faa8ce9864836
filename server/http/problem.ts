import { type ErrorCode, errorCodes } from '../../api/error-codes.ts';
import { KeyreeveError } from '../base/errors.ts';

/** One input that is not as the route wants it. Values are never repeated. */
export interface FieldProblem {
  readonly in: 'path' | 'query' | 'body';
  /** Where in it, such as `items.3.data`; empty for the whole. */
  readonly field: string;
  readonly problem: string;
}

/** `invalid-request` with the list of what is wrong. */
export class InvalidRequestError extends KeyreeveError {
  readonly fields: readonly FieldProblem[];

  constructor(message: string, fields: readonly FieldProblem[]) {
    super('invalid-request', message);
    this.fields = fields;
  }
}

/** A problem document (RFC 9457, section 3) as members in their order. */
export type Problem = Readonly<Record<string, unknown>> & {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly requestId: string;
};

/** Members with a meaning of their own, which facts of an error never replace. */
const reserved = ['type', 'title', 'status', 'detail', 'instance', 'code', 'hint', 'requestId'];

/** Where the page about an error is, relative to the service. */
export function problemType(code: ErrorCode): string {
  return `/errors/${code}`;
}

export function problemOf(error: KeyreeveError, requestId: string): Problem {
  const { code } = error;
  // The cause of an unexpected error is for the log alone.
  const detail =
    code === 'internal'
      ? 'Something unexpected went wrong. The log of the service has more under this request id.'
      : error.message;
  const facts = Object.entries(error.data).filter(([name]) => !reserved.includes(name));
  return {
    type: problemType(code),
    title: errorCodes[code].title,
    status: errorCodes[code].status,
    detail,
    code,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    requestId,
    ...(error instanceof InvalidRequestError && error.fields.length > 0
      ? { fields: error.fields }
      : {}),
    ...Object.fromEntries(facts),
  };
}

/** What Fastify and Node themselves refuse, in our terms. */
const foreignCodes: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['too-large', 'The body is larger than this route takes.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: [
    'unsupported-media-type',
    'The body has to be application/json.',
  ],
  FST_ERR_CTP_EMPTY_TYPE: ['unsupported-media-type', 'The body has to be application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    'invalid-request',
    'The body is not as long as its Content-Length says.',
  ],
  FST_ERR_BAD_URL: ['invalid-request', 'The path of the request is not valid.'],
  FST_ERR_MAX_PARAM_LENGTH: ['invalid-request', 'A part of the path is too long.'],
  HPE_HEADER_OVERFLOW: ['too-large', 'The headers of the request are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['request-timeout', 'The request did not arrive in time.'],
  ECONNRESET: ['invalid-request', 'The request ended too early.'],
};

/** Any error as one of ours; what is not known is `internal`. */
export function asKeyreeveError(error: unknown): KeyreeveError {
  if (error instanceof KeyreeveError) return error;
  const code = (error as { code?: unknown } | null)?.code;
  const known = typeof code === 'string' ? foreignCodes[code] : undefined;
  if (known !== undefined) return new KeyreeveError(known[0], known[1], { cause: error });
  return new KeyreeveError('internal', 'An unexpected error.', { cause: error });
}
