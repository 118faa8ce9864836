import type { Action } from '../../api/actions.ts';
import type { SchemeName } from '../../api/algorithms.ts';
import { type ErrorCode, errorCodes } from '../../api/error-codes.ts';
import type { useRoutes } from '../../api/routes/use.ts';
import type { Caller, Resource } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import type { Handlers } from '../base/handler.ts';
import { type About, callerEntry } from '../commands/commands.ts';
import { random } from '../crypto/crypto.ts';
import { CountedUses } from './counted-uses.ts';
import { digestInputs } from './input-digest.ts';
import { type KeyRecord, resourceOf, type VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { schemeFor, versionsFor } from './key-rules.ts';
import { type Made, type UseContext, type UseKind, uses } from './use-kinds.ts';

export interface UseOptions {
  readonly keys: Keys;
  readonly clock: Clock;
  /** Throws unless the caller's credential still stands and his rights still allow it. */
  readonly recheck: (caller: Caller, action: Action, resource: Resource) => Promise<void>;
  /** Throws `clock-unsafe` while time cannot be trusted: an entry of the future would bar starts. */
  readonly requireClock: () => void;
  /** Told of each call: `ok` or the code of its refusal, and how many items it was about. */
  readonly onUse?: (action: Action, outcome: string, items: number) => void;
}

const system = { type: 'system' } as const;

const keystoreFaults: readonly ErrorCode[] = ['keystore-unavailable', 'integrity-failed'];

interface Shared {
  readonly scheme?: string | undefined;
  readonly version?: number | undefined;
}

/** What an item came to, or why it could not be done. */
type Settled = Made | Error;

interface Done {
  readonly key: KeyRecord;
  readonly scheme: SchemeName;
  readonly results: readonly Settled[];
}

/**
 * Uses of keys. Each takes the same path: find the key in memory, authorise, ask the state table,
 * act, commit one entry for the call, and answer; if anything changed meanwhile, the rights and the
 * key are looked at again before the answer leaves.
 */
export function createUse(options: UseOptions): Handlers<keyof typeof useRoutes> {
  const use = new Use(options);
  // The route table and the table of uses have the same names: each use gives two routes.
  const handlers: Record<string, unknown> = { 'random.make': use.random.bind(use) };
  for (const kind of Object.values(uses) as UseKind[]) {
    handlers[kind.action] = (call: UseCall) => use.single(kind, call);
    handlers[`${kind.action}.batch`] = (call: UseCall) => use.batch(kind, call);
  }
  return handlers as unknown as Handlers<keyof typeof useRoutes>;
}

interface UseCall {
  readonly caller: Caller;
  readonly params: { readonly key: string };
  readonly body: Shared & Record<string, unknown>;
}

class Use {
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #recheck: UseOptions['recheck'];
  readonly #counted: CountedUses;
  readonly #requireClock: UseOptions['requireClock'];
  readonly #onUse: NonNullable<UseOptions['onUse']>;

  constructor(options: UseOptions) {
    this.#keys = options.keys;
    this.#clock = options.clock;
    this.#recheck = options.recheck;
    this.#requireClock = options.requireClock;
    this.#onUse = options.onUse ?? (() => undefined);
    this.#counted = new CountedUses(options.keys);
  }

  async single(kind: UseKind, call: UseCall): Promise<unknown> {
    const done = await this.#run(kind, call, [call.body]);
    return { keyId: done.key.id, ...done.results[0] };
  }

  async batch(kind: UseKind, call: UseCall): Promise<unknown> {
    const items = call.body.items as Record<string, unknown>[];
    const done = await this.#run(kind, call, items);
    return { keyId: done.key.id, results: done.results.map(answerOf) };
  }

  /**
   * A caller who leaves the version to the service is not to notice a rotation: what was made with a
   * version that was replaced meanwhile, perhaps by another node, is thrown away and made again.
   */
  async #run(
    kind: UseKind,
    call: UseCall,
    items: readonly Record<string, unknown>[],
  ): Promise<Done> {
    const mayRepeat = call.body.version === undefined;
    const done = await this.#runOnce(kind, call, items, mayRepeat);
    return done ?? ((await this.#runOnce(kind, call, items, false)) as Done);
  }

  /** Undefined where the version was replaced meanwhile, and `mayRepeat` is given. */
  async #runOnce(
    kind: UseKind,
    call: UseCall,
    items: readonly Record<string, unknown>[],
    mayRepeat: boolean,
  ): Promise<Done | undefined> {
    const { caller } = call;
    const epoch = this.#keys.storage.epoch;
    let key: KeyRecord | undefined;
    let scheme: SchemeName | undefined;
    let results: readonly Settled[];
    try {
      this.#requireClock();
      key = await this.#keys.lookup(caller, call.params.key, kind.action);
      const versions = this.#allowed(caller, kind, key, call.body);
      scheme = schemeFor(key, call.body.scheme);
      results = await this.#act(kind, key, versions, scheme, items);
      // Where the call is its one item, so is the error.
      if (!('items' in call.body) && results[0] instanceof Error) throw results[0];
    } catch (error) {
      await this.#recordRefusal(caller, kind.action, key, items.length, error);
      throw error;
    }
    const about = this.#about(kind, key, scheme, items, results);
    const committed = await this.#keys.storage.commit({
      steps: [],
      entries: [callerEntry(this.#clock, caller, 'use', kind.action, 'ok', about)],
    });
    if (committed.epoch !== caller.epoch || committed.epoch !== epoch) {
      const isStill = await this.#lookAgain(caller, kind, key, results, mayRepeat);
      if (!isStill) return undefined;
    }
    caller.settle?.(committed);
    this.#onUse(kind.action, 'ok', items.length);
    return { key, scheme, results };
  }

  /** Authorised, and the versions that the state table allows. */
  #allowed(
    caller: Caller,
    kind: UseKind,
    key: KeyRecord,
    shared: Shared,
  ): readonly VersionRecord[] {
    this.#keys.authorise(caller, kind.action, resourceOf(key));
    return versionsFor(key, kind.operation, kind.manner, shared.version, this.#clock.now());
  }

  async #act(
    kind: UseKind,
    key: KeyRecord,
    versions: readonly VersionRecord[],
    scheme: SchemeName,
    items: readonly Record<string, unknown>[],
  ): Promise<readonly Settled[]> {
    const context: UseContext = {
      key,
      scheme,
      versions,
      open: (version) => this.#keys.open(version),
      publicKey: (version) => this.#keys.publicKey(version),
      protecting: () => versionsFor(key, 'encrypt', 'protect', undefined, this.#clock.now())[0]!,
      count: (version, amount) => this.#counted.take(version, scheme, amount),
    };
    return kind.run(context, items);
  }

  #about(
    kind: UseKind,
    key: KeyRecord,
    scheme: SchemeName,
    items: readonly Record<string, unknown>[],
    results: readonly Settled[],
  ): About {
    const made = results.filter((result): result is Made => !(result instanceof Error));
    const versions = usedVersions(results);
    const failed = results.length - made.length;
    return {
      keyId: key.id,
      keyName: key.name,
      ...(versions.size === 1 ? { keyVersion: String([...versions][0]) } : {}),
      count: String(items.length),
      ...digestInputs(items.flatMap((item) => kind.inputs(item))),
      detail: `{${failed > 0 ? `"failed":${failed},` : ''}"scheme":"${scheme}"${kind.detail(made)}}`,
    };
  }

  /**
   * What was answered under an older epoch is checked again; a right lost meanwhile counts. False
   * where the key may still be used, with another version, and `mayRepeat` is given.
   */
  async #lookAgain(
    caller: Caller,
    kind: UseKind,
    key: KeyRecord,
    results: readonly Settled[],
    mayRepeat: boolean,
  ): Promise<boolean> {
    try {
      const fresh = (await this.#keys.store.find(key.id)) ?? key;
      await this.#recheck(caller, kind.action, resourceOf(fresh));
      for (const version of usedVersions(results)) {
        versionsFor(fresh, kind.makes ?? kind.operation, 'protect', version, this.#clock.now());
      }
      return true;
    } catch (error) {
      if (mayRepeat && isKeyreeveError(error, 'state-not-allowed')) return false;
      await this.#recordRefusal(caller, kind.action, key, results.length, error);
      throw error;
    }
  }

  async #recordRefusal(
    caller: Caller,
    action: Action,
    key: KeyRecord | undefined,
    count: number,
    error: unknown,
  ): Promise<void> {
    const code = isKeyreeveError(error) ? error.code : 'internal';
    this.#onUse(action, code, count);
    if (errorCodes[code].status === 503 && code !== 'keystore-unavailable') return;
    await this.#keys.storage.commit({
      steps: [],
      entries: [
        callerEntry(this.#clock, caller, 'use', action, code, {
          ...(key === undefined ? {} : { keyId: key.id, keyName: key.name }),
          count: String(count),
          // A fault of the place, and not of the call: the record says which place.
          ...(key !== undefined && keystoreFaults.includes(code)
            ? { detail: canonicalJson({ keystore: key.keystore }) }
            : {}),
        }),
      ],
    });
  }

  /** Random octets: no key, one entry. */
  async random(call: {
    caller: Caller;
    body: { length: number; count: number };
  }): Promise<{ items: string[] }> {
    const { caller, body } = call;
    try {
      this.#requireClock();
      this.#keys.authorise(caller, 'random.make', system);
    } catch (error) {
      await this.#recordRefusal(caller, 'random.make', undefined, body.count, error);
      throw error;
    }
    const items = Array.from({ length: body.count }, () => random(body.length).toString('base64'));
    const committed = await this.#keys.storage.commit({
      steps: [],
      entries: [
        callerEntry(this.#clock, caller, 'use', 'random.make', 'ok', { count: String(body.count) }),
      ],
    });
    if (committed.epoch !== caller.epoch) await this.#recheck(caller, 'random.make', system);
    caller.settle?.(committed);
    this.#onUse('random.make', 'ok', body.count);
    return { items };
  }
}

/** The versions that results came from; 0 stands for none. */
function usedVersions(results: readonly Settled[]): ReadonlySet<number> {
  const made = results.filter((result): result is Made => !(result instanceof Error));
  return new Set(made.map((result) => result.version).filter((version) => version !== 0));
}

/** An item's answer: what was made, or the error as data. */
function answerOf(result: Settled): Record<string, unknown> {
  if (!(result instanceof Error)) return result;
  const code = isKeyreeveError(result) ? result.code : 'internal';
  return { error: { code, title: errorCodes[code].title, detail: result.message } };
}
