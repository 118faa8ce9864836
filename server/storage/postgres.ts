import type { Kysely } from 'kysely';
import pg from 'pg';
import { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { CommitQueue } from './commit-queue.ts';
import type { ResolvedStorageOptions, Storage } from './contract.ts';
import { loadEncoder, toKeyreeveError } from './group.ts';
import { planMigrations } from './migrate.ts';
import { connectionConfig } from './postgres-connection.ts';
import { PostgresEngine } from './postgres-engine.ts';
import { PostgresReads, PostgresSnapshot, readFault } from './postgres-reads.ts';
import { readOnlyKysely } from './read-dialect.ts';
import type { Schema } from './schema.ts';

const readConnections = 8;
/** Snapshots at one time: each holds one of the read connections. */
const snapshotLimit = 4;

/** Opens a PostgreSQL database: one connection commits and holds the lock, a pool reads. */
export async function openPostgres(
  databaseUrl: string,
  options: ResolvedStorageOptions,
): Promise<Storage> {
  const { commitTimeoutSeconds, clock, log } = options;
  const engine: PostgresEngine = new PostgresEngine({
    databaseUrl,
    plan: planMigrations(options.migrations, 'postgres'),
    migrate: options.migrate,
    encode: await loadEncoder(options.entryEncoder.href),
    clock,
    lost: (error) => queue.lost(error),
  });
  const epoch = await engine.start();
  const queue: CommitQueue = new CommitQueue({ engine, epoch, commitTimeoutSeconds, log });
  const pool = readPool(databaseUrl, commitTimeoutSeconds * 1000);
  const snapshots = new PoolSnapshots(pool);

  return {
    dialect: 'postgres',
    nodeId: newId('nod'),
    db: readOnlyKysely('postgres', new PostgresReads(pool, commitTimeoutSeconds * 1000)),
    get epoch() {
      return queue.epoch;
    },
    commit: (write) => queue.commit(write),
    onEpoch: (listener) => queue.onEpoch(listener),
    snapshot: (use) => snapshots.run(use),
    health: () => queue.health(),
    async close() {
      await queue.close();
      await Promise.all([pool.end(), engine.close()]);
    },
  };
}

function readPool(databaseUrl: string, timeoutMilliseconds: number): pg.Pool {
  const config = connectionConfig(databaseUrl);
  const connectMilliseconds = Math.min(config.connectionTimeoutMillis, timeoutMilliseconds);
  const pool = new pg.Pool({
    ...config,
    connectionTimeoutMillis: connectMilliseconds,
    max: readConnections,
    // Before any read of a new connection: the server refuses whatever writes on it.
    onConnect: async (client) => {
      await client.query('SET default_transaction_read_only = on');
    },
  });
  // A connection that breaks while it is idle is dropped by the pool; the next read makes another.
  pool.on('error', () => {});
  return pool;
}

class PoolSnapshots {
  readonly #pool: pg.Pool;
  #open = 0;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  async run<Result>(use: (db: Kysely<Schema>) => Promise<Result>): Promise<Result> {
    if (this.#open >= snapshotLimit) {
      throw new KeyreeveError('overloaded', 'too many snapshots of the database are open', {
        hint: 'try again when a backup or export has ended',
      });
    }
    this.#open++;
    let client: pg.PoolClient | undefined;
    try {
      client = await this.#pool.connect().catch((error) => {
        throw toKeyreeveError(readFault(error));
      });
      client.on('error', ignoreBreak);
      await begin(client);
      const result = await use(readOnlyKysely('postgres', new PostgresSnapshot(client)));
      await client.query('COMMIT').catch(() => {});
      client.off('error', ignoreBreak);
      client.release();
      return result;
    } catch (error) {
      // Not to be used again: its transaction may be open, or the connection gone.
      client?.release(true);
      throw error;
    } finally {
      this.#open--;
    }
  }
}

async function begin(client: pg.PoolClient): Promise<void> {
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    // The first query fixes the state that the snapshot shows.
    await client.query('SELECT "value" FROM "epoch" WHERE "id" = 1');
  } catch (error) {
    throw toKeyreeveError(readFault(error));
  }
}

/** A connection that breaks between two queries is found by the next one. */
function ignoreBreak(): void {}
