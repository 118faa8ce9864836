/** What approvers look at. */
import { approvalStates } from '../../api/approvals.ts';
import type { ResponseOf } from '../../api/route.ts';
import type { ApprovalView } from '../../api/routes/approvals.ts';
import type { Routes } from '../../api/routes.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { jsonText, type Output } from '../output.ts';
import { collectPages, type PageOptions } from '../pages.ts';

type Summary = ResponseOf<Routes['approval.list']>['items'][number];
type State = Summary['state'];

interface ListOptions extends PageOptions {
  readonly mine?: boolean;
  readonly waiting?: boolean;
  readonly state?: string;
}

export async function listApprovals(tools: Tools, options: ListOptions): Promise<void> {
  const client = tools.client();
  const state = options.waiting === true ? 'pending' : parseState(options.state);
  const isFiltered = options.mine === true || options.waiting === true;
  const me = isFiltered
    ? await client.call('principal.show', { params: { principal: 'me' } })
    : undefined;
  const list = await collectPages(tools.output, options, (page) =>
    client.call('approval.list', { query: { ...page, ...(state === undefined ? {} : { state }) } }),
  );
  const items = list.items.filter(
    (one) =>
      (options.mine !== true || one.requester.id === me?.id) &&
      (options.waiting !== true || waitsFor(one, me!)),
  );
  tools.output.data({ ...list, items });
  tools.output.table(
    ['ID', 'STATE', 'COMMAND', 'ON', 'ASKED BY', 'AGREED', 'ENDS'],
    items.map((one) => [
      one.id,
      one.kind === 'break-glass' ? `${one.state} (break-glass)` : one.state,
      one.action,
      one.subject,
      one.requester.name,
      one.requirements.map(({ given, approvals }) => `${given}/${approvals}`).join(', '),
      one.expiresAt,
    ]),
  );
}

/** Whether somebody with these roles could help it on, and has not said anything yet. */
function waitsFor(
  one: Summary,
  me: { readonly id: string; readonly roles: readonly string[] },
): boolean {
  if (one.requester.id === me.id) return false;
  if (one.decisions.some(({ principal }) => principal.id === me.id)) return false;
  return one.requirements.some(({ roles }) => roles.some((role) => me.roles.includes(role)));
}

function parseState(text: string | undefined): State | undefined {
  if (text === undefined) return undefined;
  const found = approvalStates.find((state) => state === text);
  if (found !== undefined) return found;
  throw new KeyreeveError('invalid-request', `"${text}" is no state of an approval`, {
    hint: `Choose one of: ${approvalStates.join(', ')}.`,
  });
}

export async function showApproval(tools: Tools, _options: unknown, id: string): Promise<void> {
  const view = await tools.client().call('approval.show', { params: { approval: id } });
  tools.output.data(view);
  printApproval(tools.output, view);
}

/**
 * All of it. What will run stands first, however long it is: the lines that say who asks for what
 * are then those next to the question.
 */
export function printApproval(output: Output, view: ApprovalView): void {
  output.print('what will run:');
  for (const line of jsonText(view.command, 2).split('\n')) output.print(`  ${line}`);
  output.details([
    ['approval', view.id],
    ['state', view.state],
    ['kind', view.kind === 'break-glass' ? 'BREAK-GLASS' : undefined],
    ['command', view.action],
    ['on', view.subject === '' ? undefined : view.subject],
    ['asked by', `${view.requester.name} (${view.requester.id}), from ${view.address}`],
    ['asked at', view.createdAt],
    ['because', view.reason ?? undefined],
    ...view.requirements.map((one) => ['needs', requirementText(one)] as const),
    ...view.decisions.map(
      (one) => [one.decision === 'approve' ? 'agreed' : 'refused', decisionText(one)] as const,
    ),
    ['ends', view.expiresAt],
    ['ended', view.endedAt ?? undefined],
    ['nonce', view.nonce],
    ['digest', view.digest],
  ]);
}

export function requirementText(one: ApprovalView['requirements'][number]): string {
  const from = one.why === 'rule' ? `rule ${one.rule}` : `${one.why} ${one.rule}`;
  return `${one.approvals} of ${one.roles.join(' or ')}, ${one.given} given (${from})`;
}

function decisionText(one: ApprovalView['decisions'][number]): string {
  const why = one.reason === null ? '' : `: ${one.reason}`;
  return `${one.principal.name} (${one.roles.join(', ')}) at ${one.decidedAt}${why}`;
}
