import type { Selectable } from 'kysely';
import type { Authorise, Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import { newId } from '../base/ids.ts';
import type { Commands } from '../commands/commands.ts';
import type { Schema } from '../storage/storage.ts';
import type { AccessStore, PrincipalRow, TokenWithPrincipal } from './access-store.ts';
import { isWithin } from './authorise.ts';
import type { Credentials } from './credentials.ts';
import { type Principals, requireActive, requireRoles } from './principals.ts';
import { readRoles, readScope, requireRolesWithin, type TokenScope, writeScope } from './scope.ts';
import { tokenChainMax } from './token-chain.ts';
import { makeToken, tokenHash } from './token-format.ts';
import { viewToken } from './views.ts';

export interface TokensOptions {
  readonly store: AccessStore;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly principals: Principals;
  readonly credentials: Credentials;
}

export interface TokenDraft {
  readonly principal: PrincipalRow;
  readonly scope: TokenScope;
  readonly label: string;
  readonly createdBy: string;
  readonly parentId: string | null;
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** A row for a secret, of which the hash alone is kept. */
export function tokenRow(draft: TokenDraft, hash: Uint8Array): Selectable<Schema['token']> {
  return {
    id: newId('tok'),
    principal_id: draft.principal.id,
    hash,
    label: draft.label,
    scope_json: writeScope(draft.scope),
    created_at: draft.now,
    created_by: draft.createdBy,
    parent_id: draft.parentId,
    expires_at: draft.expiresAt,
    revoked_at: null,
  };
}

/** API tokens: made, listed, revoked. */
export class Tokens {
  readonly #options: TokensOptions;

  constructor(options: TokensOptions) {
    this.#options = options;
  }

  handlers(commands: Commands): Handlers<'token.create' | 'token.list' | 'token.revoke'> {
    return {
      'token.create': (call) => this.#create(commands, call),
      'token.list': (call) => this.#list(call),
      'token.revoke': (call) => this.#revoke(commands, call),
    };
  }

  async #create(commands: Commands, call: Call<'token.create'>) {
    const { store, clock, credentials } = this.#options;
    const { caller, body } = call;
    const principal = await this.#options.principals.find(
      caller,
      'token.create',
      body.principal ?? 'me',
    );
    return commands.run(caller, {
      action: 'token.create',
      resource: { type: 'token', id: '', principalId: principal.id },
      about: { resource: principal.id },
      input: { ...body, principal: principal.id },
      idempotencyKey: call.idempotencyKey,
      // Nobody knows the token yet: there is nothing that a cache could hold of it.
      raisesEpoch: false,
      act: async () => {
        requireActive(principal);
        const maker = await credentials.maker(caller);
        if (maker.depth >= tokenChainMax) throw chainTooLong();
        const now = clock.now();
        const draft: TokenDraft = {
          principal,
          scope: narrowed(caller, principal, body),
          label: body.label,
          createdBy: caller.principalId,
          parentId: maker.id,
          now,
          expiresAt: Math.min(now + body.ttlSeconds * 1000, maker.expiresAt),
        };
        const token = makeToken();
        const row = tokenRow(draft, tokenHash(token));
        return {
          result: { ...viewToken(withPrincipal(row, principal)), token },
          steps: [
            store.principalUnchanged(principal.id, principal.revision),
            store.insertToken(row),
          ],
          about: { resource: row.id, detail: describe(draft) },
        };
      },
    });
  }

  async #list(call: Call<'token.list'>) {
    const { store, authorise, principals } = this.#options;
    const { limit, after, principal } = call.query;
    let principalId: string | undefined;
    if (principal !== undefined) {
      principalId = (await principals.find(call.caller, 'token.show', principal)).id;
      authorise(call.caller, 'token.show', { type: 'token', id: '', principalId });
    } else if (!this.#seesAll(call.caller)) {
      principalId = call.caller.principalId;
    }
    const rows = await store.tokens(principalId, { limit: limit + 1, after });
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    return {
      items: page.map(viewToken),
      next: rows.length > limit && last !== undefined ? `${last.created_at}.${last.id}` : null,
    };
  }

  async #revoke(commands: Commands, call: Call<'token.revoke'>) {
    const { store, clock, authorise } = this.#options;
    const { caller } = call;
    const isCurrent = call.params.token === 'current';
    if (isCurrent && caller.standing?.certificate !== undefined) throw noTokenToRevoke();
    const id = isCurrent ? caller.credentialId : call.params.token;
    const row = await store.tokenById(id);
    if (row === undefined) {
      authorise(caller, 'token.revoke', { type: 'system' });
      throw new KeyreeveError('not-found', 'There is no such token.', {
        hint: 'List them: keyreeve token list',
      });
    }
    return commands.run(caller, {
      action: 'token.revoke',
      resource: { type: 'token', id, principalId: row.principal_id },
      about: { resource: id },
      input: { token: id },
      idempotencyKey: call.idempotencyKey,
      act: async () => {
        const now = clock.now();
        return {
          result: viewToken({ ...row, revoked_at: row.revoked_at ?? now }),
          steps: [store.revoke(id, now)],
        };
      },
    });
  }

  #seesAll(caller: Caller): boolean {
    try {
      this.#options.authorise(caller, 'token.show', { type: 'system' });
      return true;
    } catch (error) {
      if (error instanceof KeyreeveError && error.code === 'forbidden') return false;
      throw error;
    }
  }
}

