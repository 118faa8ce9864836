import type { Authorise, Caller } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import type { Sealer } from '../commands/commands.ts';
import { nonceOf, saltOf, viewApproval, viewSummary } from './approval.ts';
import type { ApprovalRow, ApprovalStore } from './approval-store.ts';
import type { People } from './people.ts';
import { readRequirements } from './requirement.ts';

/** Pages that a list reads at most: of those that it reads, some may not be shown. */
const pagesMax = 20;

export interface SightOptions {
  readonly clock: Clock;
  readonly sealer: Sealer;
  readonly store: ApprovalStore;
  readonly people: People;
  readonly authorise: Authorise;
}

/** Who sees which approvals: those who ask, those who may decide, and whoever may see all. */
export class Sight {
  readonly #options: SightOptions;

  constructor(options: SightOptions) {
    this.#options = options;
  }

  /** Whoever may not see an approval learns nothing of which there are. Error: `not-found`. */
  async find(caller: Caller, id: string): Promise<ApprovalRow> {
    const row = await this.#options.store.byId(id);
    if (row !== undefined && (isConcerned(caller, row) || this.seesAll(caller))) return row;
    throw new KeyreeveError('not-found', `There is no approval "${id}".`, {
      hint: 'List them: keyreeve approval list',
    });
  }

  handlers(): Handlers<'approval.list' | 'approval.show'> {
    return {
      'approval.list': (call) => this.#list(call),
      'approval.show': (call) => this.#show(call),
    };
  }

  seesAll(caller: Caller): boolean {
    try {
      this.#options.authorise(caller, 'approval.show', { type: 'system' });
      return true;
    } catch (error) {
      if (isKeyreeveError(error, 'forbidden')) return false;
      throw error;
    }
  }

  async #show({ caller, params }: Call<'approval.show'>) {
    const { store, people, sealer, clock } = this.#options;
    const row = await this.find(caller, params.approval);
    const decisions = await store.decisions([row.id]);
    const ids = [row.principal_id, ...decisions.map((one) => one.principal_id)];
    const nonce = nonceOf(saltOf(sealer, row));
    const known = await people.byIds(ids);
    return viewApproval({ row, decisions, people: known, nonce, now: clock.now() });
  }

  async #list({ caller, query }: Call<'approval.list'>) {
    const seen = this.seesAll(caller) ? undefined : caller;
    const { limit, state } = query;
    const items: Awaited<ReturnType<Sight['summaries']>> = [];
    let after = query.after;
    for (let page = 0; page < pagesMax; page++) {
      const rows = await this.#options.store.list({ limit, after }, state, seen);
      const visible = rows.filter((row) => seen === undefined || isConcerned(caller, row));
      const views = await this.summaries(visible);
      items.push(...views.filter((one) => state === undefined || one.state === state));
      if (items.length > limit) break;
      const last = rows.at(-1);
      if (last === undefined || rows.length < limit) return { items, next: null };
      after = `${last.created_at}.${last.id}`;
      if (items.length === limit) break;
    }
    const shown = items.slice(0, limit);
    const end = shown.at(-1);
    if (items.length > limit && end !== undefined) {
      after = `${Date.parse(end.createdAt)}.${end.id}`;
    }
    return { items: shown, next: after ?? null };
  }

  async summaries(rows: readonly ApprovalRow[]) {
    const { store, people, clock } = this.#options;
    const decisions = await store.decisions(rows.map(({ id }) => id));
    const known = await people.byIds([
      ...rows.map((row) => row.principal_id),
      ...decisions.map((one) => one.principal_id),
    ]);
    return rows.map((row) =>
      viewSummary({
        row,
        decisions: decisions.filter((one) => one.approval_id === row.id),
        people: known,
        now: clock.now(),
      }),
    );
  }
}

/** Whether somebody asked for it, or may decide on it. */
function isConcerned(caller: Caller, row: ApprovalRow): boolean {
  if (row.principal_id === caller.principalId) return true;
  // A token that is narrowed to folders says no word, and what others ask for lies anywhere.
  if (caller.folders !== undefined) return false;
  const wanted = readRequirements(row.requirements_json).flatMap(({ roles }) => roles);
  return caller.roles.some((role) => (wanted as string[]).includes(role));
}
