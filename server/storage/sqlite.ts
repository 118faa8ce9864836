import type { Kysely } from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { CommitQueue } from './commit-queue.ts';
import type { ResolvedStorageOptions, Storage } from './contract.ts';
import { EpochKeeper } from './epoch-keeper.ts';
import { planMigrations } from './migrate.ts';
import { readOnlyKysely } from './read-dialect.ts';
import type { Schema } from './schema.ts';
import { SqliteEngine } from './sqlite-engine.ts';
import { SqliteReads } from './sqlite-reads.ts';

/** Snapshots at one time: each costs a thread, and holds the log back from being cut. */
export const snapshotLimit = 4;

/** Opens `<data>/keyreeve.db`: one thread writes, one reads, the event loop does neither. */
export async function openSqlite(options: ResolvedStorageOptions): Promise<Storage> {
  const { dataFolder, commitTimeoutSeconds, clock, log } = options;
  const timeoutMilliseconds = commitTimeoutSeconds * 1000;
  const engine: SqliteEngine = new SqliteEngine({
    settings: {
      dataFolder,
      plan: planMigrations(options.migrations, 'sqlite'),
      migrate: options.migrate,
      encoder: options.entryEncoder.href,
    },
    clock,
    closeMilliseconds: timeoutMilliseconds,
    lost: (error) => queue.lost(error),
  });
  const epochs = new EpochKeeper(await engine.start(), clock, log);
  const queue: CommitQueue = new CommitQueue({
    ...{ engine, epochs, commitTimeoutSeconds, log },
    shared: false,
  });
  let nodeId = newId('nod');
  const reads = new SqliteReads({ dataFolder, snapshot: false }, timeoutMilliseconds, (error) =>
    queue.lost(error),
  );
  const snapshots = new Set<SqliteReads>();

  async function snapshot<Result>(use: (db: Kysely<Schema>) => Promise<Result>): Promise<Result> {
    if (snapshots.size >= snapshotLimit) {
      throw new KeyreeveError('overloaded', 'too many snapshots of the database are open', {
        hint: 'try again when a backup or export has ended',
      });
    }
    const own = new SqliteReads({ dataFolder, snapshot: true }, timeoutMilliseconds);
    snapshots.add(own);
    try {
      // Pins the state before anything else happens.
      await own.read('SELECT "value" FROM "epoch"', []);
      return await use(readOnlyKysely('sqlite', own));
    } finally {
      snapshots.delete(own);
      await own.close();
    }
  }

  return {
    dialect: 'sqlite',
    get nodeId() {
      return nodeId;
    },
    renewNodeId: () => {
      nodeId = newId('nod');
      return nodeId;
    },
    db: readOnlyKysely('sqlite', reads),
    get epoch() {
      return epochs.epoch;
    },
    // No other process raises it.
    epochAge: () => 0,
    refreshEpoch: async () => epochs.epoch,
    commit: (write) => queue.commit(write),
    onEpoch: (listener) => epochs.onEpoch(listener),
    snapshot,
    health: () => queue.health(),
    async close() {
      await queue.close();
      await Promise.all([reads.close(), ...[...snapshots].map((one) => one.close())]);
      await engine.close();
    },
  };
}
