import { assuranceLevels } from '../../api/assurance.ts';
import type {
  KeystoreDrill,
  KeystoreShowView,
  keystoreRoutes,
} from '../../api/routes/keystores.ts';
import type { Authorise } from '../base/caller.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import { type Commands, serviceEntry } from '../commands/commands.ts';
import { healthWithin, type Keystore, type Keystores } from '../keystores/keystores.ts';
import { type Storage, underLease } from '../storage/storage.ts';
import type { Rights } from './access-list.ts';
import { drill, removeDrillKey } from './drill.ts';
import {
  deleteKeystore,
  type GroupRecord,
  insertKeystore,
  keystoreStands,
  sameGroups,
  type TokenRecord,
  updateKeystore,
} from './keystore-rows.ts';
import type { KeystoreRegistry, LiveKeystore } from './registry.ts';
import { createReviewHandlers } from './review-commands.ts';
import { listViews, showBuiltIn, showLive } from './views.ts';
import type { KeystoreWatch } from './watch.ts';

export interface KeystoreCommandsOptions {
  readonly registry: KeystoreRegistry;
  readonly watch: KeystoreWatch;
  readonly keystores: Keystores;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly authorise: Authorise;
  /** Who may do what: for reviews of it. */
  readonly rights: Rights;
}

const system = { type: 'system' } as const;
const healthMilliseconds = 2000;
/** Names that stand for a kind, now or later, wherever a keystore is named. */
const reservedNames = ['wrapped', 'file', 'pkcs11', 'group', 'aws-kms', 'azure-key-vault'];

/** The routes of keystores. */
export function createKeystoreHandlers(
  options: KeystoreCommandsOptions,
  commands: Commands,
): Handlers<keyof typeof keystoreRoutes> {
  const handlers = new KeystoreHandlers(options, commands);
  const { authorise, storage } = options;
  return {
    'keystore.add': (call) => handlers.add(call),
    'keystore.group': (call) => handlers.group(call),
    'keystore.list': async ({ caller }) => {
      authorise(caller, 'keystore.show', system);
      await options.registry.sync();
      const live = options.registry.all();
      const builtIn = handlers.builtIn();
      const now = options.clock.now();
      const items = await listViews(storage, builtIn, live, now, (keystore) =>
        handlers.health(keystore),
      );
      return { items };
    },
    'keystore.show': async ({ caller, params }) => {
      authorise(caller, 'keystore.show', system);
      await options.registry.sync();
      return handlers.show(params.keystore);
    },
    'keystore.test': (call) => handlers.test(call),
    'keystore.drill': (call) => handlers.drill(call),
    'keystore.remove': (call) => handlers.remove(call),
    ...createReviewHandlers(
      {
        ...options,
        requireAdded: (name) => handlers.requireAdded(name),
        show: (name) => handlers.show(name),
      },
      commands,
    ),
  };
}

/** What the token says of itself; undefined where it does not. */
function tokenIdOf(device: KeystoreShowView['device']): string | undefined {
  if (device === null) return undefined;
  const { manufacturer, model, serial, label } = device;
  return JSON.stringify([manufacturer, model, serial, label]);
}

/** Two nodes would make the test key twice, under one id. */
function drillUnderWay(name: string): KeyreeveError {
  return new KeyreeveError('conflict', `"${name}" is being drilled.`, {
    hint: 'Try again when that is done.',
  });
}

class KeystoreHandlers {
  readonly #options: KeystoreCommandsOptions;
  readonly #commands: Commands;

  constructor(options: KeystoreCommandsOptions, commands: Commands) {
    this.#options = options;
    this.#commands = commands;
  }

  /** The keystores of the configuration. */
  builtIn(): readonly Keystore[] {
    const { keystores, registry } = this.#options;
    return keystores.all().filter(({ name }) => registry.find(name) === undefined);
  }

