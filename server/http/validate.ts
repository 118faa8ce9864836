import type { z } from 'zod';
import type { RouteDefinition } from '../../api/route.ts';
import { listedFieldsMax } from './limits.ts';
import { type FieldProblem, InvalidRequestError } from './problem.ts';

export interface RouteInput {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
}

const fieldLengthMax = 100;
const namedFieldsMax = 3;
const nothing: Readonly<Record<string, never>> = Object.freeze({});

/**
 * Reads the input of a route after its schemas. A body that did not come counts as an empty
 * object, so that the answer names what is missing. Error: `invalid-request` with every field that
 * is wrong; values are not repeated, since they can be secrets.
 */
export function validate(
  route: RouteDefinition,
  params: unknown,
  query: unknown,
  hasQuery: boolean,
  body: unknown,
): RouteInput {
  const fields: FieldProblem[] = [];
  const input = {
    params: route.params === undefined ? nothing : read('path', route.params, params, fields),
    query: route.query === undefined ? nothing : read('query', route.query, query, fields),
    body: route.body === undefined ? undefined : read('body', route.body, body ?? {}, fields),
  };
  if (route.query === undefined && hasQuery) {
    fields.push({ in: 'query', field: '', problem: 'this route takes no query' });
  }
  if (route.body === undefined && body !== undefined) {
    fields.push({ in: 'body', field: '', problem: 'this route takes no body' });
  }
  if (fields.length > 0) throw new InvalidRequestError(summary(fields), listed(fields));
  return input;
}

function read(
  place: FieldProblem['in'],
  schema: z.ZodType,
  value: unknown,
  fields: FieldProblem[],
): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const path = issue.path.map(String);
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) {
        fields.push({ in: place, field: pathText([...path, key]), problem: 'is not known here' });
      }
    } else fields.push({ in: place, field: pathText(path), problem: issueText(issue, value) });
  }
  return undefined;
}

function pathText(path: readonly string[]): string {
  const text = path.join('.');
  return text.length > fieldLengthMax ? `${text.slice(0, fieldLengthMax)}…` : text;
}

function issueText(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code !== 'invalid_type') return issue.message;
  const found = issue.path.reduce<unknown>(
    (inner, step) => (inner as Record<PropertyKey, unknown> | undefined)?.[step],
    value,
  );
  return found === undefined ? 'is missing' : issue.message;
}

function listed(fields: readonly FieldProblem[]): readonly FieldProblem[] {
  return fields.slice(0, listedFieldsMax);
}

function summary(fields: readonly FieldProblem[]): string {
  const named = fields
    .slice(0, namedFieldsMax)
    .map((one) => `${one.field === '' ? one.in : one.field}: ${one.problem}`);
  const more = fields.length - named.length;
  return `The request is not valid: ${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}.`;
}
