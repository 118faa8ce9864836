/** Problem documents (RFC 9457) as errors. */
import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, errorCodes } from '../api/error-codes.ts';
import { approvalView } from '../api/routes/approvals.ts';
import { ApprovalPendingError } from '../server/base/approval-pending.ts';
import { KeyreeveError } from '../server/base/errors.ts';

/** A text of a stranger is cut to this before it is shown. */
const textLengthMax = 2000;

/**
 * The error that a refused call stands for: code, message, hint and data of its problem document.
 * A code that this client does not know becomes `internal`, and an answer without a document too.
 */
export function problemError(
  status: number,
  headers: IncomingHttpHeaders,
  body: Uint8Array,
): KeyreeveError {
  const problem = parseProblem(headers, body);
  if (problem === undefined) {
    return new KeyreeveError('internal', `the answer was HTTP ${status}, without a reason`, {
      hint: 'Check that the address is that of a Keyreeve service.',
    });
  }
  const known = isErrorCode(problem.code);
  const code = known ? (problem.code as ErrorCode) : 'internal';
  const summary = text(problem.detail) ?? text(problem.title) ?? `HTTP ${status}`;
  const fields = fieldsOf(problem);
  const detail = fields === '' ? summary : `${summary.replace(/\.$/, '')}: ${fields}`;
  const hint = text(problem.hint) ?? (code === 'internal' ? requestHint(problem) : undefined);
  const wait = retryAfterSeconds(headers['retry-after']);
  return new KeyreeveError(code, known ? detail : `${detail} (${String(problem.code)})`, {
    ...(hint === undefined ? {} : { hint }),
    ...(wait === undefined ? {} : { retryAfterSeconds: wait }),
    data: plainData(problem),
  });
}

/** The answer to a command that others have to approve first; its texts are a stranger's. */
export function pendingError(body: Uint8Array): KeyreeveError {
  const answer = approvalView.safeParse(cleaned(parseJson(body)));
  if (answer.success) return new ApprovalPendingError(answer.data);
  return new KeyreeveError('internal', 'the answer was HTTP 202, without an approval', {
    hint: 'Check that the address is that of a Keyreeve service, of the version of this command.',
  });
}

/** A value of a stranger without control characters in any of its texts. */
function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return withoutControls(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [withoutControls(name), cleaned(member)]),
  );
}

function withoutControls(value: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out.
  return value.replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ');
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}

function parseProblem(
  headers: IncomingHttpHeaders,
  body: Uint8Array,
): Record<string, unknown> | undefined {
  if (!/^application\/(problem\+)?json\b/.test(headers['content-type'] ?? '')) return undefined;
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    return typeof value === 'object' && value !== null && 'code' in value
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code);
}

/** Control characters of a stranger never reach a terminal. */
function text(value: unknown): string | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  return withoutControls(value.slice(0, textLengthMax));
}

function requestHint(problem: Record<string, unknown>): string | undefined {
  const id = text(problem.requestId);
  return id === undefined ? undefined : `The log of the service has more under ${id}.`;
}

/** Members that are not facts of the error. */
const reserved = new Set([
  'type',
  'title',
  'status',
  'detail',
  'instance',
  'code',
  'hint',
  'requestId',
]);

function plainData(problem: Record<string, unknown>): Record<string, string | number | boolean> {
  const found: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(problem)) {
    if (reserved.has(name)) continue;
    if (typeof value === 'number' || typeof value === 'boolean') found[name] = value;
    else if (typeof value === 'string') found[name] = text(value) ?? '';
  }
  return found;
}

/** `body name: …` for each input that the service did not take. */
function fieldsOf(problem: Record<string, unknown>): string {
  if (!Array.isArray(problem.fields)) return '';
  const lines = problem.fields.flatMap((entry: unknown) => {
    const { field, problem: what } = (entry ?? {}) as Record<string, unknown>;
    return typeof field === 'string' && typeof what === 'string' ? [`${field}: ${what}`] : [];
  });
  return text(lines.join('; ')) ?? '';
}

function retryAfterSeconds(value: string | undefined): number | undefined {
  return value !== undefined && /^[0-9]{1,6}$/.test(value) ? Number(value) : undefined;
}
