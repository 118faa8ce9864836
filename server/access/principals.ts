import type { Action } from '../../api/actions.ts';
import { conflictingRoles, isRoleName, type RoleName, roleNames, roles } from '../../api/roles.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import { isId, newId } from '../base/ids.ts';
import type { Commands } from '../commands/commands.ts';
import type { AccessStore, PrincipalRow } from './access-store.ts';
import type { RuleGuard } from './rule-guard.ts';
import { readRoles, writeRoles } from './scope.ts';
import { viewPrincipal } from './views.ts';

/** Words that mean something else where a principal is named. */
const reservedNames: readonly string[] = ['me', 'current', 'system'];

export interface PrincipalsOptions {
  readonly store: AccessStore;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly guard: RuleGuard;
}

/** The known roles among these names, or `invalid-request`; `roles-conflict`, naming the pair. */
export function requireRoles(names: readonly string[]): RoleName[] {
  const unknown = names.find((name) => !isRoleName(name));
  if (unknown !== undefined) {
    throw new KeyreeveError('invalid-request', `There is no role "${unknown}".`, {
      hint: `Roles: ${roleNames.join(', ')}`,
    });
  }
  const pair = conflictingRoles(names);
  if (pair !== undefined) {
    const [first, second] = pair;
    throw new KeyreeveError(
      'roles-conflict',
      `Nobody may be ${roles[first].title} (${first}) and ${roles[second].title} (${second}) at once.`,
      {
        hint: 'Give the roles to two principals.',
        data: { role: first, conflictsWith: second },
      },
    );
  }
  return names.filter(isRoleName);
}

/** People, services and devices that may call. */
export class Principals {
  readonly #options: PrincipalsOptions;

  constructor(options: PrincipalsOptions) {
    this.#options = options;
  }

  /**
   * A principal by id or name, `me` being the caller. Who may not do this to any principal learns
   * nothing of who there is. Errors: `forbidden`, `not-found`.
   */
  async find(caller: Caller, action: Action, reference: string): Promise<PrincipalRow> {
    const row = await this.#options.store.principal(
      reference === 'me' ? caller.principalId : reference,
    );
    if (row !== undefined) return row;
    this.#options.authorise(caller, action, { type: 'system' });
    throw principalNotFound(reference);
  }

  readonly list = async (call: Call<'principal.list'>) => {
    const { store, authorise } = this.#options;
    authorise(call.caller, 'principal.show', { type: 'system' });
    const { limit, after } = call.query;
    const rows = await store.principals({ limit: limit + 1, after });
    const page = rows.slice(0, limit);
    return {
      items: page.map(viewPrincipal),
      next: rows.length > limit ? page.at(-1)!.name : null,
    };
  };

  readonly show = async (call: Call<'principal.show'>) => {
    const row = await this.find(call.caller, 'principal.show', call.params.principal);
    this.#options.authorise(call.caller, 'principal.show', { type: 'principal', id: row.id });
    return viewPrincipal(row);
  };

  handlers(commands: Commands): Handlers<PrincipalRouteId> {
    return {
      'principal.list': this.list,
      'principal.show': this.show,
      'principal.create': (call) => this.#create(commands, call),
      'principal.update': (call) => this.#update(commands, call),
    };
  }

  #create(commands: Commands, call: Call<'principal.create'>) {
    const { store, clock } = this.#options;
    const { name, kind } = call.body;
    return commands.run(call.caller, {
      action: 'principal.create',
      resource: { type: 'system' },
      about: { resource: name },
      input: call.body,
      idempotencyKey: call.idempotencyKey,
      raisesEpoch: false,
      act: async () => {
        if (reservedNames.includes(name) || isId(name)) {
          throw new KeyreeveError('invalid-name', `"${name}" cannot be a name.`, {
            hint: 'Choose another one.',
          });
        }
        const row: PrincipalRow = {
          id: newId('prn'),
          name,
          kind,
          state: 'active',
          roles_json: writeRoles(requireRoles(call.body.roles)),
          created_at: clock.now(),
          created_by: call.caller.principalId,
          revision: 1,
        };
        return {
          result: viewPrincipal(row),
          steps: [store.insertPrincipal(row)],
          about: { resource: row.id, detail: describe(row) },
        };
      },
    });
  }

  async #update(commands: Commands, call: Call<'principal.update'>) {
    const { store } = this.#options;
    const row = await this.find(call.caller, 'principal.update', call.params.principal);
    return commands.run(call.caller, {
      action: 'principal.update',
      resource: { type: 'principal', id: row.id },
      about: { resource: row.id },
      input: { principal: row.id, ...call.body },
      idempotencyKey: call.idempotencyKey,
      act: async () => {
        const next: PrincipalRow = {
          ...row,
          state: call.body.state ?? row.state,
          roles_json:
            call.body.roles === undefined
              ? row.roles_json
              : writeRoles(requireRoles(call.body.roles)),
          revision: row.revision + 1,
        };
        if (mayLoseRights(row, next)) await this.#options.guard.requireApplierBesides(row, next);
        const guard = losesAdministration(row, next) ? [store.anotherAdministrator(row.id)] : [];
        return {
          result: viewPrincipal(next),
          steps: [...guard, store.updatePrincipal(row, next)],
          about: { detail: describe(next) },
        };
      },
    });
  }
}

type PrincipalRouteId =
  | 'principal.list'
  | 'principal.show'
  | 'principal.create'
  | 'principal.update';

/** Nothing that lets a disabled principal in is made. */
export function requireActive(row: PrincipalRow): void {
  if (row.state === 'active') return;
  throw new KeyreeveError('conflict', `"${row.name}" is disabled.`, {
    hint: 'Enable the principal first.',
  });
}

export function principalNotFound(reference: string): KeyreeveError {
  return new KeyreeveError('not-found', `There is no principal "${reference}".`, {
    hint: 'List them: keyreeve principal list',
  });
}

function describe(row: PrincipalRow): string {
  const { name, kind, state } = row;
  return canonicalJson({ name, kind, state, roles: readRoles(row.roles_json) });
}

function isAdministrator(row: PrincipalRow): boolean {
  return row.state === 'active' && readRoles(row.roles_json).includes('administrator');
}

function losesAdministration(before: PrincipalRow, after: PrincipalRow): boolean {
  return isAdministrator(before) && !isAdministrator(after);
}

function mayLoseRights(before: PrincipalRow, after: PrincipalRow): boolean {
  return (
    before.state === 'active' &&
    (after.state !== 'active' || before.roles_json !== after.roles_json)
  );
}
