/** A command that others have to agree to first: what happens next. */
import type { ApprovalPendingError } from '../../server/base/approval-pending.ts';
import type { CliContext } from '../context.ts';
import { formatDetails, printable } from '../output.ts';
import { requirementText } from './view.ts';

/** On standard error, as errors are: there is no answer yet. */
export function writePending(context: CliContext, { approval }: ApprovalPendingError): void {
  const { standardError } = context;
  const { id, action, subject } = approval;
  const what = subject === '' ? action : `${action} on ${subject}`;
  const lines = [
    `waiting: ${printable(what)} needs the approval of others`,
    ...formatDetails([
      ['approval', id],
      ...approval.requirements.map((one) => ['needs', requirementText(one)] as const),
      ['ends', approval.expiresAt],
      ['digest', approval.digest],
    ]),
    `hint: They look at it and agree with: keyreeve approval approve ${printable(id)}`,
    `hint: Then repeat your command; with --approval ${printable(id)} it runs as this and as nothing else.`,
  ];
  standardError.write(`${lines.join('\n')}\n`);
}
