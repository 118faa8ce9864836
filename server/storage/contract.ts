import type { CompiledQuery, Kysely } from 'kysely';
import type { EntryDraft } from '../../api/entry.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import type { Clock } from '../base/clock.ts';
import type { Migration } from './migrations/migrations.ts';
import type { Schema } from './schema.ts';

/** What a step must have done, or the whole write is undone and refused. */
export interface Expectation {
  /** Rows changed (INSERT, UPDATE, DELETE) or returned (SELECT). */
  readonly rows: number;
  /** The error if it did not, or if a constraint was broken. */
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string;
}

/** One statement of a write: made with `storage.db....compile()`, never run by itself. */
export interface Step {
  readonly query: CompiledQuery;
  readonly expect?: Expectation;
}

export interface OutboxDraft {
  readonly topic: string;
  readonly payload: string;
}

/**
 * The one way to change anything: all of it or nothing, together with its entries in the record.
 * Steps run in order; the first broken expectation undoes the write and nothing else of its group.
 */
export interface Write {
  readonly steps: readonly Step[];
  readonly entries: readonly EntryDraft[];
  readonly outbox?: readonly OutboxDraft[];
  /** True where caches must notice: raises the epoch. Uses leave it false. */
  readonly raisesEpoch?: boolean;
}

export interface Committed {
  /**
   * The epoch at the end of the group. A use that was allowed under an older epoch is checked
   * again before its answer leaves.
   */
  readonly epoch: number;
  /**
   * Milliseconds since the group was begun: what its steps demanded held after that, and its epoch
   * was the newest. 0 where one process serves the database.
   */
  age(): number;
}

/** Where storage tells what went wrong and what came back: pino's way of calling. */
export interface StorageLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface StorageHealth {
  readonly ready: boolean;
  /** Why not, for people. */
  readonly reason: string | undefined;
  readonly waiting: number;
}

export interface Storage {
  readonly dialect: 'sqlite' | 'postgres';
  /**
   * Names this process: whose leases and intents are whose. New at each start, and for a process
   * that was taken for dead: what it began under the old name is not its own any more.
   */
  readonly nodeId: string;
  /** Gives this process another name, and answers it. */
  renewNodeId(): string;
  /** Typed reads (`execute`), and the builder of steps (`compile`). A write through it is refused. */
  readonly db: Kysely<Schema>;
  /** The newest epoch this process has seen. */
  readonly epoch: number;
  /**
   * Resolves once the write is on disk. Rejects with the code of a broken expectation, or
   * `storage-full`, `storage-unavailable` (nothing was changed), `outcome-unknown` (the disk did
   * not answer within `commitTimeoutSeconds`; it may still happen), `overloaded`.
   */
  commit(write: Write): Promise<Committed>;
  /**
   * Milliseconds since the newest epoch of this process was known to be the newest of all; infinite
   * where the database is not to be had. 0 where one process serves it.
   */
  epochAge(): number;
  /**
   * Asks the database for the epoch, and answers it. Error: `storage-unavailable`, within about a
   * second.
   */
  refreshEpoch(): Promise<number>;
  /** Called when the epoch was raised, by whichever node, before any answer under it leaves. */
  onEpoch(listener: (epoch: number) => void): void;
  /** Runs reads in one consistent snapshot, while writes go on. */
  snapshot<Result>(use: (db: Kysely<Schema>) => Promise<Result>): Promise<Result>;
  health(): StorageHealth;
  /** Waits for what is under way, then lets go of the lock. */
  close(): Promise<void>;
}

export interface StorageOptions {
  /** Absolute path of the data folder; with a database URL storage puts nothing there. */
  readonly dataFolder: string;
  /** `postgresql://...`: PostgreSQL instead of SQLite in the data folder. */
  readonly databaseUrl?: string;
  readonly clock: Clock;
  readonly log: StorageLog;
  /**
   * A module that exports `encodeEntry(draft: EntryDraft): { leaf, opening }`. The writer thread
   * loads it, so that hashing costs the event loop nothing.
   */
  readonly entryEncoder: URL;
  /** Seconds after which a commit or a read without an answer is given up (5). */
  readonly commitTimeoutSeconds?: number;
  /** True for `keyreeve upgrade`: an older schema is brought up to date instead of refused. */
  readonly migrate?: boolean;
  /**
   * True for work that needs the database for itself (restore, moving the root key): refused
   * (`already-running`) while a process serves it, and none starts beside it. SQLite is served by
   * one process in any case.
   */
  readonly alone?: boolean;
  /** The history of the schema; another one for tests. */
  readonly migrations?: readonly Migration[];
}

/** The options with every default filled in, as the engines take them. */
export type ResolvedStorageOptions = Required<Omit<StorageOptions, 'databaseUrl'>>;
