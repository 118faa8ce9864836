import { hash } from 'node:crypto';
import type { Action } from '../../api/actions.ts';
import type { Authorise, Bound, Caller, Resource, Standing } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';
import type { Step, Storage } from '../storage/storage.ts';
import type { AccessStore, TokenWithPrincipal } from './access-store.ts';
import type { WrongTokens } from './rate-limits.ts';
import type { RulesInForce } from './rules.ts';
import { readRoles, readScope, rolesWithin, type TokenScope } from './scope.ts';
import { isToken, tokenLengthLetters } from './token-format.ts';

/** Credentials kept in memory. */
export const credentialsMax = 20_000;
/** A token made with a token made with a token ...: so deep, and no deeper. */
export const tokenChainMax = 8;

/** A call as it came in, before anybody knows whose it is. */
export interface IncomingCall {
  /** The token of `Authorization: Bearer`; undefined where there is none. */
  readonly bearer: string | undefined;
  readonly address: string;
  readonly agent: string;
  readonly correlationId: string;
}

/** A token that was found good, with the rights it gives. Frozen: many calls share it. */
export interface Credential {
  readonly id: string;
  readonly principalId: string;
  readonly principalName: string;
  readonly roles: readonly string[];
  readonly folders: readonly string[] | undefined;
  readonly scope: TokenScope;
  readonly standing: Standing;
  /** The earliest end along the chain of makers. */
  readonly expiresAt: number;
  /** How many tokens stand above this one. */
  readonly depth: number;
  /** The epoch before it was read. */
  readonly epoch: number;
}

export interface CredentialsOptions {
  readonly storage: Storage;
  readonly store: AccessStore;
  readonly clock: Clock;
  readonly rules: RulesInForce;
  readonly authorise: Authorise;
  readonly wrongTokens: WrongTokens;
}

/** Finds out who calls: by the hash of the token, in memory as long as the epoch stands still. */
export class Credentials {
  readonly #options: CredentialsOptions;
  /** By hash (base64) and by id. One of an older epoch is read again before it counts. */
  readonly #known = new LruMap<string, Credential>(credentialsMax);
  readonly #reading = new Map<string, Promise<Credential>>();

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  /**
   * Who calls. Errors: `unauthenticated` (no token, unknown, expired, revoked, its maker's rights
   * ended, principal disabled), `rate-limited` (too many wrong tokens from the address block).
   */
  async authenticate(call: IncomingCall): Promise<Caller> {
    const { bearer, address } = call;
    if (bearer === undefined || bearer === '') throw noToken();
    const { storage, clock } = this.#options;
    const digest =
      bearer.length === tokenLengthLetters ? hash('sha256', bearer, 'base64') : undefined;
    let credential = digest === undefined ? undefined : this.#known.get(digest);
    if (credential === undefined || credential.epoch !== storage.epoch) {
      // An address that sent too many wrong tokens still gets in with one known to be good.
      if (credential === undefined) this.#options.wrongTokens.check(address);
      credential = await this.#find(bearer, digest, address);
    }
    if (credential.expiresAt <= clock.now()) throw ended('has expired');
    return callerOf(credential, call);
  }

  /**
   * Whether the call still stands, after the epoch rose while it was under way: with the action and
   * the resource, whether that is still allowed; without, whether any right changed. Errors:
   * `unauthenticated`, `forbidden`.
   */
  async recheck(caller: Caller, action?: Action, resource?: Resource): Promise<void> {
    const { storage, rules, clock, authorise } = this.#options;
    if (caller.epoch === storage.epoch && rules.current.version === caller.standing?.rulesVersion) {
      return;
    }
    const credential = await this.byId(caller.credentialId);
    if (credential.expiresAt <= clock.now()) throw ended('has expired');
    if (action !== undefined && resource !== undefined) {
      authorise(callerOf(credential, caller), action, resource);
    } else if (rightsText(credential) !== rightsText(caller)) {
      throw new KeyreeveError('forbidden', 'The rights of the caller were changed meanwhile.', {
        hint: 'Repeat the request.',
      });
    }
  }

  /** Steps that fail a write unless the caller's token, principals and rules stand as they stood. */
  stillAllowed(caller: Caller): readonly Step[] {
    const { store, clock } = this.#options;
    const { standing } = caller;
    if (standing === undefined) throw noToken();
    return [
      store.tokenAlive(caller.credentialId, clock.now()),
      ...standing.principals.map(({ id, revision }) => store.principalUnchanged(id, revision)),
      store.rulesUnchanged(standing.rulesVersion),
    ];
  }

  /** The credential with this id as it is now. Error: `unauthenticated` where it has ended. */
  byId(id: string): Promise<Credential> {
    return this.#read(id, () => this.#options.store.tokenById(id));
  }

  /** A login code that may still be used, by its hash; undefined where there is none. */
  async enrolment(codeHash: Uint8Array): Promise<Credential | undefined> {
    const row = await this.#options.store.tokenByHash(codeHash);
    if (row === undefined || readScope(row.scope_json).enrolment === undefined) return undefined;
    try {
      const credential = await this.#derive(row, this.#options.storage.epoch);
      return credential.expiresAt > this.#options.clock.now() ? credential : undefined;
    } catch (error) {
      if (error instanceof KeyreeveError && error.code === 'unauthenticated') return undefined;
      throw error;
    }
  }

