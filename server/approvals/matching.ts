import {
  approvalTtlSecondsDefault,
  type GatedAction,
  gatedActions,
  keystoreGatedActions,
} from '../../api/approvals.ts';
import type { DualControl } from '../../api/fields.ts';
import type { ApprovalRule } from '../../api/routes/approvals.ts';
import type { Resource } from '../base/caller.ts';
import type { Demand } from './requirement.ts';

type KeyResource = Extract<Resource, { type: 'key' }>;

/** One thing that a command does. */
export interface Deed {
  readonly action: string;
  readonly resource: Resource;
  /** The keystores it is asked of, where it is asked of keystores. */
  readonly keystores?: readonly string[];
}

/** What the rules and the key's own policy ask for before this is done. */
export function demandsOf(rules: readonly ApprovalRule[], deed: Deed): Demand[] {
  const found = rules.filter((rule) => matches(rule, deed)).map(demandOfRule);
  const { resource, action } = deed;
  if (resource.type === 'key' && resource.dualControl !== undefined) {
    const { dualControl } = resource;
    const covered: readonly string[] = ['key.update', ...dualControl.actions];
    if (covered.includes(action)) found.push(demandOfPolicy(resource.name, dualControl));
  }
  return found;
}

export function demandOfRule(rule: ApprovalRule): Demand {
  const { name, approvals, roles, ttlSeconds, breakGlass } = rule;
  return { rule: name, why: 'rule', approvals, roles, ttlSeconds, breakGlass };
}

export function demandOfPolicy(keyName: string, dualControl: DualControl): Demand {
  return {
    rule: `policy of ${keyName}`,
    why: 'key-policy',
    approvals: dualControl.approvals,
    roles: dualControl.roles,
    ttlSeconds: dualControl.ttlSeconds ?? approvalTtlSecondsDefault,
    breakGlass: false,
  };
}

export function hasScope(rule: ApprovalRule): boolean {
  return (
    rule.folders !== undefined ||
    rule.labels !== undefined ||
    rule.purposes !== undefined ||
    rule.keystores !== undefined
  );
}

export function isGated(action: string): action is GatedAction {
  return (gatedActions as readonly string[]).includes(action);
}

/**
 * Whether a rule is about this. What cannot be told counts as fitting: a rule is never dodged by a
 * fact that is missing.
 */
function matches(rule: ApprovalRule, deed: Deed): boolean {
  return isNamed(rule, deed) && fitsScope(rule, deed);
}

function isNamed(rule: ApprovalRule, { action }: Deed): boolean {
  return (heldBy(rule) as readonly string[]).includes(action);
}

/**
 * The actions that a rule holds: those it names; and what would lead out of its scope: a change of
 * the key's labels, another keystore over the same token.
 */
export function heldBy(rule: ApprovalRule): readonly GatedAction[] {
  return [
    ...rule.actions,
    ...(hasScope(rule) ? (['key.update'] as const) : []),
    ...(rule.keystores === undefined ? [] : (['keystore.add', 'keystore.remove'] as const)),
  ];
}

function fitsScope(rule: ApprovalRule, deed: Deed): boolean {
  const { resource, action } = deed;
  if ((keystoreGatedActions as readonly string[]).includes(action)) {
    return action === 'keystore.add' || fitsKeystores(rule, deed.keystores);
  }
  switch (resource.type) {
    case 'key':
      return fitsKey(rule, resource);
    case 'folder':
      return fitsFolder(rule, resource.folder);
    default:
      return true;
  }
}

function fitsKey(rule: ApprovalRule, key: KeyResource): boolean {
  const { labels, purposes } = rule;
  return (
    fitsFolder(rule, key.folder) &&
    Object.entries(labels ?? {}).every(([name, value]) => key.labels[name] === value) &&
    (purposes === undefined || (purposes as readonly string[]).includes(key.purpose)) &&
    fitsKeystores(rule, key.keystores)
  );
}

function fitsKeystores(rule: ApprovalRule, known: readonly string[] | undefined): boolean {
  if (rule.keystores === undefined || known === undefined) return true;
  return known.some((name) => rule.keystores!.includes(name));
}

function fitsFolder({ folders }: ApprovalRule, folder: string): boolean {
  return folders === undefined || folders.some((above) => isWithin(folder, above));
}

/** Whether a folder is another or lies below it. */
export function isWithin(folder: string, above: string): boolean {
  return folder === above || folder.startsWith(`${above}/`);
}
