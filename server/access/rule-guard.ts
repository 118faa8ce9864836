import { KeyreeveError } from '../base/errors.ts';
import type { AccessStore, PrincipalRow } from './access-store.ts';
import type { RulesInForce } from './rules.ts';
import { readRoles } from './scope.ts';

/** Principals asked whether they could apply rules, administrators first: each costs 0.2 ms. */
export const appliersAskedMax = 500;

/** Sees to it that somebody can always change the access rules. */
export class RuleGuard {
  readonly #store: AccessStore;
  readonly #rules: RulesInForce;

  constructor(store: AccessStore, rules: RulesInForce) {
    this.#store = store;
    this.#rules = rules;
  }

  /** Checks new rules: whether they are valid, and whether anybody could change them again. */
  async requireUsable(policies: string): Promise<void> {
    const { engine } = this.#rules;
    engine.validate(policies);
    const principals = await this.#store.activePrincipals(appliersAskedMax);
    // No `await` from here on: the engine holds one candidate at a time.
    engine.use(policies, 'candidate');
    if (!principals.some((row) => mayApply(this.#rules, row, 'candidate'))) {
      throw new KeyreeveError(
        'invalid-policy',
        'Under these rules nobody could apply rules any more.',
        { hint: 'Permit Action::"access.apply" to the role of an active principal.' },
      );
    }
  }

  /** Refuses a change of a principal after which nobody could apply rules. */
  async requireApplierBesides(before: PrincipalRow, after: PrincipalRow): Promise<void> {
    if (!mayApply(this.#rules, before, 'in-force')) return;
    if (after.state === 'active' && mayApply(this.#rules, after, 'in-force')) return;
    const others = await this.#store.activePrincipals(appliersAskedMax);
    const left = others.some(
      (row) => row.id !== before.id && mayApply(this.#rules, row, 'in-force'),
    );
    if (left) return;
    throw new KeyreeveError('conflict', `Only "${before.name}" can change the access rules.`, {
      hint: 'Give a role that may to somebody else first.',
    });
  }
}

function mayApply(rules: RulesInForce, row: PrincipalRow, by: 'in-force' | 'candidate'): boolean {
  const who = { principalId: row.id, roles: readRoles(row.roles_json) };
  return rules.engine.decide(who, 'access.apply', { type: 'system' }, by);
}