  async #find(bearer: string, digest: string | undefined, address: string): Promise<Credential> {
    const { store, wrongTokens } = this.#options;
    try {
      if (digest === undefined || !isToken(bearer)) {
        throw new UnknownToken('unauthenticated', 'This is not a whole token of Keyreeve.', {
          hint: 'Give the token as it was shown: krv_ and 49 letters and digits.',
        });
      }
      const found = await this.#read(digest, () =>
        store.tokenByHash(Buffer.from(digest, 'base64')),
      );
      if (found.scope.enrolment !== undefined) throw unknownToken();
      return found;
    } catch (error) {
      // Tokens that ended are no guesses: a client that forgot to log in again must not lock out
      // everybody behind its address.
      if (error instanceof UnknownToken) wrongTokens.count(address);
      throw error;
    }
  }

  /** Reads a credential once for all that wait for it, and keeps it. */
  async #read(
    slot: string,
    read: () => Promise<TokenWithPrincipal | undefined>,
  ): Promise<Credential> {
    const { storage, rules } = this.#options;
    for (;;) {
      const known = this.#known.get(slot);
      if (known !== undefined && known.epoch === storage.epoch) return known;
      const under = this.#reading.get(slot);
      if (under !== undefined) {
        const credential = await under;
        // Begun before the epoch rose: too old for a caller who came after.
        if (credential.epoch === storage.epoch) return credential;
        continue;
      }
      const { epoch } = storage;
      const reading = (async () => {
        const [row] = await Promise.all([read(), rules.refresh()]);
        if (row === undefined) throw unknownToken();
        return this.#derive(row, epoch);
      })();
      this.#reading.set(slot, reading);
      try {
        const credential = await reading;
        this.#known.set(slot, credential);
        return credential;
      } catch (error) {
        this.#known.delete(slot);
        throw error;
      } finally {
        this.#reading.delete(slot);
      }
    }
  }

  /** Follows the chain of makers up to the first token, then takes the rights down again. */
  async #derive(token: TokenWithPrincipal, epoch: number): Promise<Credential> {
    const chain = [token];
    for (let above = token.parent_id; above !== null; above = chain.at(-1)!.parent_id) {
      const row = await this.#options.store.tokenById(above);
      if (row === undefined || chain.length > tokenChainMax) throw ended('lost its maker');
      chain.push(row);
    }
    let roles: readonly string[] | undefined;
    const bounds: Bound[] = [];
    for (const row of chain.reverse()) {
      requireAlive(row);
      const whole = readRoles(row.principal_roles_json);
      const wanted = readScope(row.scope_json).roles ?? whole;
      const within = rolesWithin(wanted, whole);
      roles = roles === undefined ? within : rolesWithin(within, roles);
      addBound(bounds, { principalId: row.principal_id, roles: whole });
      addBound(bounds, { principalId: row.principal_id, roles });
    }
    const scope = readScope(token.scope_json);
    const own: Bound = { principalId: token.principal_id, roles: roles! };
    return freeze({
      id: token.id,
      principalId: token.principal_id,
      principalName: token.principal_name,
      roles: own.roles,
      folders: scope.folders,
      scope,
      standing: {
        bounds: bounds.filter((bound) => !isSameBound(bound, own)),
        principals: principalsOf(chain),
        rulesVersion: this.#options.rules.current.version,
      },
      expiresAt: Math.min(...chain.map((row) => row.expires_at)),
      depth: chain.length - 1,
      epoch,
    });
  }
}

/** A token that was never one of ours: somebody may be guessing. */
class UnknownToken extends KeyreeveError {}

function callerOf(credential: Credential, call: Omit<IncomingCall, 'bearer'>): Caller {
  return {
    principalId: credential.principalId,
    principalName: credential.principalName,
    roles: credential.roles,
    credentialId: credential.id,
    folders: credential.folders,
    address: call.address,
    agent: call.agent,
    correlationId: call.correlationId,
    epoch: credential.epoch,
    standing: credential.standing,
  };
}

function requireAlive(row: TokenWithPrincipal): void {
  if (row.revoked_at !== null) throw ended('was revoked');
  if (row.principal_state !== 'active') {
    throw new KeyreeveError('unauthenticated', `"${row.principal_name}" is disabled.`, {
      hint: 'Ask an administrator.',
    });
  }
}

function addBound(bounds: Bound[], bound: Bound): void {
  if (!bounds.some((known) => isSameBound(known, bound))) bounds.push(bound);
}

function isSameBound(a: Bound, b: Bound): boolean {
  return a.principalId === b.principalId && a.roles.join('\n') === b.roles.join('\n');
}

function principalsOf(chain: readonly TokenWithPrincipal[]) {
  const found = new Map<string, number>();
  for (const row of chain) found.set(row.principal_id, row.principal_revision);
  return [...found].map(([id, revision]) => ({ id, revision }));
}

function freeze(credential: Credential): Credential {
  Object.freeze(credential.roles);
  Object.freeze(credential.standing);
  Object.freeze(credential.standing.bounds);
  for (const bound of credential.standing.bounds) Object.freeze(bound.roles);
  return Object.freeze(credential);
}

function rightsText(of: Caller | Credential): string {
  return JSON.stringify([of.roles, of.folders ?? null, of.standing]);
}

function noToken(): KeyreeveError {
  return new KeyreeveError('unauthenticated', 'The request carries no token.', {
    hint: 'Log in: keyreeve login --code CODE',
  });
}

function unknownToken(): KeyreeveError {
  return new UnknownToken('unauthenticated', 'The token is not known here.', {
    hint: 'Log in again, or ask for a new token.',
  });
}

function ended(how: string): KeyreeveError {
  return new KeyreeveError('unauthenticated', `The token ${how}.`, {
    hint: 'Log in again, or ask for a new token.',
  });
}
