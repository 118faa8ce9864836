import type { Logger } from 'pino';
import type { AssuranceLevel } from '../../api/assurance.ts';
import { isHardware } from '../../api/storage-classes.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';
import {
  createPkcs11Keystore,
  KeystoreGroup,
  type Keystores,
  type MemberRole,
  type MemberSwitch,
  memberRoles,
  type Pkcs11Keystore,
  readSettings,
} from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import {
  type GroupRecord,
  type KeystoreRecord,
  readKeystores,
  refusedPinOf,
  type TokenRecord,
} from './keystore-rows.ts';
import { type ModulePlaces, requireModuleOf } from './module-rules.ts';

export interface RegistryOptions {
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly log: Logger;
  readonly places: ModulePlaces;
  readonly onSwitch: (group: string, event: MemberSwitch) => void;
  /** Told of one that another node has removed. */
  readonly onDropped: (name: string) => void;
}

/** A keystore that was added by command, and is in use. */
export type LiveKeystore =
  | { readonly record: TokenRecord; readonly keystore: Pkcs11Keystore }
  | { readonly record: GroupRecord; readonly keystore: KeystoreGroup };

/** PIN files that were refused while a keystore was added: each add would try its PIN once more. */
const refusedPinsMax = 1000;

/**
 * The keystores that were added by command: opened at start, whether they answer or not, and taken
 * into use and out of it while the service runs.
 */
