import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** Prepared statements kept, by their text: more than the program has, fewer than a caller could make. */
const statementCacheLimit = 500;

/** Prepared statements of one connection, the least recently used dropped first. */
export class StatementCache {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, { statement: StatementSync; returnsRows: boolean }>();

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  get(sql: string): { statement: StatementSync; returnsRows: boolean } {
    const cached = this.#statements.get(sql);
    if (cached !== undefined) {
      if (this.#statements.size > statementCacheLimit / 2) {
        this.#statements.delete(sql);
        this.#statements.set(sql, cached);
      }
      return cached;
    }
    const statement = this.#database.prepare(sql);
    const made = { statement, returnsRows: statement.columns().length > 0 };
    this.#statements.set(sql, made);
    if (this.#statements.size > statementCacheLimit) {
      this.#statements.delete(this.#statements.keys().next().value!);
    }
    return made;
  }
}
