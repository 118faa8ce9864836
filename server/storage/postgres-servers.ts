import { hostname } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import pg from 'pg';
import { splitDatabaseUrl } from '../base/database-url.ts';
import { type PlainError, StorageFault } from './group.ts';

const connectTimeoutMilliseconds = 3000;
/** Head start of a server before the next one is asked. */
const nextServerMilliseconds = 300;
const int8Oid = 20;

/** All numbers of the schema are below 2^53, so that 64-bit integers are read as numbers. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === int8Oid && format !== 'binary'
      ? Number
      : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
};

/** A standby, or a primary that was replaced. */
const askRole = `SELECT pg_is_in_recovery() AS "standby",
  CASE WHEN pg_is_in_recovery() THEN NULL
    ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS "timeline"`;

/**
 * The servers of one database, of which one is the primary. Everything is asked of that one: what a
 * standby knows may be old, and so may be what a former primary knows that was not stopped. Each
 * promotion raises the timeline; a server of a lower one than was seen before is left alone.
 */
export class PostgresServers {
  readonly #urls: readonly string[];
  readonly #replaced: () => void;
  #primary = 0;
  #timeline = '';

  /** `replaced` is told when another primary is found than the one before, before it is asked. */
  constructor(databaseUrl: string, replaced: () => void = () => {}) {
    this.#replaced = replaced;
    this.#urls = splitDatabaseUrl(databaseUrl) ?? [databaseUrl];
  }

  /** Of a connection to the server that was last found to be the primary. */
  config(): pg.ClientConfig & { connectionTimeoutMillis: number } {
    return {
      connectionString: this.#urls[this.#primary]!,
      connectionTimeoutMillis: connectTimeoutMilliseconds,
      keepAlive: true,
      fallback_application_name: `keyreeve ${process.pid} on ${hostname()}`.slice(0, 60),
      types,
    };
  }

  /**
   * A connection to the primary. The server that was it the last time is asked first; the next one
   * does not wait until nobody answers there.
   */
  async connect(): Promise<pg.Client> {
    const first = this.#primary;
    const won = new AbortController();
    const attempts = this.#urls.map(async (_, place) => {
      const index = (first + place) % this.#urls.length;
      if (place > 0) await setTimeout(place * nextServerMilliseconds, undefined, won);
      const client = await this.#connectTo(index);
      if (won.signal.aborted) {
        client.end().catch(() => {});
        throw new StorageFault(notPrimary);
      }
      won.abort();
      // Several may be looking at once: only what was found is noted.
      this.#primary = index;
      return client;
    });
    try {
      return await Promise.any(attempts);
    } catch (error) {
      const { errors } = error as AggregateError;
      // A server that cannot be reached says more than one that is a standby, as it should be.
      throw errors.find((one) => !isNotPrimary(one)) ?? errors[0];
    }
  }

  /** Throws where the server behind a new connection is not the primary, or no longer. */
  async requirePrimary(client: pg.ClientBase): Promise<void> {
    const asked = { text: askRole, query_timeout: connectTimeoutMilliseconds };
    const { rows } = await client.query<{ standby: boolean; timeline: string | null }>(asked);
    const { standby, timeline } = rows[0]!;
    if (standby || timeline === null) throw new StorageFault(notPrimary);
    // Of equal length, in hexadecimal: they compare as texts.
    if (timeline < this.#timeline) throw new StorageFault(replacedPrimary);
    const isOther = this.#timeline !== '' && timeline > this.#timeline;
    this.#timeline = timeline;
    if (isOther) this.#replaced();
  }

  async #connectTo(index: number): Promise<pg.Client> {
    const client = new pg.Client({ ...this.config(), connectionString: this.#urls[index]! });
    // Without a listener a connection that breaks between two queries would end the process.
    client.on('error', () => {});
    try {
      await client.connect();
      await this.requirePrimary(client);
      return client;
    } catch (error) {
      client.end().catch(() => {});
      throw error;
    }
  }
}

/** A class of clients that connect to what is the primary when they are made: for the pool. */
export function primaryClients(servers: PostgresServers): typeof pg.Client {
  return class extends pg.Client {
    constructor(config?: string | pg.ClientConfig) {
      super({ ...(config as pg.ClientConfig), ...servers.config() });
    }
  };
}

function isNotPrimary(error: unknown): boolean {
  return error instanceof StorageFault && error.plain.message === notPrimary.message;
}

const notPrimary: PlainError = {
  code: 'storage-unavailable',
  message: 'the database server is a standby: nothing was changed',
  hint: 'name the primary in KEYREEVE_DATABASE_URL, or all servers: postgresql://user@db1,db2/name',
};

const replacedPrimary: PlainError = {
  code: 'storage-unavailable',
  message: 'the database server was replaced by another primary: nothing was changed',
  hint: 'stop the old primary, or make it a standby; after a restore of the whole cluster, restart the service',
};
