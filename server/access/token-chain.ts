import type { Bound } from '../base/caller.ts';
import type { AccessStore, TokenWithPrincipal } from './access-store.ts';
import {
  type Credential,
  freezeCredential,
  isSameBound,
  requireActivePrincipal,
  tokenEnded,
} from './credential.ts';
import { readRoles, readScope, rolesWithin } from './scope.ts';

/** A token made with a token made with a token ...: so deep, and no deeper. */
export const tokenChainMax = 8;

/**
 * What a token is good for: follows the chain of makers up to the first token, then takes the
 * rights down again. Error: `unauthenticated` where one of them has ended.
 */
export async function credentialOfToken(
  store: AccessStore,
  token: TokenWithPrincipal,
  read: { readonly epoch: number; readonly rulesVersion: number },
): Promise<Credential> {
  const chain = [token];
  for (let above = token.parent_id; above !== null; above = chain.at(-1)!.parent_id) {
    const row = await store.tokenById(above);
    if (row === undefined || chain.length > tokenChainMax) throw tokenEnded('lost its maker');
    chain.push(row);
  }
  let roles: readonly string[] | undefined;
  const bounds: Bound[] = [];
  for (const row of chain.reverse()) {
    if (row.revoked_at !== null) throw tokenEnded('was revoked');
    requireActivePrincipal(row);
    const whole = readRoles(row.principal_roles_json);
    const wanted = readScope(row.scope_json).roles ?? whole;
    const within = rolesWithin(wanted, whole);
    roles = roles === undefined ? within : rolesWithin(within, roles);
    addBound(bounds, { principalId: row.principal_id, roles: whole });
    addBound(bounds, { principalId: row.principal_id, roles });
  }
  const scope = readScope(token.scope_json);
  const own: Bound = { principalId: token.principal_id, roles: roles! };
  return freezeCredential({
    id: token.id,
    principalId: token.principal_id,
    principalName: token.principal_name,
    roles: own.roles,
    folders: scope.folders,
    scope,
    standing: {
      bounds: bounds.filter((bound) => !isSameBound(bound, own)),
      principals: principalsOf(chain),
      rulesVersion: read.rulesVersion,
    },
    expiresAt: Math.min(...chain.map((row) => row.expires_at)),
    depth: chain.length - 1,
    epoch: read.epoch,
  });
}

function addBound(bounds: Bound[], bound: Bound): void {
  if (!bounds.some((known) => isSameBound(known, bound))) bounds.push(bound);
}

function principalsOf(chain: readonly TokenWithPrincipal[]) {
  const found = new Map<string, number>();
  for (const row of chain) found.set(row.principal_id, row.principal_revision);
  return [...found].map(([id, revision]) => ({ id, revision }));
}
