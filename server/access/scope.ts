import { type RoleName, withIncludedRoles } from '../../api/roles.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';

/** What a token is narrowed to, as stored. A token without `roles` follows its principal's. */
export interface TokenScope {
  readonly roles?: readonly string[];
  readonly folders?: readonly string[];
  /** Not a token but a one-time login code, good for nothing else. */
  readonly enrolment?: { readonly tokenTtlSeconds: number };
}

/** How the stored scope of every login code begins. */
export const enrolmentScopePrefix = '{"enrolment":';

export function writeScope(scope: TokenScope): string {
  return canonicalJson({
    roles: scope.roles,
    folders: scope.folders,
    enrolment:
      scope.enrolment === undefined
        ? undefined
        : { tokenTtlSeconds: scope.enrolment.tokenTtlSeconds },
  });
}

export function readScope(text: string): TokenScope {
  return JSON.parse(text) as TokenScope;
}

export function readRoles(text: string): readonly string[] {
  return JSON.parse(text) as string[];
}

export function writeRoles(roles: readonly RoleName[]): string {
  return canonicalJson([...new Set(roles)].sort());
}

/** The wanted roles that lie within what somebody has. */
export function rolesWithin(wanted: readonly string[], held: readonly string[]): string[] {
  const all = withIncludedRoles(held);
  return wanted.filter((role) => all.has(role));
}

/** Refuses roles that somebody does not have, by name. */
export function requireRolesWithin(
  wanted: readonly string[],
  held: readonly string[],
  message: (missing: string) => string,
  hint: string,
): void {
  const all = withIncludedRoles(held);
  const missing = wanted.filter((role) => !all.has(role));
  if (missing.length > 0)
    throw new KeyreeveError('forbidden', message(missing.join(', ')), { hint });
}