export class KeystoreRegistry {
  readonly #options: RegistryOptions;
  readonly #live = new Map<string, LiveKeystore>();
  readonly #refusedPins = new LruMap<string, string>(refusedPinsMax);
  /** Those that a command of this node is adding or removing: it takes and drops them itself. */
  readonly #own = new Set<string>();
  /** Those that cannot be opened here, as they were added: said once. */
  readonly #unopened = new Map<string, number>();
  #syncing: Promise<void> | undefined;
  #isStale = true;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /**
   * Opens what is stored and is not open, and lets go of what is not stored any more: at the start,
   * and when another node may have added or removed one. None of it is waited for: modules are
   * loaded by the first use.
   */
  async sync(): Promise<void> {
    this.#isStale = true;
    while (this.#isStale) {
      this.#syncing ??= this.#sync().finally(() => {
        this.#syncing = undefined;
      });
      await this.#syncing;
    }
  }

  /** As `sync`, where the last one failed. */
  async syncAgain(): Promise<void> {
    if (this.#isStale) await this.sync();
  }

  async #sync(): Promise<void> {
    this.#isStale = false;
    const records = await readKeystores(this.#options.storage).catch((error: unknown) => {
      this.#isStale = true;
      throw error;
    });
    const stored = new Map(records.map((record) => [record.name, record]));
    // Groups first: they are made of the others.
    const groupsFirst = [...this.all()].sort((one) => (one.record.kind === 'group' ? -1 : 1));
    for (const { record } of groupsFirst) {
      if (this.#own.has(record.name) || isSame(record, stored.get(record.name))) continue;
      // A module may take its time to end.
      void this.drop(record.name);
      this.#options.onDropped(record.name);
    }
    for (const record of records) {
      if (this.#own.has(record.name)) continue;
      if (this.#live.has(record.name)) this.note(record.name, { lastDrill: record.lastDrill });
      else this.#openStored(record);
    }
  }

  #openStored(record: KeystoreRecord): void {
    const { name, createdAt } = record;
    try {
      this.take(record.kind === 'pkcs11' ? this.token(record) : this.group(record));
      this.#unopened.delete(name);
    } catch (error) {
      // Its keys say that their keystore is not configured; everything else works.
      if (this.#unopened.get(name) === createdAt) return;
      this.#unopened.set(name, createdAt);
      this.#options.log.error({ keystore: name, err: error }, 'keystore cannot be opened');
    }
  }

  /** Keeps a keystore to a command of this node, which adds or removes it. */
  async owning<Result>(name: string, work: () => Promise<Result>): Promise<Result> {
    this.#own.add(name);
    try {
      return await work();
    } finally {
      this.#own.delete(name);
    }
  }

  all(): readonly LiveKeystore[] {
    return [...this.#live.values()];
  }

  find(name: string): LiveKeystore | undefined {
    return this.#live.get(name);
  }

  /** The groups that a keystore is a member of. */
  groupsOf(name: string): readonly string[] {
    return this.all()
      .filter(({ record }) => record.kind === 'group' && isMember(record, name))
      .map(({ record }) => record.name);
  }

  /** How many groups there are. */
  get groups(): number {
    return this.all().filter(({ record }) => record.kind === 'group').length;
  }

  /** Takes a keystore into use. */
  take(live: LiveKeystore): void {
    this.#live.set(live.record.name, live);
    this.#options.keystores.add(live.keystore);
  }

  /** Notes what was written of a keystore. */
  note(name: string, change: Partial<KeystoreRecord>): void {
    const live = this.#live.get(name);
    if (live === undefined) return;
    this.#live.set(name, { ...live, record: { ...live.record, ...change } } as LiveKeystore);
  }

  /** Takes a keystore out of use and ends its module. */
  async drop(name: string): Promise<void> {
    const live = this.#live.get(name);
    this.#live.delete(name);
    this.#options.keystores.remove(name);
    await live?.keystore.stop();
  }

  async stop(): Promise<void> {
    const all = this.all();
    for (const { keystore } of all) if (keystore instanceof KeystoreGroup) keystore.stop();
    await Promise.all(
      all.map(({ keystore }) => (keystore instanceof KeystoreGroup ? undefined : keystore.stop())),
    );
  }

  /**
   * A keystore that is not in use yet, tried: the module is loaded and the token asked. Errors:
   * `invalid-request`, `wrong-passphrase`, `keystore-unavailable`, `capability-missing`.
   */
  async tried(
    record: TokenRecord,
  ): Promise<LiveKeystore & { readonly keystore: Pkcs11Keystore; readonly record: TokenRecord }> {
    const settings = asRequest(() => readSettings(record.uri));
    await requireModuleOf(record.uri, this.#options.places, record.environment);
    const token = JSON.stringify([settings.modulePath, settings.token, settings.pinFile]);
    const live = this.token({ ...record, refusedPin: this.#refusedPins.get(token) });
    try {
      requireLevel(record.assurance, await live.keystore.describe());
      return live;
    } catch (error) {
      const { refusedPin } = live.keystore;
      if (refusedPin !== undefined) this.#refusedPins.set(token, refusedPin);
      await live.keystore.stop();
      throw asInvalid(error);
    }
  }

  /** A token that may be there or not. Error: `config-invalid`. */
  token(record: TokenRecord): {
    readonly record: TokenRecord;
    readonly keystore: Pkcs11Keystore;
  } {
    const { log, clock, places, storage } = this.#options;
    const { name, uri, environment, assurance, refusedPin } = record;
    const keystore = createPkcs11Keystore({
      ...{ name, uri, environment, assurance, refusedPin, log, clock },
      recallRefusedPin: () => refusedPinOf(storage, name),
      beforeStart: async () => {
        try {
          return await requireModuleOf(uri, places, environment);
        } catch (error) {
          throw asUnavailable(error);
        }
      },
    });
    return { record, keystore };
  }

  /** Errors: `invalid-request`, where a member is no token. */
  group(record: GroupRecord): { readonly record: GroupRecord; readonly keystore: KeystoreGroup } {
    const { clock, onSwitch } = this.#options;
    const { name, deadlineSeconds } = record;
    const members = Object.fromEntries(
      memberRoles.map((role) => [role, this.#member(record[role])]),
    ) as Record<MemberRole, Pkcs11Keystore>;
    const keystore = new KeystoreGroup({
      ...{ name, members, deadlineSeconds, clock },
      onSwitch: (event) => onSwitch(name, event),
    });
    return { record, keystore };
  }

  #member(name: string): Pkcs11Keystore {
    const live = this.#live.get(name);
    if (live !== undefined && !(live.keystore instanceof KeystoreGroup)) return live.keystore;
    const built = this.#options.keystores.all().find((one) => one.name === name);
    const why =
      live !== undefined
        ? 'is a group itself'
        : built !== undefined && !isHardware(built.kind)
          ? 'is not in hardware'
          : 'does not exist';
    throw new KeyreeveError('invalid-request', `"${name}" cannot be in a group: it ${why}.`, {
      hint: 'Group two keystores that were added with: keyreeve keystore add',
    });
  }
}

/** Whether the keystore of that name is still the one that was opened. */
function isSame(open: KeystoreRecord, stored: KeystoreRecord | undefined): boolean {
  return stored !== undefined && stored.kind === open.kind && stored.createdAt === open.createdAt;
}

function isMember(record: GroupRecord, name: string): boolean {
  return memberRoles.some((role) => record[role] === name);
}

/** A token that says itself that it is software has no level that anybody could declare. */
function requireLevel(
  declared: AssuranceLevel | undefined,
  described: { readonly assuranceFrom: string },
): void {
  if (declared === undefined || declared === 'none') return;
  if (described.assuranceFrom === 'operator') return;
  throw new KeyreeveError('invalid-request', 'The token says itself that it is software.', {
    hint: 'Leave --assurance out: it has none.',
  });
}

function asRequest<Result>(work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw asInvalid(error);
  }
}

/** What is wrong in the settings of a keystore is, while it is added, wrong in the request. */
function asInvalid(error: unknown): unknown {
  const isConfiguration =
    isKeyreeveError(error, 'config-invalid') || isKeyreeveError(error, 'lax-mode');
  if (!isConfiguration) return error;
  const { message, hint } = error;
  return new KeyreeveError('invalid-request', message, {
    ...(hint === undefined ? {} : { hint }),
    cause: error,
  });
}

/** What is wrong later is nothing that a caller did. */
function asUnavailable(error: unknown): unknown {
  if (!isKeyreeveError(error, 'invalid-request')) return error;
  const { message, hint } = error;
  return new KeyreeveError('keystore-unavailable', message, {
    ...(hint === undefined ? {} : { hint }),
    ...{ retryAfterSeconds: 1, cause: error },
  });
}
