import { gauge, type MetricSample } from '../base/metric.ts';
import type { Storage } from '../storage/storage.ts';

/** Counts uses of keys as they happen, and reads the other figures when it is asked. */
export class ServiceMetrics {
  readonly #storage: Storage;
  // Bounded: actions and outcomes are closed sets.
  readonly #uses = new Map<string, { action: string; outcome: string; count: number }>();

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  countUse(action: string, outcome: string, items: number): void {
    const slot = `${action} ${outcome}`;
    const use = this.#uses.get(slot);
    if (use === undefined) this.#uses.set(slot, { action, outcome, count: items });
    else use.count += items;
  }

  async samples(): Promise<readonly MetricSample[]> {
    const { db } = this.#storage;
    const health = this.#storage.health();
    const tree = await db.selectFrom('tree').select('size').executeTakeFirst();
    const tail = await db
      .selectFrom('entry_tail')
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .executeTakeFirst();
    return [
      {
        name: 'keyreeve_key_uses_total',
        help: 'Items that keys were used for, by action and outcome.',
        kind: 'counter',
        values: [...this.#uses.values()].map(({ action, outcome, count }) => ({
          labels: { action, outcome },
          value: count,
        })),
      },
      gauge('keyreeve_database_ready', 'Whether the database answers.', health.ready ? 1 : 0),
      gauge('keyreeve_commits_waiting', 'Writes that wait for the disk.', health.waiting),
      gauge('keyreeve_record_entries', 'Entries that have a place in the record.', tree?.size ?? 0),
      gauge('keyreeve_record_waiting', 'Entries without a place yet.', Number(tail?.count ?? 0)),
      gauge('keyreeve_epoch', 'Changes that caches had to notice.', this.#storage.epoch),
    ];
  }
}
