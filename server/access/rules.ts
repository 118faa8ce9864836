import { createHash } from 'node:crypto';
import type { Storage } from '../storage/storage.ts';
import { defaultRules } from './default-rules.ts';
import { RuleEngine } from './rule-engine.ts';

/** Access rules as they are stored; version 0 are the default ones, which are not stored. */
export interface RuleSet {
  readonly version: number;
  readonly policies: string;
  /** SHA-256 of the text, hexadecimal. */
  readonly digest: string;
}

export const defaultRuleSet: RuleSet = {
  version: 0,
  policies: defaultRules,
  digest: digestOf(defaultRules),
};

export function digestOf(policies: string): string {
  return createHash('sha256').update(policies, 'utf8').digest('hex');
}

/** The rules in force, followed as the epoch rises, with the engine that decides by them. */
export class RulesInForce {
  readonly #storage: Storage;
  #engine: RuleEngine | undefined;
  #current: RuleSet | undefined;
  #epoch = -1;
  #loading: Promise<void> | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * Reads the rules again where the epoch has risen since. What rises while they are read is for who
   * comes then: under many changes nobody would ever be through.
   */
  async refresh(): Promise<void> {
    const { epoch } = this.#storage;
    while (this.#epoch < epoch || this.#current === undefined) {
      this.#loading ??= this.#load().finally(() => {
        this.#loading = undefined;
      });
      await this.#loading;
    }
  }

  /** The rules in force. Error: a fault of the wiring where `refresh` was never awaited. */
  get current(): RuleSet {
    if (this.#current === undefined) throw new Error('the access rules are not loaded yet');
    return this.#current;
  }

  get engine(): RuleEngine {
    if (this.#engine === undefined) throw new Error('the access rules are not loaded yet');
    return this.#engine;
  }

  async #load(): Promise<void> {
    // The epoch before the read: what changes meanwhile is read again.
    const { epoch } = this.#storage;
    this.#engine ??= await RuleEngine.load();
    const version = await this.#newestVersion();
    if (version !== this.#current?.version) {
      const found = await this.#read(version);
      this.#engine.use(found.policies);
      this.#current = found;
    }
    this.#epoch = epoch;
  }

  async #newestVersion(): Promise<number> {
    const row = await this.#storage.db
      .selectFrom('access_rules')
      .select('version')
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row?.version ?? defaultRuleSet.version;
  }

  /** A version never changes once it is written. */
  async #read(version: number): Promise<RuleSet> {
    if (version === defaultRuleSet.version) return defaultRuleSet;
    return this.#storage.db
      .selectFrom('access_rules')
      .select(['version', 'policies', 'digest'])
      .where('version', '=', version)
      .executeTakeFirstOrThrow();
  }
}