  async health(keystore: Keystore) {
    const known = this.#options.watch.health(keystore.name);
    return known ?? healthWithin(keystore, healthMilliseconds);
  }

  async show(name: string) {
    const { storage, clock } = this.#options;
    const found = this.#find(name);
    return 'record' in found ? showLive(storage, found, clock.now()) : showBuiltIn(storage, found);
  }

  async requireAdded(name: string): Promise<void> {
    await this.#options.registry.sync();
    this.#live(name);
  }

  add(call: Call<'keystore.add'>) {
    return this.#options.registry.owning(call.body.name, () => this.#add(call));
  }

  async #add({ caller, body, idempotencyKey }: Call<'keystore.add'>) {
    const { registry, storage, clock } = this.#options;
    let live: LiveKeystore | undefined;
    const answer = await this.#commands.run(caller, {
      ...{ action: 'keystore.add', resource: system, about: { resource: body.name } },
      ...{ input: body, idempotencyKey },
      act: async () => {
        this.#requireFree(body.name);
        const record: TokenRecord = {
          ...{ kind: 'pkcs11', name: body.name, uri: body.uri },
          ...{ assurance: body.assurance, environment: body.environment },
          reviewEveryDays: body.reviewEveryDays,
          ...{ isAvailable: true, refusedPin: undefined, lastDrill: null },
          ...{ createdAt: clock.now(), createdBy: caller.principalId, revision: 1 },
        };
        live = await registry.tried(record);
        const result = await showLive(storage, live, clock.now());
        const detail = {
          ...{ kind: 'pkcs11', uri: body.uri, environment: body.environment },
          ...{ assurance: result.assurance, assuranceFrom: result.assuranceFrom },
          ...{ device: result.device, reviewEveryDays: body.reviewEveryDays ?? null },
        };
        return {
          result,
          steps: [insertKeystore(storage, { ...record, tokenId: tokenIdOf(result.device) })],
          about: { resource: body.name, detail: canonicalJson(detail) },
        };
      },
      undo: async () => live?.keystore.stop(),
    });
    if (live !== undefined) registry.take(live);
    return answer;
  }

  group(call: Call<'keystore.group'>) {
    return this.#options.registry.owning(call.body.name, () => this.#group(call));
  }

  async #group({ caller, body, idempotencyKey }: Call<'keystore.group'>) {
    const { registry, storage, clock } = this.#options;
    let live: LiveKeystore | undefined;
    const answer = await this.#commands.run(caller, {
      ...{ action: 'keystore.add', resource: system, about: { resource: body.name } },
      ...{ input: { ...body }, idempotencyKey },
      act: async () => {
        this.#requireFree(body.name);
        const { primary, secondary, deadlineSeconds } = body;
        if (primary === secondary) {
          throw new KeyreeveError('invalid-request', 'A group is made of two keystores.', {
            hint: 'Name another one as the secondary.',
          });
        }
        const record: GroupRecord = {
          ...{ kind: 'group', name: body.name, primary, secondary, deadlineSeconds },
          ...{ isAvailable: true, lastDrill: null, reviewEveryDays: body.reviewEveryDays },
          ...{ createdAt: clock.now(), createdBy: caller.principalId, revision: 1 },
        };
        await registry.sync();
        live = registry.group(record);
        const result = await showLive(storage, live, clock.now());
        return {
          result,
          steps: [
            ...[primary, secondary].map((name) => keystoreStands(storage, name)),
            insertKeystore(storage, record),
          ],
          about: {
            resource: body.name,
            detail: canonicalJson({
              ...{ kind: 'group', primary, secondary, deadlineSeconds },
              reviewEveryDays: body.reviewEveryDays ?? null,
            }),
          },
        };
      },
      undo: async () => live?.keystore.stop(),
    });
    if (live !== undefined) registry.take(live);
    return answer;
  }

  test({ caller, params, idempotencyKey }: Call<'keystore.test'>) {
    return this.#commands.run(caller, {
      ...{ action: 'keystore.test', resource: system, about: { resource: params.keystore } },
      ...{ input: { test: params.keystore }, idempotencyKey, raisesEpoch: false },
      act: async () => {
        const result = await this.show(params.keystore);
        const { ready, reason, assurance } = result;
        const level = assurance === null ? null : assuranceLevels[assurance].title;
        const detail = canonicalJson({ test: true, ready, reason, level });
        return { result, steps: [], about: { resource: params.keystore, detail } };
      },
    });
  }

  async drill({ caller, params, idempotencyKey }: Call<'keystore.drill'>) {
    const { registry, storage, clock } = this.#options;
    const name = params.keystore;
    const result = await this.#commands.run<KeystoreDrill>(caller, {
      ...{ action: 'keystore.test', resource: system, about: { resource: name } },
      ...{ input: { drill: name }, idempotencyKey, raisesEpoch: false },
      act: async () => {
        const drilled = await underLease(
          { storage, clock, name: `drill:${name}`, busy: () => drillUnderWay(name) },
          () => drill(this.#live(name), clock),
        );
        const detail = canonicalJson({ drill: drilled as Json });
        const outcome = drilled.ok ? 'ok' : 'keystore-unavailable';
        return {
          result: drilled,
          steps: [updateKeystore(storage, name, { lastDrill: drilled })],
          about: { resource: name, detail },
          entries: [serviceEntry(clock, 'keystore.drill', outcome, { resource: name, detail })],
        };
      },
    });
    registry.note(name, { lastDrill: result });
    return result;
  }

  remove(call: Call<'keystore.remove'>) {
    return this.#options.registry.owning(call.params.keystore, () => this.#remove(call));
  }

  async #remove({ caller, params, idempotencyKey }: Call<'keystore.remove'>) {
    const { registry, storage, watch } = this.#options;
    const name = params.keystore;
    let removed: LiveKeystore | undefined;
    const answer = await this.#commands.run(caller, {
      ...{ action: 'keystore.remove', resource: system, about: { resource: name } },
      ...{ input: { remove: name }, idempotencyKey },
      act: async () => {
        removed = this.#live(name);
        await registry.sync();
        const groups = registry.groupsOf(name);
        if (groups.length > 0) {
          throw new KeyreeveError('conflict', `"${name}" is in the group "${groups[0]}".`, {
            hint: `Remove the group first: keyreeve keystore remove ${groups[0]}`,
          });
        }
        return {
          result: { removed: name },
          steps: [
            sameGroups(storage, registry.groups),
            deleteKeystore(storage, name, removed.record.revision),
          ],
        };
      },
    });
    if (removed !== undefined) {
      // A token that is away keeps it: a key that nobody uses.
      if (removed.record.isAvailable) await removeDrillKey(removed).catch(() => undefined);
      await registry.drop(name);
      watch.forget(name);
    }
    return answer;
  }

  #find(name: string): LiveKeystore | Keystore {
    const live = this.#options.registry.find(name);
    const found = live ?? this.builtIn().find((keystore) => keystore.name === name);
    if (found !== undefined) return found;
    throw new KeyreeveError('not-found', `There is no keystore "${name}".`, {
      hint: 'List them: keyreeve keystore list',
    });
  }

  #live(name: string): LiveKeystore {
    const found = this.#find(name);
    if ('record' in found) return found;
    throw new KeyreeveError('invalid-request', `"${name}" belongs to the configuration.`, {
      hint: 'This is for keystores that were added with: keyreeve keystore add',
    });
  }

  #requireFree(name: string): void {
    const { keystores } = this.#options;
    const isTaken = keystores.all().some((keystore) => keystore.name === name);
    if (!isTaken && !reservedNames.includes(name)) return;
    throw new KeyreeveError('already-exists', `There is a keystore "${name}" already.`, {
      hint: 'Choose another name.',
    });
  }
}
