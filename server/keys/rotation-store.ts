import type { Step, Storage } from '../storage/storage.ts';

/** A key whose time has come, as its row says it. */
export interface DueKey {
  readonly id: string;
  readonly keystore: string;
  readonly dueAt: number;
}

/** SQL of what is due to be rotated. */
export class RotationStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * Keys due by now, the longest due first, after one of them. Left out: what waits to be destroyed,
   * and keys of CAs of which people were told.
   */
  async due(now: number, after: DueKey | undefined, limit: number): Promise<DueKey[]> {
    let query = this.#storage.db
      .selectFrom('key')
      .select(['id', 'keystore', 'rotation_due_at'])
      .where('rotation_due_at', '<=', now)
      .where('destroy_at', 'is', null)
      .where(({ or, eb }) =>
        or([
          eb('purpose', '!=', 'ca'),
          eb('rotation_told', 'is', null),
          eb('rotation_told', '!=', eb.ref('rotation_due_at')),
        ]),
      )
      .orderBy('rotation_due_at')
      .orderBy('id')
      .limit(limit);
    if (after !== undefined) {
      const { dueAt, id } = after;
      query = query.where(({ or, and, eb }) =>
        or([
          eb('rotation_due_at', '>', dueAt),
          and([eb('rotation_due_at', '=', dueAt), eb('id', '>', id)]),
        ]),
      );
    }
    const rows = await query.execute();
    return rows.map((row) => ({ id: row.id, keystore: row.keystore, dueAt: row.rotation_due_at! }));
  }

  /** Puts right a due time that was stored by other rules; the key itself is not changed. */
  correct(id: string, from: number, to: number | null): Step {
    const query = this.#storage.db
      .updateTable('key')
      .set({ rotation_due_at: to })
      .where('id', '=', id)
      .where('rotation_due_at', '=', from)
      .compile();
    return { query };
  }

  /** Marks that people were told; refused where it was done meanwhile. */
  told(id: string, dueAt: number): Step {
    const query = this.#storage.db
      .updateTable('key')
      .set({ rotation_told: dueAt })
      .where('id', '=', id)
      .where('rotation_due_at', '=', dueAt)
      .where(({ or, eb }) =>
        or([eb('rotation_told', 'is', null), eb('rotation_told', '!=', dueAt)]),
      )
      .compile();
    return {
      query,
      expect: { rows: 1, code: 'conflict', message: 'The key was changed meanwhile.' },
    };
  }

  /** Says what is about to be made outside the database, and how that is settled. */
  intend(
    id: string,
    intent: { readonly kind: string; readonly payload: string; readonly entryId: string },
    now: number,
  ): { readonly begun: Step; readonly settled: Step } {
    const { db, nodeId } = this.#storage;
    const row = {
      kind: intent.kind,
      payload_json: intent.payload,
      entry_id: intent.entryId,
      created_at: now,
      node_id: nodeId,
    };
    const settle = db.deleteFrom('intent').where('id', '=', id).where('node_id', '=', nodeId);
    const message = 'The act took so long that another node has taken it back.';
    return {
      begun: {
        query: db
          .insertInto('intent')
          .values({ id, ...row })
          .compile(),
      },
      settled: { query: settle.compile(), expect: { rows: 1, code: 'conflict', message } },
    };
  }
}
