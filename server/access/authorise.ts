import type { Action } from '../../api/actions.ts';
import { systemFolder } from '../../api/roles.ts';
import type { Authorise, Bound, Caller, Resource } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';
import { isRefusedOnSystemKeys } from './default-rules.ts';
import type { RulesInForce } from './rules.ts';

/** Decisions kept: one costs 0.2 ms to make and a microsecond to find. */
export const decisionsMax = 50_000;

/** Decides whether a caller may do something; remembers what the rules said. */
export class Authoriser {
  readonly #rules: RulesInForce;
  readonly #decisions: LruMap<string, boolean>;
  /** Role lists written out, by list: those of a credential are frozen and shared by its calls. */
  readonly #written = new WeakMap<readonly unknown[], string>();
  #version = '';

  constructor(rules: RulesInForce, limit = decisionsMax) {
    this.#rules = rules;
    this.#decisions = new LruMap(limit);
  }

  /** Throws `forbidden`, naming the action, unless everything allows it. */
  readonly authorise: Authorise = (caller, action, resource) => {
    const { standing } = caller;
    if (standing === undefined) throw forbidden(caller, action, resource);
    if (isSystemKey(resource) && isRefusedOnSystemKeys(action)) {
      throw new KeyreeveError(
        'forbidden',
        `${action} is refused: keys in "${systemFolder}" belong to the service itself.`,
        { data: { action } },
      );
    }
    requireScope(caller, action, resource);
    if (!this.#allows(caller, action, resource)) throw forbidden(caller, action, resource);
    for (const bound of standing.bounds) {
      if (!this.#allows(bound, action, resource)) throw forbidden(caller, action, resource);
    }
  };

  /** Everything that a decision depends on is in its key; the scope of the token is checked apart. */
  #allows(who: Bound, action: Action, resource: Resource): boolean {
    if (isOwnWord(who, action, resource)) return true;
    const { version, digest } = this.#rules.current;
    const inForce = `${version}:${digest}`;
    if (inForce !== this.#version) {
      this.#decisions.clear();
      this.#version = inForce;
    }
    const key = `${who.principalId}\n${this.#write(who.roles)}\n${action}\n${facts(resource)}`;
    const known = this.#decisions.get(key);
    if (known !== undefined) return known;
    const decision = this.#rules.engine.decide(who, action, resource);
    this.#decisions.set(key, decision);
    return decision;
  }

  #write(roles: readonly string[]): string {
    const known = this.#written.get(roles);
    if (known !== undefined) return known;
    const text = JSON.stringify(roles);
    if (Object.isFrozen(roles)) this.#written.set(roles, text);
    return text;
  }
}

/**
 * The facts of a resource that rules can look at, unambiguously: ids, purposes and folders of keys
 * hold no line break; a folder that somebody asked for might, and stands alone.
 */
function facts(resource: Resource): string {
  switch (resource.type) {
    case 'key': {
      const { id, folder, purpose, ownerId, labels } = resource;
      return `key\n${id}\n${folder}\n${purpose}\n${ownerId}\n${labelText(labels)}`;
    }
    case 'folder':
      return `folder\n${resource.folder}`;
    case 'principal':
      return `principal\n${resource.id}`;
    case 'token':
      return `token\n${resource.id}\n${resource.principalId}`;
    case 'system':
      return 'system';
  }
}

function labelText(labels: Readonly<Record<string, string>>): string {
  // Most keys have none: writing JSON would cost as much as all the rest.
  for (const _ in labels) return JSON.stringify(labels);
  return '';
}

function isSystemKey(resource: Resource): boolean {
  return (
    (resource.type === 'key' || resource.type === 'folder') &&
    isWithin(resource.folder, systemFolder)
  );
}

/**
 * To say a word on somebody's request, in one's own name: whose word counts is what the approval
 * rules say. Access rules that left this out would bar every command that needs approval, the one
 * that mends them among these.
 */
function isOwnWord(who: Bound, action: Action, resource: Resource): boolean {
  const isWord = action === 'approval.decide' || action === 'approval.withdraw';
  return isWord && resource.type === 'principal' && resource.id === who.principalId;
}

/** Whether a folder is another or lies below it. */
export function isWithin(folder: string, above: string): boolean {
  if (folder === above) return true;
  return folder.startsWith(above) && folder.charCodeAt(above.length) === 0x2f;
}

/** A token narrowed to folders reaches the keys in them, and of the rest only itself. */
function requireScope(caller: Caller, action: Action, resource: Resource): void {
  const { folders } = caller;
  if (folders === undefined || isInScope(caller, folders, action, resource)) return;
  throw new KeyreeveError(
    'forbidden',
    `${action} is refused: this token is narrowed to ${folders.join(', ')}.`,
    { hint: 'Use a token that is not narrowed to folders.', data: { action } },
  );
}

function isInScope(
  caller: Caller,
  folders: readonly string[],
  action: Action,
  resource: Resource,
): boolean {
  switch (resource.type) {
    case 'key':
    case 'folder':
      return folders.some((folder) => isWithin(resource.folder, folder));
    case 'principal':
      // Anything more than a look (a code to log in with, a role) would lead out of the folders.
      return (
        (action === 'principal.show' || action === 'approval.withdraw') &&
        resource.id === caller.principalId
      );
    case 'token':
      // Tokens made with this one are narrowed as it is; of the others it may end itself alone.
      return (
        resource.principalId === caller.principalId &&
        (action !== 'token.revoke' || resource.id === caller.credentialId)
      );
    case 'system':
      return false;
  }
}

function forbidden(caller: Caller, action: Action, resource: Resource): KeyreeveError {
  const roles = caller.roles.length === 0 ? 'no role' : caller.roles.join(', ');
  return new KeyreeveError('forbidden', `${action} is not allowed ${place(resource)}.`, {
    hint: `You call with ${roles}. Ask an administrator for a role that allows it.`,
    data: { action },
  });
}

// The same words for what is there and for what is not: a refusal tells nobody which names exist.
function place(resource: Resource): string {
  return resource.type === 'key' || resource.type === 'folder' ? 'to you on this key' : 'to you';
}
