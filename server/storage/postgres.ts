import type { Kysely } from 'kysely';
import pg from 'pg';
import { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { CommitQueue } from './commit-queue.ts';
import type { ResolvedStorageOptions, Storage, StorageHealth } from './contract.ts';
import { EpochKeeper } from './epoch-keeper.ts';
import { loadEncoder, toKeyreeveError } from './group.ts';
import { planMigrations } from './migrate.ts';
import { PostgresEngine } from './postgres-engine.ts';
import { unavailable } from './postgres-errors.ts';
import { appendEntries, fillWrites, onlyAppends } from './postgres-group.ts';
import { PostgresReads, PostgresSnapshot, readFault } from './postgres-reads.ts';
import { PostgresServers, primaryClients } from './postgres-servers.ts';
import { EpochWatch } from './postgres-watch.ts';
import { readOnlyKysely } from './read-dialect.ts';
import type { Schema } from './schema.ts';

const readConnections = 8;
/** Snapshots at one time: each holds one of the read connections. */
const snapshotLimit = 4;

/** How long reads under way are waited for at the end. */
const endPoolMilliseconds = 2000;
/** A node that has not heard of the epoch for longer answers nobody, and says that it is not ready. */
const staleMilliseconds = 1000;

/**
 * Opens a PostgreSQL database: one connection commits what changes something, one the entries of
 * uses, each with the locks of a process that serves; one asks for the epoch; a pool reads.
 */
export async function openPostgres(
  databaseUrl: string,
  options: ResolvedStorageOptions,
): Promise<Storage> {
  const { commitTimeoutSeconds, clock, log, alone } = options;
  const servers = new PostgresServers(databaseUrl, () => {
    // Nothing of what the primary before knew is to be taken for the newest.
    pool.renew();
    writer.abandon();
    appender.abandon();
  });
  const pool = new ReadPool(() => readPool(servers, commitTimeoutSeconds * 1000));
  const plan = planMigrations(options.migrations, 'postgres');
  const shared = {
    servers,
    plan,
    alone,
    encode: await loadEncoder(options.entryEncoder.href),
    clock,
  };
  const writer: PostgresEngine = new PostgresEngine({
    ...{ ...shared, migrate: options.migrate, fill: fillWrites },
    lost: (error) => writes.lost(error),
    // Whatever the primary is now: connections to the one before are used no more.
    reconnected: () => pool.renew(),
  });
  const appender: PostgresEngine = new PostgresEngine({
    ...{ ...shared, migrate: false, fill: appendEntries },
    lost: (error) => appends.lost(error),
  });
  const epochs = new EpochKeeper(await writer.start(), clock, log);
  const parts = { epochs, commitTimeoutSeconds, log, shared: true };
  const writes: CommitQueue = new CommitQueue({ ...parts, engine: writer });
  // Who has the database alone has one connection that does: the lock is its own.
  const appends: CommitQueue = alone ? writes : new CommitQueue({ ...parts, engine: appender });
  if (!alone) {
    await appender.start().catch(async (error) => {
      await writer.close();
      throw error;
    });
  }
  const snapshots = new PoolSnapshots(pool);
  let nodeId = newId('nod');
  const watch = new EpochWatch({ servers, epochs, schema: plan.length, nodeId: () => nodeId });
  watch.start();
  const epochAge = () =>
    writes.reached && appends.reached ? epochs.age() : Number.POSITIVE_INFINITY;

  return {
    dialect: 'postgres',
    get nodeId() {
      return nodeId;
    },
    renewNodeId: () => {
      nodeId = newId('nod');
      return nodeId;
    },
    db: readOnlyKysely('postgres', new PostgresReads(pool, commitTimeoutSeconds * 1000)),
    get epoch() {
      return epochs.epoch;
    },
    epochAge,
    async refreshEpoch() {
      // Without the connections that commit, this process is not known to serve the database.
      if (epochAge() === Number.POSITIVE_INFINITY) throw toKeyreeveError(unavailable);
      return watch.refresh();
    },
    commit: (write) => (onlyAppends(write) ? appends : writes).commit(write),
    onEpoch: (listener) => epochs.onEpoch(listener),
    snapshot: (use) => snapshots.run(use),
    health: () => healthOf(writes.health(), appends.health(), epochAge()),
    async close() {
      await Promise.all([writes.close(), appends.close()]);
      await watch.stop();
      await Promise.all([pool.end(), writer.close(), appender.close()]);
    },
  };
}

function healthOf(writes: StorageHealth, appends: StorageHealth, age: number): StorageHealth {
  const waiting = writes.waiting + appends.waiting;
  const stale = age > staleMilliseconds ? unavailable.message : undefined;
  const reason = writes.reason ?? appends.reason ?? stale;
  return { ready: reason === undefined, reason, waiting };
}

/** The connections for reads, as long as the primary they were made to is the one in use. */
export class ReadPool {
  readonly #make: () => pg.Pool;
  #pool: pg.Pool;
  #ended: Promise<void> | undefined;

  constructor(make: () => pg.Pool) {
    this.#make = make;
    this.#pool = make();
  }

  get current(): pg.Pool {
    return this.#pool;
  }

  /** What is under way ends as it can; everything after it takes new connections. */
  renew(): void {
    if (this.#ended !== undefined) return;
    const old = this.#pool;
    this.#pool = this.#make();
    old.end().catch(() => {});
  }

  end(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  /** A snapshot that waits for a server which is away holds nobody up. */
  async #end(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, endPoolMilliseconds);
    });
    await Promise.race([this.#pool.end(), late]);
    clearTimeout(timer);
  }
}

function readPool(servers: PostgresServers, timeoutMilliseconds: number): pg.Pool {
  const config = servers.config();
  const connectMilliseconds = Math.min(config.connectionTimeoutMillis, timeoutMilliseconds);
  const pool = new pg.Pool({
    ...config,
    connectionTimeoutMillis: connectMilliseconds,
    max: readConnections,
    Client: primaryClients(servers),
    // Before any read of a new connection: the server refuses whatever writes on it.
    onConnect: async (client) => {
      await servers.requirePrimary(client);
      await client.query('SET default_transaction_read_only = on');
    },
  });
  // A connection that breaks while it is idle is dropped by the pool; the next read makes another.
  pool.on('error', () => {});
  return pool;
}

class PoolSnapshots {
  readonly #pool: ReadPool;
  #open = 0;

  constructor(pool: ReadPool) {
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
      client = await this.#pool.current.connect().catch((error) => {
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
