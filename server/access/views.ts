import type { z } from 'zod';
import type { principalView, tokenView } from '../../api/routes/access.ts';
import { formatTime } from '../base/clock.ts';
import type { PrincipalRow, TokenWithPrincipal } from './access-store.ts';
import { readRoles, readScope } from './scope.ts';

export type PrincipalView = z.output<typeof principalView>;
export type TokenView = z.output<typeof tokenView>;

export function viewPrincipal(row: PrincipalRow): PrincipalView {
  return {
    id: row.id,
    name: row.name,
    kind: row.kind as PrincipalView['kind'],
    state: row.state as PrincipalView['state'],
    roles: [...readRoles(row.roles_json)],
    createdAt: formatTime(row.created_at),
  };
}

/** A token without itself: that is shown once, when it is made. */
export function viewToken(row: TokenWithPrincipal): TokenView {
  const scope = readScope(row.scope_json);
  const roles = scope.roles ?? readRoles(row.principal_roles_json);
  return {
    id: row.id,
    principal: row.principal_name,
    label: row.label,
    roles: scope.enrolment === undefined ? [...roles] : [],
    folders: scope.folders === undefined ? null : [...scope.folders],
    createdAt: formatTime(row.created_at),
    expiresAt: formatTime(row.expires_at),
    revokedAt: row.revoked_at === null ? null : formatTime(row.revoked_at),
  };
}
