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
import { connectLocked, endClient, inTime } from './postgres-connection.ts';
import {
  databaseFault,
  isRetried,
  stateOf,
  unavailable,
  unknownOutcome,
} from './postgres-errors.ts';
import type { FillGroup } from './postgres-group.ts';
import { migrateDatabase } from './postgres-migrate.ts';
import type { PostgresServers } from './postgres-servers.ts';

/** Attempts of one group where other sessions change the same rows. */
const groupAttempts = 5;
/** Of different length for each, so that two who met do not meet again. */
const retryPauseMilliseconds = 20;

export interface PostgresEngineOptions {
  readonly servers: PostgresServers;
  readonly plan: readonly PlannedMigration[];
  readonly migrate: boolean;
  readonly alone: boolean;
  readonly encode: EntryEncoder;
  readonly clock: Clock;
  /** Which groups these are: `fillWrites` or `appendEntries`. */
  readonly fill: FillGroup;
  /** Told of each connection after the first. */
  readonly reconnected?: () => void;
  readonly lost: (error: PlainError) => void;
}

/** Commits groups on the one connection that holds the lock; a probe makes it anew when it is lost. */
export class PostgresEngine implements GroupEngine {
  readonly mostInFlight = 1;
  readonly #options: PostgresEngineOptions;
  #client: pg.Client | undefined;
  #connecting = false;
  #commitSent = false;
  #onOneDisk = false;
  #closing = false;

  constructor(options: PostgresEngineOptions) {
    this.#options = options;
  }

  /** The first connection: refusals of lock and schema are thrown. Returns the epoch. */
  async start(): Promise<number> {
    try {
      const client = await this.#connect((opened) =>
        this.#bringUpToDate(opened, this.#options.migrate),
      );
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

  /** Another server is the primary now: what this connection says does not count any more. */
  abandon(): void {
    if (this.#client === undefined || this.#closing) return;
    this.#drop();
    this.#options.lost(unavailable);
  }

  async close(): Promise<void> {
    this.#closing = true;
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) await endClient(client);
  }

  async #runGroup(
    client: pg.Client,
    writes: readonly Write[],
    probe: boolean,
  ): Promise<GroupReply> {
    const { fill, encode, clock } = this.#options;
    const committing = () => {
      this.#commitSent = true;
    };
    for (let attempt = 1; ; attempt++) {
      try {
        const options = { probe, encode, now: clock.now(), committing };
        this.#onOneDisk = false;
        const filled = await fill(client, writes, options);
        if (this.#onOneDisk) throw new Error('the wait for the standby was ended');
        return { committed: true, ...filled };
      } catch (error) {
        const mayBeDone = this.#commitSent && !isDefiniteRefusal(error);
        this.#commitSent = false;
        if (mayBeDone) {
          this.#drop();
          return { committed: false, error: { ...unknownOutcome, detail: String(error) } };
        }
        await client.query('ROLLBACK').catch(() => {});
        if (!isRetried(error) || attempt === groupAttempts) throw error;
        await new Promise((resolve) => setTimeout(resolve, Math.random() * retryPauseMilliseconds));
      } finally {
        this.#commitSent = false;
      }
    }
  }

  async #reconnect(): Promise<void> {
    this.#connecting = true;
    try {
      // The schema is there: nothing of it is waited for.
      await this.#connect((opened) => inTime(opened, () => this.#bringUpToDate(opened, false)));
      this.#options.reconnected?.();
    } catch (error) {
      throw new StorageFault(asUnavailable(databaseFault(error)));
    } finally {
      this.#connecting = false;
    }
  }

  #bringUpToDate(client: pg.Client, migrate: boolean): Promise<void> {
    return migrateDatabase(client, this.#options.plan, migrate, this.#options.clock.now());
  }

  async #connect(check: (client: pg.Client) => Promise<void>): Promise<pg.Client> {
    const { servers, plan, alone } = this.#options;
    const client = await connectLocked(servers, plan.length, alone);
    try {
      await check(client);
    } catch (error) {
      void endClient(client);
      throw error;
    }
    if (this.#closing) {
      void endClient(client);
      throw new StorageFault(unavailable);
    }
    this.#client = client;
    client.on('notice', ({ code }) => {
      if (code === warning) this.#onOneDisk = true;
    });
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
    if (client !== undefined) void endClient(client);
  }
}

/**
 * SQLSTATE of what PostgreSQL says where somebody has cancelled the wait for the synchronous standby:
 * it then calls the group committed although the standby may lack it, and a failover would lose it.
 */
const warning = '01000';

/** What the server itself refused has changed nothing; any other failure leaves it open. */
function isDefiniteRefusal(error: unknown): boolean {
  return definiteClasses.includes((stateOf(error) ?? '').slice(0, 2));
}

/** SQLSTATE: data, integrity, state of the transaction, its rollback, names, resources, limits. */
const definiteClasses: readonly string[] = ['22', '23', '25', '40', '42', '53', '54'];

/** What stops a start is, in the midst of serving, a database that is not to be had. */
function asUnavailable(error: PlainError): PlainError {
  return error.code === 'integrity-failed' ? error : { ...error, code: 'storage-unavailable' };
}
