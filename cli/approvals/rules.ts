/** Which commands need the approval of others: a file of rules, and those in force. */
import type { RequestOf } from '../../client/api-client.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { parseWhole } from '../arguments.ts';
import { formatDuration } from '../durations.ts';
import { readText } from '../files.ts';

const rulesBytesMax = 1024 * 1024;

type Body = RequestOf<'approval.rules.apply'>['body'];

export async function showRules(tools: Tools): Promise<void> {
  const { output } = tools;
  const found = await tools.client().call('approval.rules.show');
  output.data(found);
  output.table(
    ['RULE', 'COMMANDS', 'WHERE', 'NEEDS', 'OF', 'WITHIN', 'BREAK-GLASS'],
    found.rules.map((rule) => [
      rule.name,
      rule.actions.join(', '),
      whereText(rule),
      String(rule.approvals),
      rule.roles.join(' or '),
      formatDuration(rule.ttlSeconds),
      rule.breakGlass ? 'yes' : 'no',
    ]),
  );
  output.note(
    found.appliedAt === null
      ? 'no rules were ever applied'
      : `version ${found.version}, applied at ${found.appliedAt} by ${found.appliedBy ?? 'nobody known'}`,
  );
}

interface Where {
  readonly folders?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly purposes?: readonly string[] | undefined;
  readonly keystores?: readonly string[] | undefined;
}

function whereText({ folders, labels, purposes, keystores }: Where): string {
  const parts = [
    ...(folders ?? []),
    ...Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`),
    ...(purposes ?? []).map((purpose) => `for ${purpose}`),
    ...(keystores ?? []).map((keystore) => `in ${keystore}`),
  ];
  return parts.length === 0 ? 'everywhere' : parts.join(', ');
}

interface ApplyOptions {
  readonly sawVersion?: string;
}

export async function applyRules(tools: Tools, options: ApplyOptions, file: string): Promise<void> {
  const rules = parseRules(await readText(tools.context, file, rulesBytesMax), file);
  const { sawVersion } = options;
  const saw =
    sawVersion === undefined
      ? {}
      : { sawVersion: parseWhole(sawVersion, '--saw-version', 0, Number.MAX_SAFE_INTEGER) };
  const body = { rules, ...saw } as Body;
  const made = await tools.client().call('approval.rules.apply', { body });
  tools.output.data(made);
  tools.output.note(`version ${made.version} of the approval rules is in force`);
}

/** A list of rules, or an object with one, as `approval rules show --json` prints it. */
function parseRules(text: string, file: string): readonly unknown[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notRules(file, error);
  }
  const rules = Array.isArray(value) ? value : (value as { rules?: unknown } | null)?.rules;
  // The service looks at what each of them says.
  if (Array.isArray(rules)) return rules;
  throw notRules(file);
}

function notRules(file: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('invalid-request', `${file} holds no list of rules in JSON`, {
    hint: 'Begin with what this prints: keyreeve approval rules show --json',
    cause,
  });
}
