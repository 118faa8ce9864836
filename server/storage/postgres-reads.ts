import type pg from 'pg';
import { type PlainError, toKeyreeveError } from './group.ts';
import { databaseFault, isReadOnly } from './postgres-errors.ts';
import type { ReadExecutor } from './read-dialect.ts';

/** Reads on the pool of the moment: every query may take another connection. */
export class PostgresReads implements ReadExecutor {
  readonly #pool: { readonly current: pg.Pool };
  readonly #timeoutMilliseconds: number;

  constructor(pool: { readonly current: pg.Pool }, timeoutMilliseconds: number) {
    this.#pool = pool;
    this.#timeoutMilliseconds = timeoutMilliseconds;
  }

  async read(sql: string, parameters: readonly unknown[]): Promise<unknown[]> {
    try {
      const query = {
        text: sql,
        values: [...parameters],
        query_timeout: this.#timeoutMilliseconds,
      };
      return (await this.#pool.current.query(query)).rows;
    } catch (error) {
      throw toKeyreeveError(readFault(error));
    }
  }
}

/** Reads in one transaction of one connection. */
export class PostgresSnapshot implements ReadExecutor {
  readonly #client: pg.ClientBase;
  #cursors = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(client: pg.ClientBase) {
    this.#client = client;
  }

  /** One query after another: a connection runs no two at once. */
  read(sql: string, parameters: readonly unknown[]): Promise<unknown[]> {
    const result = this.#last.then(() => this.#run(sql, parameters));
    this.#last = result.catch(() => {});
    return result;
  }

  async *pages(
    sql: string,
    parameters: readonly unknown[],
    pageRows: number,
  ): AsyncIterableIterator<unknown[]> {
    const cursor = `"pages_${++this.#cursors}"`;
    await this.read(`DECLARE ${cursor} NO SCROLL CURSOR FOR ${sql}`, parameters);
    try {
      for (;;) {
        const page = await this.read(`FETCH ${pageRows} FROM ${cursor}`, []);
        if (page.length > 0) yield page;
        if (page.length < pageRows) return;
      }
    } finally {
      await this.read(`CLOSE ${cursor}`, []).catch(() => {});
    }
  }

  async #run(sql: string, parameters: readonly unknown[]): Promise<unknown[]> {
    try {
      return (await this.#client.query(sql, [...parameters])).rows;
    } catch (error) {
      throw toKeyreeveError(readFault(error));
    }
  }
}

export function readFault(error: unknown): PlainError {
  if (isReadOnly(error)) {
    return { code: 'internal', message: 'changes go through commit()', detail: String(error) };
  }
  return databaseFault(error);
}
