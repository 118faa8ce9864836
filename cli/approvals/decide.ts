/** The word of an approver, and of whoever asked. */
import type { ApprovalView } from '../../api/routes/approvals.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { confirmByName } from '../confirm.ts';
import { printApproval } from './view.ts';

interface ApproveOptions {
  readonly reason?: string;
  readonly digest?: string;
  readonly yes?: boolean;
}

/** Agrees to what was shown, and to nothing else: its digest goes along. */
export async function approve(tools: Tools, options: ApproveOptions, id: string): Promise<void> {
  const { digest, reason } = options;
  if (options.yes === true && digest === undefined) {
    throw new KeyreeveError('invalid-request', '--yes needs --digest: what do you agree to?', {
      hint: `Look at it first, and take the digest from there: keyreeve approval show ${id}`,
    });
  }
  const client = tools.client();
  const params = { approval: id };
  const view = await client.call('approval.show', { params });
  printApproval(tools.output, view);
  if (digest !== undefined && digest.toLowerCase() !== view.digest) {
    throw new KeyreeveError('approval-mismatch', `${id} has another digest: ${view.digest}`, {
      hint: 'It is not what you looked at. Look again before you agree.',
    });
  }
  if (options.yes !== true) await confirm(tools, view);
  const answer = await client.call('approval.approve', {
    params,
    body: { digest: view.digest, ...(reason === undefined ? {} : { reason }) },
  });
  tools.output.data(answer);
  tools.output.note(
    answer.state === 'approved'
      ? `agreed to ${id}: ${answer.requester.name} can run it now, by repeating the command`
      : `agreed to ${id}: it is ${answer.state}, ${missingText(answer)}`,
  );
}

async function confirm(tools: Tools, view: ApprovalView): Promise<void> {
  const what = view.subject === '' ? view.action : `${view.action} on ${view.subject}`;
  await confirmByName(
    tools.context,
    view.subject === '' ? view.action : view.subject,
    `${view.requester.name} wants ${what}. Going on agrees to exactly what stands above.`,
  );
}

interface RejectOptions {
  readonly reason: string;
}

export async function reject(tools: Tools, options: RejectOptions, id: string): Promise<void> {
  const answer = await tools.client().call('approval.reject', {
    params: { approval: id },
    body: { reason: options.reason },
  });
  tools.output.data(answer);
  tools.output.note(`refused ${id}: it will not run`);
}

export async function withdraw(tools: Tools, _options: unknown, id: string): Promise<void> {
  const answer = await tools
    .client()
    .call('approval.withdraw', { params: { approval: id }, body: {} });
  tools.output.data(answer);
  tools.output.note(`took ${id} back`);
}

function missingText({ requirements }: ApprovalView): string {
  const open = requirements.filter(({ approvals, given }) => given < approvals);
  const parts = open.map(
    ({ approvals, given, roles }) => `${approvals - given} more of ${roles.join(' or ')}`,
  );
  return parts.length === 0 ? 'nobody is missing' : `missing: ${parts.join('; ')}`;
}
