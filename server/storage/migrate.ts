import { type PlainError, StorageFault } from './group.ts';
import type { DialectName, Migration } from './migrations/migrations.ts';

/** A migration with its SQL written out, so that it can travel to the writer thread. */
export interface PlannedMigration {
  readonly id: number;
  readonly name: string;
  /** The lowest schema whose programs live with this one; its own id: no older ones. */
  readonly floor: number;
  readonly statements: readonly string[];
}

/** What a database says of its schema. */
export interface SchemaVersion {
  /** The highest migration that was run; 0: an empty database. */
  readonly version: number;
  /** The lowest schema whose programs live with it. */
  readonly floor: number;
}

/** Holds one row for each migration that was run. */
export const createVersionTable = `CREATE TABLE "schema_version" (
  "version" BIGINT PRIMARY KEY, "name" TEXT NOT NULL, "applied_at" BIGINT NOT NULL)`;

/** Writes the SQL out for one dialect and checks that the ids are 1, 2, 3 ... */
export function planMigrations(
  migrations: readonly Migration[],
  dialect: DialectName,
): readonly PlannedMigration[] {
  return migrations.map((migration, index) => {
    if (migration.id !== index + 1) throw new Error(`migration ${migration.name} is out of order`);
    const { id, name, floor = id } = migration;
    if (floor < 1 || floor > id) throw new Error(`migration ${name} has no possible floor`);
    return { id, name, floor, statements: migration.up(dialect) };
  });
}

/**
 * The migrations that a database at `version` still needs (0: an empty one). Refuses a newer
 * database (`schema-newer`) unless programs as old as this one live with it, and an older one
 * unless `migrate` is given (`schema-older`).
 */
export function pendingMigrations(
  { version, floor }: SchemaVersion,
  plan: readonly PlannedMigration[],
  migrate: boolean,
): readonly PlannedMigration[] {
  if (version > plan.length && floor > plan.length) {
    throw new StorageFault(newerSchema(version, plan.length));
  }
  const pending = plan.slice(version);
  if (version > 0 && pending.length > 0 && !migrate) {
    throw new StorageFault(olderSchema(version, plan.length));
  }
  return pending;
}

function newerSchema(version: number, known: number): PlainError {
  return {
    code: 'schema-newer',
    message: `the database has schema ${version}, this program knows ${known} at most`,
    hint: 'install the version of Keyreeve that last served this data, or a newer one',
  };
}

function olderSchema(version: number, known: number): PlainError {
  return {
    code: 'schema-older',
    message: `the database has schema ${version}, this program needs ${known}`,
    hint: 'run: keyreeve upgrade (it makes a backup first)',
  };
}
