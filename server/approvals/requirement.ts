import type { z } from 'zod';
import type { RoleName } from '../../api/roles.ts';
import type { approvalRequirement } from '../../api/routes/approvals.ts';
import { canonicalJson } from '../base/canonical-json.ts';

type Why = z.output<typeof approvalRequirement>['why'];

/** So many words of people with one of these roles. */
export interface Requirement {
  readonly rule: string;
  readonly why: Why;
  readonly approvals: number;
  readonly roles: readonly RoleName[];
}

/** A requirement as the rules make it, with what they say of the time. */
export interface Demand extends Requirement {
  readonly ttlSeconds: number;
  /** Whether the two roles of break-glass may stand in for it. */
  readonly breakGlass: boolean;
}

/** The same text, the same requirements; each once, in one order. */
export function writeRequirements(list: readonly Requirement[]): string {
  const texts = list.map(({ rule, why, approvals, roles }) =>
    canonicalJson({ rule, why, approvals, roles: [...roles].sort() }),
  );
  return `[${[...new Set(texts)].sort().join(',')}]`;
}

export function readRequirements(text: string): readonly Requirement[] {
  return JSON.parse(text) as Requirement[];
}
