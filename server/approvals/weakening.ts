import type { ApprovalRule } from '../../api/routes/approvals.ts';
import { demandOfRule, heldBy, isWithin } from './matching.ts';
import type { Demand } from './requirement.ts';

/**
 * What a new document of rules needs: the quorum of every rule that it removes or makes weaker. A
 * rule under another name is a rule that is gone.
 */
export function weakeningDemands(
  before: readonly ApprovalRule[],
  after: readonly ApprovalRule[],
): Demand[] {
  return before
    .filter((old) => {
      const next = after.find(({ name }) => name === old.name);
      return next === undefined || isWeaker(old, next);
    })
    .map((old) => ({ ...demandOfRule(old), why: 'weakening', breakGlass: false }));
}

/** Whether anything that the old rule held needs less under the new one. */
export function isWeaker(old: ApprovalRule, next: ApprovalRule): boolean {
  return (
    next.approvals < old.approvals ||
    // Fewer roles would do as well: whoever is left may be the one who asks for it.
    !isSame(old.roles, next.roles) ||
    !covers(heldBy(next), heldBy(old)) ||
    isNarrower(old, next) ||
    next.ttlSeconds > old.ttlSeconds ||
    (next.breakGlass && !old.breakGlass)
  );
}

function isNarrower(old: ApprovalRule, next: ApprovalRule): boolean {
  return (
    !folderCover(old.folders, next.folders) ||
    !covers(next.purposes, old.purposes) ||
    !covers(next.keystores, old.keystores) ||
    !Object.entries(next.labels ?? {}).every(([name, value]) => old.labels?.[name] === value)
  );
}

function folderCover(
  old: readonly string[] | undefined,
  next: readonly string[] | undefined,
): boolean {
  if (next === undefined) return true;
  if (old === undefined) return false;
  return old.every((folder) => next.some((above) => isWithin(folder, above)));
}

/** Whether a list holds all of another; one that is not given holds everything. */
function covers(list: readonly string[] | undefined, other: readonly string[] | undefined) {
  if (list === undefined) return true;
  return other?.every((item) => list.includes(item)) ?? false;
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item) => b.includes(item));
}
