import type { ResolvedStorageOptions, Storage, StorageOptions } from './contract.ts';
import { migrations } from './migrations/migrations.ts';
import { openSqlite } from './sqlite.ts';

export { compiledOnce } from './compiled-once.ts';
export type {
  Committed,
  Expectation,
  OutboxDraft,
  Step,
  Storage,
  StorageHealth,
  StorageLog,
  StorageOptions,
  Write,
} from './contract.ts';
export { underLease } from './held-lease.ts';
export { acquireLease, fenceStep, type Lease, releaseLease, renewLease } from './lease.ts';
export { type Migration, migrations } from './migrations/migrations.ts';
export { aboveTerm, type Schema, type TableName, tableNames } from './schema.ts';
export { withCommit } from './with-commit.ts';

const defaultCommitTimeoutSeconds = 5;

/**
 * Opens the database, makes a fresh one where there is none, and takes the lock of a process that
 * serves: SQLite has one, PostgreSQL as many as there are nodes. Throws `already-running`, `lax-mode`, `schema-newer`, `schema-older`,
 * `integrity-failed`, `storage-full` or `storage-unavailable`.
 */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { databaseUrl, ...rest } = options;
  const resolved: ResolvedStorageOptions = {
    commitTimeoutSeconds: defaultCommitTimeoutSeconds,
    migrate: false,
    alone: false,
    migrations,
    ...rest,
  };
  if (databaseUrl === undefined) return openSqlite(resolved);
  // Loaded only where it is used: its driver would lengthen every start.
  const { openPostgres } = await import('./postgres.ts');
  return openPostgres(databaseUrl, resolved);
}
