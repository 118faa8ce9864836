import type pg from 'pg';
import { takeServeLocks } from './postgres-lock.ts';
import type { PostgresServers } from './postgres-servers.ts';

/**
 * A process that stops in the midst of a transaction keeps others waiting: it must be over before
 * they give up (`commitTimeoutSeconds`), and be longer than a busy process pauses.
 */
const idleInTransactionMilliseconds = 3000;
/** A server that takes connections and answers nothing is given up after that. */
export const setUpMilliseconds = 5000;
/** A good-bye that nobody answers. */
const endMilliseconds = 1000;

/**
 * Ends a connection. Never rejects, and never takes long: where the network swallows everything, or
 * the server stands still, nobody answers the good-bye, and the connection is cut.
 */
export async function endClient(client: pg.Client): Promise<void> {
  const cut = setTimeout(() => {
    client.connection.stream.destroy();
  }, endMilliseconds);
  await client.end().catch(() => {});
  clearTimeout(cut);
}

/** Cuts the connection where what is done with it takes too long: then it rejects. */
export async function inTime<Result>(
  client: pg.Client,
  work: () => Promise<Result>,
): Promise<Result> {
  const late = setTimeout(() => void endClient(client), setUpMilliseconds);
  try {
    return await work();
  } finally {
    clearTimeout(late);
  }
}

/**
 * Connects to the primary, and takes the locks of a process that serves, or of one that has the
 * database alone, for as long as this connection lives. Groups are committed on the same
 * connection: a process that lost the locks cannot commit. `schema` is the newest one that this
 * program knows.
 */
export async function connectLocked(
  servers: PostgresServers,
  schema: number,
  alone: boolean,
): Promise<pg.Client> {
  const client = await servers.connect();
  try {
    // The server notices a client that is gone in the midst of a statement, and lets the lock go.
    await inTime(client, async () => {
      await client.query(`SET synchronous_commit = on; SET client_connection_check_interval = 1000;
        SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
        SET statement_timeout = 0;
        SET idle_in_transaction_session_timeout = ${idleInTransactionMilliseconds};
        SET default_transaction_read_only = off`);
      await takeServeLocks(client, schema, alone);
    });
    return client;
  } catch (error) {
    void endClient(client);
    throw error;
  }
}
