import type pg from 'pg';
import { KeyreeveError } from '../base/errors.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import { toKeyreeveError } from './group.ts';
import { endClient } from './postgres-connection.ts';
import { databaseFault, unavailable } from './postgres-errors.ts';
import type { PostgresServers } from './postgres-servers.ts';

const askPauseMilliseconds = 250;
/** Young enough to leave the question out: groups were committed meanwhile. */
const freshMilliseconds = 200;
/** A question that takes longer is given up, and its connection with it. */
const askWaitMilliseconds = 1000;
/** The row of this process is written at least so often, so that others see that it lives. */
const beatMilliseconds = 2000;
/** The schema that brought the table of nodes. */
const nodeSchema = 4;

/**
 * Also a sign of life. And since it writes where this process is registered, a primary with a
 * synchronous standby answers only while that standby follows it: one that was replaced behind its
 * back cannot pass an old epoch off as the newest.
 */
const beatAndAsk = `WITH "beat" AS (UPDATE "node"
    SET "seen_at" = (extract(epoch FROM clock_timestamp()) * 1000)::bigint WHERE "id" = $1
    RETURNING 1)
  SELECT "value", (SELECT count(*) FROM "beat") AS "beats" FROM "epoch" WHERE "id" = 1`;
const ask = 'SELECT "value", 0 AS "beats" FROM "epoch" WHERE "id" = $1';

export interface EpochWatchOptions {
  readonly servers: PostgresServers;
  readonly epochs: EpochKeeper;
  /** The newest schema of this program. */
  readonly schema: number;
  readonly nodeId: () => string;
}

/**
 * Asks for the epoch again and again, on a connection of its own, so that a node learns of what
 * others raised while it commits nothing, and notices within a second that it is cut off.
 */
export class EpochWatch {
  readonly #options: EpochWatchOptions;
  #client: pg.Client | undefined;
  #asking: Promise<void> | undefined;
  #beatAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isRegistered = false;
  #stopped = false;

  constructor(options: EpochWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#plan();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#drop();
    await this.#asking?.catch(() => {});
  }

  /** Asks now, or waits for the question under way. Error: `storage-unavailable`. */
  async refresh(): Promise<number> {
    const { epochs } = this.#options;
    const before = epochs.now();
    await this.#askOnce();
    // The question that was under way may have been asked too long ago.
    if (epochs.age() > askWaitMilliseconds && epochs.now() - before < askWaitMilliseconds) {
      await this.#askOnce();
    }
    if (epochs.age() > askWaitMilliseconds) throw toKeyreeveError(unavailable);
    return epochs.epoch;
  }

  #plan(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      const { epochs } = this.#options;
      const isFresh = epochs.age() < freshMilliseconds;
      const isSeen = epochs.now() - this.#beatAt < beatMilliseconds;
      if (isFresh && isSeen) this.#plan();
      // Whoever needs an answer meanwhile is told of the failure by `refresh`.
      else
        void this.#askOnce().then(
          () => this.#plan(),
          () => this.#plan(),
        );
    }, askPauseMilliseconds).unref();
  }

  #askOnce(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const question = { isOver: false };
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(toKeyreeveError(unavailable)), askWaitMilliseconds);
    });
    try {
      await Promise.race([this.#askDatabase(question), late]);
    } catch (error) {
      this.#drop();
      if (error instanceof KeyreeveError) throw error;
      throw toKeyreeveError(databaseFault(error));
    } finally {
      question.isOver = true;
      clearTimeout(timer);
    }
  }

  async #askDatabase(question: { readonly isOver: boolean }): Promise<void> {
    const { epochs, schema, nodeId } = this.#options;
    let client = this.#client;
    if (client === undefined) {
      client = await this.#connect();
      if (question.isOver || this.#stopped) {
        void endClient(client);
        return;
      }
      this.#client = client;
    }
    const asOf = epochs.now();
    const known = epochs.epoch;
    const hasNodes = schema >= nodeSchema;
    const { rows } = await client.query<{ value: number; beats: number }>({
      name: 'epoch',
      text: hasNodes ? beatAndAsk : ask,
      values: [hasNodes ? nodeId() : 1],
    });
    const { value, beats } = rows[0]!;
    // It never falls: another primary has raised it, and is to be found.
    if (value < known) throw toKeyreeveError(unavailable);
    // Taken out of the registry while it slept: until it is in it again, nothing is written, and the
    // answer may be that of a primary that was replaced.
    if (beats === 0 && this.#isRegistered) throw toKeyreeveError(unavailable);
    this.#isRegistered ||= beats > 0;
    this.#beatAt = asOf;
    epochs.confirm(value, asOf);
  }

  async #connect(): Promise<pg.Client> {
    const client = await this.#options.servers.connect();
    client.on('end', () => {
      if (this.#client === client) this.#client = undefined;
    });
    await client.query(`SET synchronous_commit = on; SET client_connection_check_interval = 1000;
      SET statement_timeout = ${4 * askWaitMilliseconds}; SET default_transaction_read_only = off`);
    return client;
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    if (client !== undefined) void endClient(client);
  }
}
