import type { EntryDraft } from '../../api/entry.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { fenceStep, type Lease, type Storage } from '../storage/storage.ts';
import type { WorkState } from './work.ts';

export interface JobRow extends WorkState {
  readonly name: string;
  /** The name of the node, where it is known still. */
  readonly nodeName: string | null;
}

/** SQL of the table `job`. */
export class JobStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async read(name: string): Promise<WorkState | undefined> {
    return (await this.#rows(name))[0];
  }

  all(): Promise<JobRow[]> {
    return this.#rows();
  }

  async #rows(name?: string): Promise<JobRow[]> {
    const query = this.#storage.db
      .selectFrom('job')
      .leftJoin('node', 'node.id', 'job.node_id')
      .selectAll('job')
      .select('node.name as node_name');
    const rows = await (name === undefined ? query : query.where('job.name', '=', name)).execute();
    return rows.map((row) => ({
      name: row.name,
      nodeName: row.node_name,
      nodeId: row.node_id,
      startedAt: row.started_at,
      endedAt: row.ended_at,
      succeededAt: row.succeeded_at,
      nextAt: row.next_at,
      failures: row.failures,
      reason: row.reason,
    }));
  }

  /** Writes how it stands, and what the record has to be told; false where another node holds the lease now. */
  async write(
    lease: Lease,
    name: string,
    state: WorkState,
    entries: readonly EntryDraft[],
  ): Promise<boolean> {
    const row = {
      node_id: state.nodeId,
      started_at: state.startedAt,
      ended_at: state.endedAt,
      succeeded_at: state.succeededAt,
      next_at: state.nextAt,
      failures: state.failures,
      reason: state.reason,
    };
    const query = this.#storage.db
      .insertInto('job')
      .values({ name, ...row })
      .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
      .compile();
    try {
      const steps = [fenceStep(this.#storage, lease), { query }];
      await this.#storage.commit({ steps, entries });
      return true;
    } catch (error) {
      if (isKeyreeveError(error, 'conflict')) return false;
      throw error;
    }
  }
}
