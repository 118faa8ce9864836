import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import type { DialectName } from './migrations/migrations.ts';
import type { Schema } from './schema.ts';

/** What runs reads: a thread or a connection pool. */
export interface ReadExecutor {
  /** All rows of one query. */
  read(sql: string, parameters: readonly unknown[]): Promise<unknown[]>;
  /** Rows in pages, where a snapshot holds still for it. */
  pages?(
    sql: string,
    parameters: readonly unknown[],
    pageRows: number,
  ): AsyncIterableIterator<unknown[]>;
}

/**
 * Kysely over an executor: compiles for the dialect, runs reads, refuses everything else. Changes
 * go through `commit()` alone, so that none can miss the record or its group.
 */
export function readOnlyKysely(dialect: DialectName, executor: ReadExecutor): Kysely<Schema> {
  const driver = new ReadDriver(executor);
  const sqlite: Dialect = {
    createDriver: () => driver,
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
  };
  const postgres: Dialect = {
    createDriver: () => driver,
    createQueryCompiler: () => new PostgresQueryCompiler(),
    createAdapter: () => new PostgresAdapter(),
    createIntrospector: (db) => new PostgresIntrospector(db),
  };
  return new Kysely<Schema>({ dialect: dialect === 'sqlite' ? sqlite : postgres });
}

class ReadDriver implements Driver {
  readonly #connection: ReadConnection;

  constructor(executor: ReadExecutor) {
    this.#connection = new ReadConnection(executor);
  }

  async init(): Promise<void> {}
  async releaseConnection(): Promise<void> {}
  async destroy(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  async beginTransaction(): Promise<void> {
    throw refusedTransaction();
  }

  async commitTransaction(): Promise<void> {
    throw refusedTransaction();
  }

  async rollbackTransaction(): Promise<void> {
    throw refusedTransaction();
  }
}

/** Has no state of its own, so that one serves all queries at once. */
class ReadConnection implements DatabaseConnection {
  readonly #executor: ReadExecutor;

  constructor(executor: ReadExecutor) {
    this.#executor = executor;
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    refuseWrite(query);
    return { rows: (await this.#executor.read(query.sql, query.parameters)) as Row[] };
  }

  async *streamQuery<Row>(
    query: CompiledQuery,
    pageRows: number,
  ): AsyncIterableIterator<QueryResult<Row>> {
    refuseWrite(query);
    if (this.#executor.pages === undefined) {
      throw new KeyreeveError('internal', 'rows are streamed from a snapshot only');
    }
    for await (const rows of this.#executor.pages(query.sql, query.parameters, pageRows)) {
      yield { rows: rows as Row[] };
    }
  }
}

/** Raw SQL is let through here: the connection behind is read-only and refuses what writes. */
function refuseWrite({ query }: CompiledQuery): void {
  if (query.kind === 'SelectQueryNode' || query.kind === 'RawNode') return;
  throw new KeyreeveError('internal', 'changes go through commit()');
}

function refusedTransaction(): KeyreeveError {
  return new KeyreeveError('internal', 'transactions go through commit() or snapshot()');
}
