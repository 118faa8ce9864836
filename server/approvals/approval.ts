import { createHash, createHmac } from 'node:crypto';
import type { ApprovalKind, ApprovalState } from '../../api/approvals.ts';
import type { ApprovalView } from '../../api/routes/approvals.ts';
import type { Caller } from '../base/caller.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Sealer } from '../commands/commands.ts';
import type { ApprovalRow, DecisionRow } from './approval-store.ts';
import { isWithin } from './matching.ts';
import { isActivePerson, type Person, rolesOf } from './people.ts';
import { type Requirement, readRequirements } from './requirement.ts';

export const saltBytes = 32;

/** Who asked, and with what rights: whoever runs it has at least these. */
export interface Requesters {
  readonly principals: readonly string[];
  readonly roles: readonly string[];
  readonly folders: readonly string[] | null;
  /** Where it was asked from. */
  readonly address: string;
}

export function requestersOf(row: Pick<ApprovalRow, 'requesters_json'>): Requesters {
  return JSON.parse(row.requesters_json) as Requesters;
}

/** Whether a caller has all the rights with which something was asked for. */
export function isAsStrong(caller: Caller, { roles, folders }: Requesters): boolean {
  if (!roles.every((role) => caller.roles.includes(role))) return false;
  if (caller.folders === undefined) return true;
  return folders?.every((one) => caller.folders!.some((above) => isWithin(one, above))) ?? false;
}

/** The salt lies sealed: who reads the database alone cannot try short secrets. */
export function sealSalt(sealer: Sealer, id: string, salt: Uint8Array): Uint8Array {
  return sealer.seal(`approval\n${id}`, salt);
}

export function saltOf(sealer: Sealer, row: Pick<ApprovalRow, 'id' | 'salt'>): Uint8Array {
  return sealer.unseal(`approval\n${row.id}`, row.salt);
}

/** Shown to approvers, and tells nothing of the salt. */
export function nonceOf(salt: Uint8Array): string {
  return createHmac('sha256', salt).update('nonce').digest('hex').slice(0, 32);
}

/** SHA-256 of everything that approvers agree to, hexadecimal. */
export function digestOf(row: Omit<ApprovalRow, 'digest'>, nonce: string): string {
  const agreed: Json = {
    id: row.id,
    kind: row.kind,
    action: row.action,
    requester: row.principal_id,
    requesters: JSON.parse(row.requesters_json) as Json,
    command: JSON.parse(row.command_json) as Json,
    requirements: JSON.parse(row.requirements_json) as Json,
    reason: row.reason,
    nonce,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  };
  return createHash('sha256').update(canonicalJson(agreed), 'utf8').digest('hex');
}

/** Error: `integrity-failed` where the row is not what was agreed to any more. */
export function requireWhole(row: ApprovalRow, nonce: string): void {
  if (digestOf(row, nonce) === row.digest) return;
  throw new KeyreeveError(
    'integrity-failed',
    `The approval ${row.id} was altered in the database.`,
    {
      hint: 'Look into it; withdraw it and ask again.',
    },
  );
}

/** How far the words go. */
export interface Progress {
  readonly given: readonly number[];
  readonly counted: readonly Person[];
  readonly isMet: boolean;
}

/**
 * Counts the words that count now: of active people who still hold a role that the word was given
 * with, and who do not stand behind the request. In an emergency each counts for one role alone.
 */
export function progressOf(
  requirements: readonly Requirement[],
  decisions: readonly DecisionRow[],
  people: ReadonlyMap<string, Person>,
  behind: readonly string[],
): Progress {
  const counted = new Map<string, Person>();
  const inEmergency = new Set<string>();
  const given = requirements.map(({ why, roles }) => {
    const fitting = decisions.filter((decision) => {
      const person = people.get(decision.principal_id);
      if (decision.decision !== 'approve' || !isActivePerson(person)) return false;
      if (behind.includes(person.id) || inEmergency.has(person.id)) return false;
      const held = rolesOf(person);
      const by = JSON.parse(decision.roles_json) as string[];
      return roles.some((role) => by.includes(role) && held.includes(role));
    });
    for (const { principal_id } of fitting) {
      counted.set(principal_id, people.get(principal_id)!);
      if (why === 'break-glass') inEmergency.add(principal_id);
    }
    return fitting.length;
  });
  const isMet = requirements.every(({ approvals }, index) => given[index]! >= approvals);
  return { given, counted: [...counted.values()], isMet };
}

export interface ViewParts {
  readonly row: ApprovalRow;
  readonly decisions: readonly DecisionRow[];
  readonly people: ReadonlyMap<string, Person>;
  readonly nonce: string;
  readonly now: number;
}

export function viewApproval(parts: ViewParts): ApprovalView {
  const { row, nonce } = parts;
  return {
    ...viewSummary(parts),
    nonce,
    command: JSON.parse(row.command_json) as Record<string, unknown>,
  };
}

export function viewSummary({ row, decisions, people, now }: Omit<ViewParts, 'nonce'>) {
  const requirements = readRequirements(row.requirements_json);
  const behind = requestersOf(row).principals;
  const { given, isMet } = progressOf(requirements, decisions, people, behind);
  return {
    id: row.id,
    state: stateOf(row, isMet, now),
    kind: row.kind as ApprovalKind,
    action: row.action,
    subject: String((JSON.parse(row.command_json) as { subject?: unknown }).subject ?? ''),
    requester: named(people, row.principal_id),
    address: requestersOf(row).address,
    reason: row.reason,
    requirements: requirements.map((one, index) => ({
      rule: one.rule,
      why: one.why,
      approvals: one.approvals,
      roles: [...one.roles],
      given: given[index]!,
    })),
    decisions: decisions.map((one) => ({
      principal: named(people, one.principal_id),
      decision: one.decision as 'approve' | 'reject',
      roles: JSON.parse(one.roles_json) as string[],
      reason: one.reason,
      decidedAt: formatTime(one.decided_at),
    })),
    digest: row.digest,
    createdAt: formatTime(row.created_at),
    expiresAt: formatTime(row.expires_at),
    endedAt: row.ended_at === null ? null : formatTime(row.ended_at),
  };
}

export function stateOf(row: ApprovalRow, isMet: boolean, now: number): ApprovalState {
  if (row.state !== 'pending') return row.state as ApprovalState;
  if (row.expires_at <= now) return 'expired';
  return isMet ? 'approved' : 'pending';
}

function named(people: ReadonlyMap<string, Person>, id: string) {
  return { id, name: people.get(id)?.name ?? id };
}

/** Errors: `approval-ended`, `approval-expired`. */
export function requireOpen(row: ApprovalRow, now: number): void {
  if (row.state === 'expired' || (row.state === 'pending' && row.expires_at <= now)) {
    const at = formatTime(row.expires_at);
    throw new KeyreeveError('approval-expired', `The approval ${row.id} expired at ${at}.`, {
      hint: 'Have the command asked for again.',
      data: { approval: row.id },
    });
  }
  if (row.state === 'pending') return;
  throw new KeyreeveError('approval-ended', `The approval ${row.id} has ended: ${row.state}.`, {
    hint: 'Have the command asked for again.',
    data: { approval: row.id, state: row.state },
  });
}
