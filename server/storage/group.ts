import type { EntryDraft } from '../../api/entry.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Expectation, OutboxDraft, Write } from './contract.ts';

/** An error as plain data, so that it can pass from one thread to another. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
  /** What the engine said, for the log alone. */
  readonly detail?: string | undefined;
}

/** What became of a group: one transaction that holds several writes. */
export type GroupReply =
  | {
      readonly committed: true;
      /** The epoch at the end of the group. */
      readonly epoch: number;
      /** False where the group may have written nothing: then no standby had to agree to it. */
      readonly isWritten: boolean;
      /** The writes that were undone, by their index in the group; all others are on disk. */
      readonly failures: readonly (readonly [index: number, error: PlainError])[];
    }
  | { readonly committed: false; readonly error: PlainError };

/**
 * What commits groups: one for each kind of database. Every error is an answer, never a rejection.
 */
export interface GroupEngine {
  /** Groups that may be under way at once. */
  readonly mostInFlight: number;
  /**
   * Commits one group. A probe has no writes: it touches the epoch row, and does whatever it takes
   * (a new connection, a new thread) to get the database back.
   */
  run(writes: readonly Write[], probe: boolean): Promise<GroupReply>;
  /** The database did not answer in time: gives up what can be given up, says what callers hear. */
  interrupt(): PlainError;
}

/** A step as it travels to the thread that runs it. */
export interface WireStep {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly expect?: Expectation | undefined;
}

/** A write as it travels. One that only adds entries is the bare array of them: the hot path. */
export type WireWrite = readonly EntryDraft[] | FullWireWrite;

export interface FullWireWrite {
  readonly steps: readonly WireStep[];
  readonly entries: readonly EntryDraft[];
  readonly outbox: readonly OutboxDraft[];
  readonly raisesEpoch: boolean;
  /** For the rows of the outbox. */
  readonly now: number;
}

/** An entry made ready for the tail by the record's encoder. */
export interface EncodedEntry {
  readonly leaf: Uint8Array;
  readonly opening: Uint8Array;
}

export type EntryEncoder = (draft: EntryDraft) => EncodedEntry;

/** Loads the encoder that the wiring named. The module must export `encodeEntry`. */
export async function loadEncoder(location: string): Promise<EntryEncoder> {
  const loaded = (await import(location)) as { encodeEntry?: unknown };
  if (typeof loaded.encodeEntry !== 'function') {
    throw new TypeError(`the entry encoder ${location} does not export encodeEntry`);
  }
  return loaded.encodeEntry as EntryEncoder;
}

/** The salted hashing of a write's entries, or why one of them cannot be encoded. */
export function encodeEntries(
  encode: EntryEncoder,
  drafts: readonly EntryDraft[],
): EncodedEntry[] | PlainError {
  try {
    return drafts.map((draft) => encode(draft));
  } catch (error) {
    if (isKeyreeveError(error)) {
      return { code: error.code, message: error.message, hint: error.hint };
    }
    return { code: 'internal', message: 'an entry cannot be encoded', detail: messageOf(error) };
  }
}

/** Says which expectation was broken. */
export function brokenExpectation(expect: Expectation): PlainError {
  return { code: expect.code, message: expect.message, hint: expect.hint };
}

/** Carries a plain error through a throw, inside the engines. */
export class StorageFault extends Error {
  readonly plain: PlainError;

  constructor(plain: PlainError) {
    super(plain.message);
    this.plain = plain;
  }
}

export function toKeyreeveError(plain: PlainError): KeyreeveError {
  return new KeyreeveError(plain.code, plain.message, {
    ...(plain.hint === undefined ? {} : { hint: plain.hint }),
    ...(plain.detail === undefined ? {} : { cause: new Error(plain.detail) }),
  });
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
