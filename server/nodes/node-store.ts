import { sql } from 'kysely';
import type { Step, Storage } from '../storage/storage.ts';

export interface NodeRow {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly startedAt: number;
  readonly seenAt: number;
  /** By the clock of the database, as `seenAt` is. */
  readonly now: number;
}

/** The SQL of the registry. On PostgreSQL every time in it is that of the database. */
export class NodeStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async all(): Promise<NodeRow[]> {
    const rows = await this.#storage.db
      .selectFrom('node')
      .select(['id', 'name', 'version', 'started_at', 'seen_at'])
      .select(this.#now().as('now'))
      .orderBy('started_at')
      .orderBy('id')
      .execute();
    return rows.map((row) => ({
      id: row.id,
      name: row.name,
      version: row.version,
      startedAt: Number(row.started_at),
      seenAt: Number(row.seen_at),
      now: Number(row.now),
    }));
  }

  /** The nodes of acts under way and of CRLs that are made; what was taken from its node is nobody's. */
  async actors(): Promise<string[]> {
    const { db } = this.#storage;
    const rows = await db
      .selectFrom('intent')
      .select('node_id')
      .where('node_id', '!=', '')
      .union(
        db
          .selectFrom('ca_version')
          .select(({ ref }) => ref('crl_claimed_by').$notNull().as('node_id'))
          .where('crl_claimed_by', 'is not', null),
      )
      .execute();
    return rows.map((row) => row.node_id);
  }

  /** Registers this process; `now` counts where the database has no clock of its own. */
  insert({ name, version, now }: { name: string; version: string; now: number }): Step {
    const { db, nodeId, dialect } = this.#storage;
    const time = dialect === 'postgres' ? this.#now() : now;
    const row = { id: nodeId, name, version, started_at: time, seen_at: time };
    return { query: db.insertInto('node').values(row).compile() };
  }

  remove(id: string): Step {
    return { query: this.#storage.db.deleteFrom('node').where('id', '=', id).compile() };
  }

  /** What only one may do at a time, and this one did, is free at once: its fence is safe already. */
  endLeases(id: string): Step {
    const { db } = this.#storage;
    return {
      query: db.updateTable('lease').set({ expires_at: 0 }).where('holder', '=', id).compile(),
    };
  }

  /** Unless it was seen since the row was read. */
  removeUnseen({ id, seenAt }: NodeRow): Step {
    const { db } = this.#storage;
    const query = db.deleteFrom('node').where('id', '=', id).where('seen_at', '=', seenAt);
    return { query: query.compile() };
  }

  #now() {
    return this.#storage.dialect === 'postgres'
      ? sql<number>`(extract(epoch FROM clock_timestamp()) * 1000)::bigint`
      : sql<number>`0`;
  }
}
