import type { DualControl } from '../../api/fields.ts';
import { breakGlassRoles } from '../../api/roles.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import type { Json } from '../base/canonical-json.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { GatedCommand } from '../commands/commands.ts';
import type { Step } from '../storage/storage.ts';
import { demandOfPolicy } from './matching.ts';
import { isActivePerson, type People, type Person, rolesOf } from './people.ts';
import type { Demand } from './requirement.ts';

/** What a command on principals would change, as far as approvals care. */
interface Change {
  readonly before: Person | undefined;
  /** Roles of an active person after the command; empty where nobody could approve by them. */
  readonly after: readonly string[];
  /** True where somebody is let in as this principal by another. */
  readonly letsIn: boolean;
}

const peopleActions: ReadonlySet<string> = new Set([
  ...['principal.create', 'principal.update', 'principal.enrol', 'principal.bind', 'token.create'],
]);

/**
 * Whoever makes an approver, or gets in as one, could approve by itself: that needs the quorum of
 * each rule that the roles belong to.
 */
export async function givingDemands(
  people: People,
  everyDemand: () => Promise<readonly Demand[]>,
  caller: Caller,
  command: GatedCommand,
): Promise<Demand[]> {
  if (!peopleActions.has(command.action)) return [];
  const change = await changeOf(people, caller, command);
  if (change === undefined) return [];
  const before = isActivePerson(change.before) ? rolesOf(change.before) : [];
  const given = change.letsIn
    ? change.after
    : change.after.filter((role) => !before.includes(role));
  if (given.length === 0) return [];
  return (await everyDemand())
    .filter((demand) => approversOf(demand).some((role) => given.includes(role)))
    .map((demand) => ({ ...demand, why: 'approver-given', breakGlass: false }));
}

/**
 * Steps that hold the quorum of every rule possible where somebody loses a role or is disabled.
 * Error: `quorum-impossible`.
 */
export async function stillPossible(
  people: People,
  everyDemand: () => Promise<readonly Demand[]>,
  caller: Caller,
  command: GatedCommand,
): Promise<readonly Step[]> {
  if (command.action !== 'principal.update') return [];
  const change = await changeOf(people, caller, command);
  if (change === undefined || !isActivePerson(change.before)) return [];
  const { before, after } = change;
  if (rolesOf(before).every((role) => after.includes(role))) return [];
  const steps: Step[] = [];
  for (const demand of await everyDemand()) {
    const could = rolesOf(before).some((role) => isOneOf(demand, role));
    if (!could || after.some((role) => isOneOf(demand, role))) continue;
    const without = [before.id, caller.principalId];
    steps.push(...(await people.requirePossible(demand, without)));
  }
  return steps;
}

/**
 * The same for what a key's own policy would ask for, as the request puts it. It binds people beside
 * the key: from then on none of its approvers is made, or goes, without it. So it takes the right to
 * apply rules. Errors: `forbidden`, `quorum-impossible`.
 */
export async function policyPossible(
  people: People,
  authorise: Authorise,
  caller: Caller,
): Promise<readonly Step[]> {
  const body = caller.request?.body as
    | { name?: string; policy?: { dualControl?: DualControl | null } }
    | undefined;
  const dualControl = body?.policy?.dualControl;
  if (dualControl == null) return [];
  requireMayBind(authorise, caller);
  return people.requirePossible(demandOfPolicy(body?.name ?? 'the key', dualControl), [
    caller.principalId,
  ]);
}

function requireMayBind(authorise: Authorise, caller: Caller): void {
  try {
    authorise(caller, 'approval.apply-rules', { type: 'system' });
  } catch (error) {
    if (!isKeyreeveError(error, 'forbidden')) throw error;
    throw new KeyreeveError('forbidden', 'You may not put a key under dual control.', {
      hint: 'It binds those who approve: have it done by somebody who may apply approval rules.',
      data: { action: 'approval.apply-rules' },
    });
  }
}

function isOneOf({ roles }: Demand, role: string): boolean {
  return (roles as readonly string[]).includes(role);
}

/** Those who can meet it, in an emergency too. */
function approversOf({ roles, breakGlass }: Demand): readonly string[] {
  return breakGlass ? [...roles, ...breakGlassRoles] : roles;
}

async function changeOf(
  people: People,
  caller: Caller,
  { action, resource, input }: GatedCommand,
): Promise<Change | undefined> {
  const wanted = membersOf(input);
  if (action === 'principal.create') {
    const after = wanted.kind === 'person' ? listOf(wanted.roles) : [];
    return { before: undefined, after, letsIn: false };
  }
  const before = await people.byId(targetOf(resource, wanted));
  if (before === undefined || before.kind !== 'person') return undefined;
  if (action === 'principal.update') {
    const isActive = (wanted.state ?? before.state) === 'active';
    const roles = wanted.roles === undefined ? rolesOf(before) : listOf(wanted.roles);
    return { before, after: isActive ? roles : [], letsIn: false };
  }
  // To end a binding lets nobody in.
  if (wanted.unbind !== undefined || isBySelf(caller, before)) return undefined;
  const roles = wanted.roles === undefined || action !== 'token.create' ? undefined : wanted.roles;
  return { before, after: roles === undefined ? rolesOf(before) : listOf(roles), letsIn: true };
}

/** Whether the caller is this principal, by a credential that rests on nobody else. */
export function isBySelf(caller: Caller, { id }: { readonly id: string }): boolean {
  const principals = caller.standing?.principals ?? [];
  return caller.principalId === id && principals.every((one) => one.id === id);
}

function targetOf(
  resource: GatedCommand['resource'],
  input: Readonly<Record<string, Json | undefined>>,
): string {
  if (resource.type === 'principal') return resource.id;
  if (resource.type === 'token') return resource.principalId;
  return String(input.principal ?? '');
}

function membersOf(input: Json): Readonly<Record<string, Json | undefined>> {
  const isObject = typeof input === 'object' && input !== null && !Array.isArray(input);
  return isObject ? (input as Record<string, Json | undefined>) : {};
}

function listOf(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
