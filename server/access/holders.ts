import { setImmediate } from 'node:timers/promises';
import type { Action } from '../../api/actions.ts';
import { systemFolder } from '../../api/roles.ts';
import type { Resource } from '../base/caller.ts';
import type { AccessStore, PrincipalRow } from './access-store.ts';
import { isRefusedOnSystemKeys } from './default-rules.ts';
import type { RulesInForce } from './rules.ts';
import { readRoles } from './scope.ts';

/** Principals that are looked at: more than an organisation has people and services. */
export const holdersAskedMax = 2000;
/** Decisions made before others get a turn: one costs 0.2 ms. */
const decisionsInARow = 100;

/** One thing that somebody may or may not do. */
export interface Question {
  readonly action: Action;
  readonly resource: Resource;
}

/** An active principal that may do something of what was asked. */
export interface Holder {
  readonly id: string;
  readonly name: string;
  readonly kind: string;
  readonly roles: readonly string[];
  /** The places of the questions in the list that was asked. */
  readonly allowed: readonly number[];
}

export interface Holders {
  readonly holders: readonly Holder[];
  /** False where there are more principals than are looked at. */
  readonly isComplete: boolean;
}

/**
 * Who may do what, by the rules in force: each active principal is asked with all its roles. A token
 * may have less.
 */
export async function findHolders(
  store: AccessStore,
  rules: RulesInForce,
  questions: readonly Question[],
): Promise<Holders> {
  await rules.refresh();
  const { policies } = rules.current;
  const principals = await store.activePrincipals(holdersAskedMax + 1);
  const known = new Map<string, readonly number[]>();
  const holders: Holder[] = [];
  for (const row of principals.slice(0, holdersAskedMax)) {
    const kind = kindOf(row, questions, policies);
    let allowed = known.get(kind);
    if (allowed === undefined) {
      allowed = await allowedTo(row, rules, questions);
      known.set(kind, allowed);
    }
    const { id, name } = row;
    if (allowed.length > 0) {
      holders.push({ id, name, kind: row.kind, roles: readRoles(row.roles_json), allowed });
    }
  }
  holders.sort((one, other) => (one.name < other.name ? -1 : 1));
  return { holders, isComplete: principals.length <= holdersAskedMax };
}

/** The ids of keys that stand in the text of the rules. */
export async function keysNamedByRules(rules: RulesInForce): Promise<readonly string[]> {
  await rules.refresh();
  return [...new Set(rules.current.policies.match(/\bkey_[A-Za-z0-9]+/g))];
}

/** The folders that stand in the text of the rules. */
export async function foldersNamedByRules(rules: RulesInForce): Promise<readonly string[]> {
  await rules.refresh();
  const named = rules.current.policies.matchAll(/\bFolder\s*::\s*"([^"]*)"/g);
  return [...new Set(Array.from(named, ([, folder]) => folder!))];
}

/**
 * Principals of one kind are answered alike: rules know of them their roles, whether they own a
 * key, and their id where it stands in the text.
 */
function kindOf(row: PrincipalRow, questions: readonly Question[], policies: string): string {
  const isOwner = questions.some(
    ({ resource }) => resource.type === 'key' && resource.ownerId === row.id,
  );
  return isOwner || policies.includes(row.id) ? row.id : row.roles_json;
}

async function allowedTo(
  row: PrincipalRow,
  rules: RulesInForce,
  questions: readonly Question[],
): Promise<readonly number[]> {
  const who = { principalId: row.id, roles: readRoles(row.roles_json) };
  const allowed: number[] = [];
  for (const [place, { action, resource }] of questions.entries()) {
    if (place % decisionsInARow === decisionsInARow - 1) await setImmediate();
    if (isSystem(resource) && isRefusedOnSystemKeys(action)) continue;
    if (rules.engine.decide(who, action, resource)) allowed.push(place);
  }
  return allowed;
}

function isSystem(resource: Resource): boolean {
  const { folder = '' } = resource as { readonly folder?: string };
  return folder === systemFolder || folder.startsWith(`${systemFolder}/`);
}
