import type pg from 'pg';
import type { Clock } from '../base/clock.ts';
import type { Write } from './contract.ts';
import {
  type EntryEncoder,
  type GroupEngine,
  type GroupReply,
  type PlainError,
  StorageFault,
  toKeyreeveError,
} from './group.ts';
import type { PlannedMigration } from './migrate.ts';
import { connectLocked, migrateDatabase } from './postgres-connection.ts';
import {
  databaseFault,
  isRetried,
  stateOf,
  unavailable,
  unknownOutcome,
} from './postgres-errors.ts';
import { fillTransaction } from './postgres-group.ts';

/** Attempts of one group where other sessions change the same rows. */
const groupAttempts = 5;

export interface PostgresEngineOptions {
  readonly databaseUrl: string;
  readonly plan: readonly PlannedMigration[];
  readonly migrate: boolean;
  readonly encode: EntryEncoder;
  readonly clock: Clock;
  readonly lost: (error: PlainError) => void;
}

/** Commits groups on the one connection that holds the lock; a probe makes it anew when it is lost. */
export class PostgresEngine implements GroupEngine {
  readonly mostInFlight = 1;
  readonly #options: PostgresEngineOptions;
  #client: pg.Client | undefined;
  #connecting = false;
  #commitSent = false;
  #closing = false;

  constructor(options: PostgresEngineOptions) {
    this.#options = options;
  }

  /** The first connection: refusals of lock and schema are thrown. Returns the epoch. */
  async start(): Promise<number> {
    try {
      const client = await this.#connect(this.#options.migrate);
      const { rows } = await client.query<{ value: number }>(
        'SELECT "value" FROM "epoch" WHERE "id" = 1',
      );
      return rows[0]!.value;
    } catch (error) {
      throw toKeyreeveError(databaseFault(error));
    }
  }

  async run(writes: readonly Write[], probe: boolean): Promise<GroupReply> {
    try {
      if (this.#client === undefined && probe && !this.#connecting) await this.#reconnect();
      if (this.#client === undefined) return { committed: false, error: unavailable };
      return await this.#runGroup(this.#client, writes, probe);
    } catch (error) {
      return { committed: false, error: databaseFault(error) };
    }
  }

  /** Cuts the connection: the server then undoes a group of which COMMIT was not sent yet. */
  interrupt(): PlainError {
    const error = this.#commitSent ? unknownOutcome : unavailable;
    this.#drop();
    return error;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#client?.end();
    this.#client = undefined;
  }

  async #runGroup(
    client: pg.Client,
    writes: readonly Write[],
    probe: boolean,
  ): Promise<GroupReply> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt(client, writes, probe);
      } catch (error) {
        const committing = this.#commitSent;
        this.#commitSent = false;
        await client.query('ROLLBACK').catch(() => {});
        if (isRetried(error) && attempt < groupAttempts) continue;
        if (committing && !isDefiniteRefusal(error)) {
          this.#drop();
          return { committed: false, error: { ...unknownOutcome, detail: String(error) } };
        }
        throw error;
      }
    }
  }

  async #attempt(client: pg.Client, writes: readonly Write[], probe: boolean): Promise<GroupReply> {
    const { encode, clock } = this.#options;
    // Serializable, so that preconditions hold as they do with the one writer of SQLite.
    await client.query('BEGIN ISOLATION LEVEL SERIALIZABLE');
    const { epoch, failures } = await fillTransaction(client, writes, probe, encode, clock.now());
    this.#commitSent = true;
    const { command } = await client.query('COMMIT');
    this.#commitSent = false;
    if (command !== 'COMMIT') throw new Error(`COMMIT was answered with ${command}`);
    return { committed: true, epoch, failures };
  }

  async #reconnect(): Promise<void> {
    this.#connecting = true;
    try {
      await this.#connect(false);
    } catch (error) {
      throw new StorageFault(asUnavailable(databaseFault(error)));
    } finally {
      this.#connecting = false;
    }
  }

  async #connect(migrate: boolean): Promise<pg.Client> {
    const { databaseUrl, plan, clock } = this.#options;
    const client = await connectLocked(databaseUrl);
    try {
      await migrateDatabase(client, plan, migrate, clock.now());
    } catch (error) {
      client.end().catch(() => {});
      throw error;
    }
    if (this.#closing) {
      client.end().catch(() => {});
      throw new StorageFault(unavailable);
    }
    this.#client = client;
    client.on('end', () => {
      if (this.#client !== client) return;
      this.#client = undefined;
      if (!this.#closing) this.#options.lost(unavailable);
    });
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.end().catch(() => {});
  }
}

/** A COMMIT that the server itself refused has changed nothing; any other failure leaves it open. */
function isDefiniteRefusal(error: unknown): boolean {
  return ['23', '40', '53'].includes((stateOf(error) ?? '').slice(0, 2));
}

/** What stops a start is, in the midst of serving, a database that is not to be had. */
function asUnavailable(error: PlainError): PlainError {
  return error.code === 'integrity-failed' ? error : { ...error, code: 'storage-unavailable' };
}
