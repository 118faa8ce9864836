import type { Selectable } from 'kysely';
import type { ApprovalState } from '../../api/approvals.ts';
import type { Schema, Step, Storage } from '../storage/storage.ts';

export type ApprovalRow = Selectable<Schema['approval']>;
export type DecisionRow = Selectable<Schema['approval_decision']>;

export interface Page {
  readonly limit: number;
  /** `createdAt.id` of the last of the page before. */
  readonly after?: string | undefined;
}

/** Whose approvals a list is of; all of them where nothing is given. */
export interface Seen {
  readonly principalId: string;
  readonly roles: readonly string[];
}

/** The SQL of approvals. */
export class ApprovalStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  byId(id: string): Promise<ApprovalRow | undefined> {
    return this.#storage.db
      .selectFrom('approval')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
  }

  /** Those of a principal that have not ended, expired ones that nobody has marked included. */
  openOf(principalId: string): Promise<ApprovalRow[]> {
    return this.#storage.db
      .selectFrom('approval')
      .selectAll()
      .where('principal_id', '=', principalId)
      .where('state', '=', 'pending')
      .orderBy('created_at')
      .execute();
  }

  decisions(ids: readonly string[]): Promise<DecisionRow[]> {
    if (ids.length === 0) return Promise.resolve([]);
    return this.#storage.db
      .selectFrom('approval_decision')
      .selectAll()
      .where('approval_id', 'in', [...ids])
      .orderBy('decided_at')
      .orderBy('principal_id')
      .execute();
  }

  /** Newest first; of those that somebody may see there may be some more than that. */
  list(page: Page, state: ApprovalState | undefined, seen: Seen | undefined) {
    let query = this.#storage.db
      .selectFrom('approval')
      .selectAll()
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(page.limit);
    if (state !== undefined) query = query.where('state', 'in', storedAs(state));
    if (seen !== undefined) {
      query = query.where((where) =>
        where.or([
          where('principal_id', '=', seen.principalId),
          ...seen.roles.map((role) => where('requirements_json', 'like', `%"${role}"%`)),
        ]),
      );
    }
    const [time, id] = page.after?.split('.') ?? [];
    if (time !== undefined && id !== undefined && /^\d{1,15}$/.test(time)) {
      query = query.where((where) =>
        where.or([
          where('created_at', '<', Number(time)),
          where.and([where('created_at', '=', Number(time)), where('id', '<', id)]),
        ]),
      );
    }
    return query.execute();
  }

  expiredBefore(time: number, limit: number): Promise<ApprovalRow[]> {
    return this.#storage.db
      .selectFrom('approval')
      .selectAll()
      .where('state', '=', 'pending')
      .where('expires_at', '<=', time)
      .limit(limit)
      .execute();
  }

  /**
   * Adds a request, unless the principal has made another one since its requests were counted: the
   * same request made twice at once is one approval.
   */
  insert(row: ApprovalRow, openCount: number): Step[] {
    const { db, dialect } = this.#storage;
    const conflict = {
      code: 'conflict',
      message: 'Another request of yours was made meanwhile.',
      hint: 'Repeat the request.',
    } as const;
    const self = db.selectFrom('principal').select('id').where('id', '=', row.principal_id);
    const open = db
      .selectFrom('approval')
      .select('id')
      .where('principal_id', '=', row.principal_id)
      .where('state', '=', 'pending');
    return [
      // Processes on PostgreSQL ask one after the other, too.
      ...(dialect === 'sqlite' ? [] : [{ query: self.forUpdate().compile() }]),
      { query: open.compile(), expect: { rows: openCount, ...conflict } },
      { query: db.insertInto('approval').values(row).compile() },
    ];
  }

  /** Ends an approval as it was read: once, whoever else tries. */
  end(row: ApprovalRow, state: ApprovalState, now: number): Step {
    return {
      query: this.#storage.db
        .updateTable('approval')
        .set({ state, ended_at: now, revision: row.revision + 1 })
        .where('id', '=', row.id)
        .where('state', '=', 'pending')
        .where('revision', '=', row.revision)
        .compile(),
      expect: endedMeanwhile(row.id),
    };
  }

  /** Ends an approval whatever others say of it at this moment. */
  endAnyhow({ id }: ApprovalRow, state: ApprovalState, now: number): Step {
    return {
      query: this.#storage.db
        .updateTable('approval')
        .set(({ eb }) => ({ state, ended_at: now, revision: eb('revision', '+', 1) }))
        .where('id', '=', id)
        .where('state', '=', 'pending')
        .compile(),
      expect: endedMeanwhile(id),
    };
  }

  /** Writes a word down; an approval that is being executed at this moment notices. */
  decide(decision: DecisionRow, now: number): Step[] {
    const { db } = this.#storage;
    return [
      {
        query: db
          .updateTable('approval')
          .set(({ eb }) => ({ revision: eb('revision', '+', 1) }))
          .where('id', '=', decision.approval_id)
          .where('state', '=', 'pending')
          .where('expires_at', '>', now)
          .compile(),
        expect: endedMeanwhile(decision.approval_id),
      },
      {
        query: db.insertInto('approval_decision').values(decision).compile(),
        expect: {
          rows: 1,
          code: 'conflict',
          message: 'You have given your word on this already.',
          hint: 'One word of each person counts, with whatever token.',
        },
      },
    ];
  }

  async countOpen(now: number): Promise<{ ordinary: number; breakGlass: number }> {
    const rows = await this.#storage.db
      .selectFrom('approval')
      .select(({ fn }) => ['kind', fn.countAll<number>().as('count')])
      .where('state', '=', 'pending')
      .where('expires_at', '>', now)
      .groupBy('kind')
      .execute();
    const of = (kind: string) => Number(rows.find((row) => row.kind === kind)?.count ?? 0);
    return { ordinary: of('ordinary'), breakGlass: of('break-glass') };
  }
}

function storedAs(state: ApprovalState): string[] {
  if (state === 'approved') return ['pending'];
  return state === 'expired' ? ['pending', 'expired'] : [state];
}

function endedMeanwhile(id: string) {
  return {
    rows: 1,
    code: 'approval-ended',
    message: `The approval ${id} was used, changed or ended meanwhile.`,
    hint: `Look at it: keyreeve approval show ${id}`,
  } as const;
}
