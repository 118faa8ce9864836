import { breakGlassTtlSeconds } from '../../api/approvals.ts';
import { breakGlassRoles, roles as roleTable } from '../../api/roles.ts';
import type { ApprovalRule } from '../../api/routes/approvals.ts';
import type { Caller } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { GatedCommand } from '../commands/commands.ts';
import { givingDemands, isBySelf } from './givings.ts';
import { type Deed, demandsOf, isGated } from './matching.ts';
import { isActivePerson, type People } from './people.ts';
import type { Demand } from './requirement.ts';
import type { RulesInForce } from './rules-in-force.ts';
import { weakeningDemands } from './weakening.ts';

/** Whether any rule could put this under dual control. */
export function canWait({ action, also = [] }: GatedCommand): boolean {
  return isGated(action) || also.some((one) => isGated(one.action));
}

/** Everything that has to be met before this command runs; empty where nobody has to be asked. */
export async function demandsOn(
  rules: RulesInForce,
  people: People,
  caller: Caller,
  command: GatedCommand,
): Promise<readonly Demand[]> {
  const deeds = deedsOf(caller, command);
  if (deeds.length === 0) return [];
  const { rules: inForce, matched } = await rules.current();
  const every = () => rules.everyDemand();
  const found = deeds.flatMap((deed) => demandsOf(matched, deed));
  found.push(...(await givingDemands(people, every, caller, command)));
  if (command.action === 'approval.apply-rules') {
    found.push(...weakeningDemands(inForce, rulesOf(command)));
  }
  // Access rules say who may ask: whoever may change them may ask for anything.
  if (command.action === 'access.apply') found.push(...strictest(await every()));
  return found;
}

/** What the command does, as far as it can be put under dual control at all. */
function deedsOf(caller: Caller, command: GatedCommand): Deed[] {
  const asked = [command, ...(command.also ?? [])].filter(({ action }) => isGated(action));
  return asked.map(({ action, resource }) => {
    const keystore = (caller.request?.params as { keystore?: unknown } | undefined)?.keystore;
    return { action, resource, ...(typeof keystore === 'string' ? { keystores: [keystore] } : {}) };
  });
}

function rulesOf({ input }: GatedCommand): readonly ApprovalRule[] {
  return (input as unknown as { rules: readonly ApprovalRule[] }).rules;
}

/** The one that takes most people, and of those the fewest roles. */
function strictest(every: readonly Demand[]): Demand[] {
  return [...every]
    .sort(
      (a, b) =>
        b.approvals - a.approvals || a.roles.length - b.roles.length || (a.rule < b.rule ? -1 : 1),
    )
    .slice(0, 1)
    .map((demand) => ({ ...demand, breakGlass: false }));
}

/**
 * What an emergency needs instead: one holder of each break-glass role, of whom the requester may be
 * one. Error: `forbidden` where a rule does not allow that.
 */
export async function emergencyDemands(
  people: People,
  caller: Caller,
  demands: readonly Demand[],
): Promise<readonly Demand[]> {
  const closed = demands.find(({ breakGlass }) => !breakGlass);
  if (closed !== undefined) {
    throw new KeyreeveError('forbidden', `"${closed.rule}" does not allow break-glass.`, {
      hint: 'Ask for it without, or in a request of its own.',
      data: { rule: closed.rule },
    });
  }
  const self = await people.byId(caller.principalId);
  // To ask counts as a word here: by what would say one.
  const isWord = isActivePerson(self) && isBySelf(caller, self) && (await people.isPinned(caller));
  const own = isWord ? breakGlassRoles.find((role) => caller.roles.includes(role)) : undefined;
  return breakGlassRoles
    .filter((role) => role !== own)
    .map((role) => ({
      rule: `break-glass: ${roleTable[role].title}`,
      why: 'break-glass',
      approvals: 1,
      roles: [role],
      ttlSeconds: breakGlassTtlSeconds,
      breakGlass: true,
    }));
}