/** What the new token is narrowed to: never more than its maker and its principal have. */
function narrowed(
  caller: Caller,
  principal: PrincipalRow,
  wanted: { roles?: readonly string[] | undefined; folders?: readonly string[] | undefined },
): TokenScope {
  const whole = readRoles(principal.roles_json);
  const isOwn = principal.id === caller.principalId;
  const roles =
    wanted.roles === undefined ? (isOwn ? caller.roles : whole) : [...new Set(wanted.roles)];
  if (wanted.roles !== undefined) requireRoles(roles);
  requireRolesWithin(
    roles,
    caller.roles,
    (missing) => `A token never has more rights than its maker: you do not have ${missing}.`,
    isOwn
      ? 'Name roles that you have: keyreeve principal show me'
      : `Let the principal log in by itself: keyreeve principal enrol ${principal.name}`,
  );
  requireRolesWithin(
    roles,
    whole,
    (missing) => `"${principal.name}" does not have ${missing}.`,
    'Give it the role first, or leave the role out.',
  );
  const folders = wanted.folders ?? caller.folders;
  const outside = folders?.find((folder) => !isInFolders(folder, caller.folders));
  if (outside !== undefined) {
    throw new KeyreeveError('forbidden', `Your own token does not reach the folder "${outside}".`, {
      hint: `It is narrowed to ${caller.folders?.join(', ')}.`,
    });
  }
  return { roles, ...(folders === undefined ? {} : { folders }) };
}

function isInFolders(folder: string, folders: readonly string[] | undefined): boolean {
  return folders === undefined || folders.some((above) => isWithin(folder, above));
}

function withPrincipal(
  row: Selectable<Schema['token']>,
  principal: PrincipalRow,
): TokenWithPrincipal {
  return {
    ...row,
    principal_name: principal.name,
    principal_kind: principal.kind,
    principal_state: principal.state,
    principal_roles_json: principal.roles_json,
    principal_revision: principal.revision,
  };
}

function describe(draft: TokenDraft): string {
  const { roles = [], folders } = readScope(writeScope(draft.scope));
  return canonicalJson({ principal: draft.principal.id, roles, folders });
}

function noTokenToRevoke(): KeyreeveError {
  return new KeyreeveError('invalid-request', 'This call came with a certificate, not a token.', {
    hint: 'A certificate ends where its CA revokes it: keyreeve cert revoke SERIAL --reason superseded',
  });
}

/** A token cannot be made by one that is as deep as they go. */
export function chainTooLong(): KeyreeveError {
  return new KeyreeveError(
    'forbidden',
    `A token stands at most ${tokenChainMax} tokens below the one of a login.`,
    { hint: 'Make it with a token nearer to the login.' },
  );
}
