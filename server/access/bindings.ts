import type { z } from 'zod';
import { systemFolder } from '../../api/roles.ts';
import type { bindingView } from '../../api/routes/certificates.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import { isId, newId } from '../base/ids.ts';
import type { Commands } from '../commands/commands.ts';
import type { AccessStore, PrincipalRow } from './access-store.ts';
import { isWithin } from './authorise.ts';
import type { AuthorityFacts, BindingStore, NamedBinding } from './binding-store.ts';
import { bindingValue } from './binding-values.ts';
import { type Principals, requireActive } from './principals.ts';
import { readRoles, requireRolesWithin } from './scope.ts';

/** Bindings that one principal can have. */
export const bindingsMax = 1000;

export type BindingView = z.output<typeof bindingView>;

export interface BindingsOptions {
  readonly store: AccessStore;
  readonly bindings: BindingStore;
  readonly principals: Principals;
  readonly authorise: Authorise;
  readonly clock: Clock;
}

/** Which client certificates log in, and as whom: made, listed, ended. */
export class Bindings {
  readonly #options: BindingsOptions;

  constructor(options: BindingsOptions) {
    this.#options = options;
  }

  handlers(
    commands: Commands,
  ): Handlers<'principal.bind' | 'principal.bindings' | 'principal.unbind'> {
    return {
      'principal.bind': (call) => this.#bind(commands, call),
      'principal.bindings': (call) => this.#list(call),
      'principal.unbind': (call) => this.#unbind(commands, call),
    };
  }

  async #bind(commands: Commands, call: Call<'principal.bind'>): Promise<BindingView> {
    const { store, bindings, principals, authorise, clock } = this.#options;
    const { caller, body } = call;
    const { principal, authority } = await commands.prepare(caller, 'principal.bind', async () => {
      const found = await principals.find(caller, 'principal.bind', call.params.principal);
      authorise(caller, 'principal.bind', { type: 'principal', id: found.id });
      return { principal: found, authority: await this.#authority(caller, body.ca) };
    });
    return commands.run(caller, {
      action: 'principal.bind',
      resource: { type: 'principal', id: principal.id },
      about: { resource: principal.id, keyId: authority.id, keyName: authority.name },
      input: { principal: principal.id, ca: authority.id, kind: body.kind, value: body.value },
      idempotencyKey: call.idempotencyKey,
      act: async () => {
        requireActive(principal);
        this.#requireNoMoreRights(caller, principal);
        requireForClients(authority);
        const value = bindingValue(body.kind, body.value);
        await this.#requireRoom(principal);
        const row: NamedBinding = {
          id: newId('bnd'),
          principal_id: principal.id,
          ca_id: authority.id,
          kind: body.kind,
          value,
          created_at: clock.now(),
          created_by: caller.principalId,
          principal_name: principal.name,
          ca_name: authority.name,
        };
        const { principal_name: _, ca_name: __, ...inserted } = row;
        return {
          result: viewBinding(row),
          steps: [
            store.principalUnchanged(principal.id, principal.revision),
            bindings.insert(inserted),
          ],
          about: { detail: describe(row) },
        };
      },
    });
  }

  readonly #list = async (call: Call<'principal.bindings'>) => {
    const { bindings, principals, authorise } = this.#options;
    const row = await principals.find(call.caller, 'principal.show', call.params.principal);
    authorise(call.caller, 'principal.show', { type: 'principal', id: row.id });
    return { items: (await bindings.ofPrincipal(row.id)).map(viewBinding) };
  };

  async #unbind(commands: Commands, call: Call<'principal.unbind'>): Promise<BindingView> {
    const { bindings, authorise } = this.#options;
    const { caller } = call;
    const id = call.params.binding;
    const row = await commands.prepare(caller, 'principal.bind', async () => {
      const found = isId(id, 'bnd') ? await bindings.byId(id) : undefined;
      if (found !== undefined) return found;
      authorise(caller, 'principal.bind', { type: 'system' });
      throw new KeyreeveError('not-found', 'There is no such binding.', {
        hint: 'List them: keyreeve principal bindings NAME',
      });
    });
    return commands.run(caller, {
      action: 'principal.bind',
      resource: { type: 'principal', id: row.principal_id },
      about: { resource: row.principal_id, keyId: row.ca_id, keyName: row.ca_name },
      input: { unbind: row.id },
      idempotencyKey: call.idempotencyKey,
      act: async () => ({
        result: viewBinding(row),
        steps: [bindings.remove(row)],
        about: { detail: describe(row, 'ended') },
      }),
    });
  }

  /** Whoever may not see a CA learns nothing of which there are. */
  async #authority(caller: Caller, reference: string): Promise<AuthorityFacts> {
    const { bindings, authorise } = this.#options;
    const found = await bindings.authority(reference);
    if (found !== undefined) {
      authorise(caller, 'ca.show', found);
      return found;
    }
    const folder = isId(reference)
      ? ''
      : reference.slice(0, Math.max(0, reference.lastIndexOf('/')));
    authorise(caller, 'ca.show', { type: 'folder', folder });
    throw new KeyreeveError('not-found', `There is no CA "${reference}".`, {
      hint: 'List them: keyreeve ca list',
    });
  }

  /**
   * A binding lets others in with the rights of the principal, perhaps the one who makes it. Who
   * lacks those rights may do that only where it may also let the principal in by a login code.
   */
  #requireNoMoreRights(caller: Caller, principal: PrincipalRow): void {
    try {
      this.#options.authorise(caller, 'principal.enrol', { type: 'principal', id: principal.id });
      return;
    } catch (error) {
      if (!isKeyreeveError(error, 'forbidden')) throw error;
    }
    requireRolesWithin(
      readRoles(principal.roles_json),
      caller.roles,
      (missing) =>
        `A binding never gives more rights than its maker has: you do not have ${missing}.`,
      'Ask somebody who may enrol the principal.',
    );
  }

  async #requireRoom(principal: PrincipalRow): Promise<void> {
    const found = await this.#options.bindings.ofPrincipal(principal.id);
    if (found.length < bindingsMax) return;
    throw new KeyreeveError(
      'conflict',
      `"${principal.name}" has ${bindingsMax} bindings already.`,
      {
        hint: 'End those that nobody uses: keyreeve principal unbind ID',
      },
    );
  }
}

/** What the CA of the service itself certifies is the service. */
function requireForClients(authority: AuthorityFacts): void {
  if (!isWithin(authority.folder, systemFolder)) return;
  throw new KeyreeveError('forbidden', `"${authority.name}" certifies the service itself alone.`, {
    hint: 'Make a CA for clients: keyreeve ca create NAME',
  });
}

function viewBinding(row: NamedBinding): BindingView {
  return {
    id: row.id,
    principal: row.principal_name,
    ca: row.ca_name,
    kind: row.kind as BindingView['kind'],
    value: row.value,
    createdAt: formatTime(row.created_at),
  };
}

function describe(row: NamedBinding, how: 'made' | 'ended' = 'made'): string {
  return canonicalJson({ binding: row.id, [how]: { kind: row.kind, value: row.value } });
}
