import type { ApprovalView } from '../../api/routes/approvals.ts';
import { KeyreeveError } from './errors.ts';

/** A command that waits until others agree: no failure, and it carries what they will look at. */
export class ApprovalPendingError extends KeyreeveError {
  readonly approval: ApprovalView;

  constructor(approval: ApprovalView) {
    const { id, digest, expiresAt, state } = approval;
    super(
      'approval-pending',
      `${approval.action} waits for approval ${id}: ${missing(approval)}.`,
      {
        hint: `When they have agreed, repeat the command before ${expiresAt}. Look at it: keyreeve approval show ${id}`,
        data: { approval: id, digest, expiresAt, state },
      },
    );
    this.approval = approval;
  }
}

function missing({ requirements }: ApprovalView): string {
  const open = requirements.filter(({ approvals, given }) => given < approvals);
  const parts = open.map(
    ({ approvals, given, roles, rule }) =>
      `${approvals - given} more of ${roles.join(' or ')} (${rule})`,
  );
  return parts.length === 0 ? 'all have agreed' : parts.join(', and ');
}
