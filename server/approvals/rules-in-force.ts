import { createHash } from 'node:crypto';
import type { DualControl } from '../../api/fields.ts';
import type { ApprovalRule } from '../../api/routes/approvals.ts';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import { compiledOnce, type Step, type Storage } from '../storage/storage.ts';
import { readKeystoreFacts, withAlike } from './keystores-alike.ts';
import { demandOfPolicy, demandOfRule } from './matching.ts';
import type { Demand } from './requirement.ts';

/** A document of rules as it is stored; version 0 is none. */
export interface RuleDocument {
  readonly version: number;
  readonly digest: string;
  readonly rules: readonly ApprovalRule[];
  readonly appliedAt: number | null;
  readonly appliedBy: string | null;
  /** The same rules, where keystores that lead to the same keys are named together. */
  readonly matched: readonly ApprovalRule[];
}

export function writeRules(rules: readonly ApprovalRule[]): string {
  return canonicalJson(rules as unknown as Json);
}

export function digestOfRules(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

const noRules: RuleDocument = {
  version: 0,
  digest: digestOfRules('[]'),
  rules: [],
  appliedAt: null,
  appliedBy: null,
  matched: [],
};

/** The rules in force, read again where the epoch has risen since. */
export class RulesInForce {
  readonly #storage: Storage;
  #current: RuleDocument | undefined;
  #epoch = -1;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async current(): Promise<RuleDocument> {
    // The epoch before the read: what changes meanwhile is read again.
    const { epoch } = this.#storage;
    if (this.#current !== undefined && this.#epoch === epoch) return this.#current;
    const found = await this.#matched(await this.#read());
    this.#current = found;
    this.#epoch = epoch;
    return found;
  }

  /** Keystores come and go without the rules: they are looked at in each epoch. */
  async #matched(document: RuleDocument): Promise<RuleDocument> {
    const { rules } = document;
    if (rules.every(({ keystores }) => keystores === undefined)) {
      return { ...document, matched: rules };
    }
    const alike = await readKeystoreFacts(this.#storage);
    const matched = rules.map((rule) =>
      rule.keystores === undefined
        ? rule
        : { ...rule, keystores: withAlike(rule.keystores, alike) },
    );
    return { ...document, matched };
  }

  async #read(): Promise<RuleDocument> {
    const { db } = this.#storage;
    const newest = await db
      .selectFrom('approval_rules')
      .select('version')
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (newest === undefined) return noRules;
    // A version never changes once it is written.
    if (newest.version === this.#current?.version) return this.#current;
    const row = await db
      .selectFrom('approval_rules')
      .selectAll()
      .where('version', '=', newest.version)
      .executeTakeFirstOrThrow();
    return {
      version: row.version,
      digest: row.digest,
      rules: JSON.parse(row.rules_json) as ApprovalRule[],
      matched: [],
      appliedAt: row.applied_at,
      appliedBy: row.applied_by,
    };
  }

  /** Fails a write unless these rules are still the newest. */
  unchanged(version: number): Step {
    const { db } = this.#storage;
    return {
      // A part of every write of every command that could need approval.
      query: compiledOnce(this.#storage, 'approval rules unchanged', [version], () =>
        db.selectFrom('approval_rules').select('version').where('version', '>=', version).compile(),
      ),
      expect: {
        rows: version === 0 ? 0 : 1,
        code: 'conflict',
        message: 'The approval rules were changed meanwhile.',
        hint: 'Repeat the request.',
      },
    };
  }

  /** What the rules ask for, and the policies of all keys: for what touches approvers themselves. */
  async everyDemand(): Promise<readonly Demand[]> {
    const { rules } = await this.current();
    return [...rules.map(demandOfRule), ...(await this.#demandsOfPolicies())];
  }

  /** Looks through all keys: done where people and rules change, never where keys are used. */
  async #demandsOfPolicies(): Promise<Demand[]> {
    const rows = await this.#storage.db
      .selectFrom('key')
      .select(({ fn }) => [fn.min<string>('name').as('name'), 'policy_json'])
      .where('policy_json', 'like', '%"dualControl":%')
      .groupBy('policy_json')
      .execute();
    return rows.flatMap(({ name, policy_json }) => {
      const { dualControl } = JSON.parse(policy_json) as { dualControl?: DualControl };
      return dualControl === undefined ? [] : [demandOfPolicy(name, dualControl)];
    });
  }
}
