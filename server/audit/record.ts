import type { Clock } from '../base/clock.ts';
import type { Storage } from '../storage/storage.ts';
import type { ExportFile, ExportOptions } from './export.ts';
import type { VerifyResult } from './findings.ts';
import type { Sealer } from './log-key.ts';
import type { Retained } from './retention.ts';
import type { RecordEntry, SearchQuery, SearchResult } from './search.ts';
import type { VerifyLiveOptions } from './verify-live.ts';

export interface AuditOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly installationId: string;
  /**
   * Names this node in the lease of the sequencer. The same after a restart, so that it need not
   * wait for the end of its own lease; never the same for two processes that run at once.
   */
  readonly holder: string;
  readonly sealer: Sealer;
  /** Where checkpoints are published, outside the data; undefined for nowhere. */
  readonly checkpointFolder: string | undefined;
  /** Folders to which values of old entries were moved. */
  readonly archives?: readonly string[];
}

export interface AuditHealth {
  readonly problems: readonly {
    readonly code: 'checkpoint-folder' | 'sequencer';
    readonly message: string;
  }[];
}

export interface EntryProof {
  readonly place: number;
  /** Null if the values are not here any more. */
  readonly fields: RecordEntry['fields'] | null;
  readonly salts: { readonly [field: string]: string };
  readonly leaf: Buffer;
  /** Audit path to the root of the checkpoint, the lowest first: RFC 6962 section 2.1.1. */
  readonly proof: readonly Buffer[];
  readonly checkpoint: string;
}

export interface ServedResource {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  /** Whether it may be cached for ever. */
  readonly immutable: boolean;
}

/** The record of all that was done. Entries come in through `storage.commit` alone. */
export interface AuditRecord {
  /**
   * Begins the log if there is none, then sequences and publishes. Throws `record-corrupt` where a
   * published checkpoint shows that the database is older than it was, or another.
   */
  start(): Promise<void>;
  /** Places what is waiting, publishes, and stops. */
  stop(): Promise<void>;
  /**
   * To be called once in a database that was restored from a backup, before `start`: the record
   * goes on under a new origin that names the last checkpoint of the old.
   */
  continueLog(): Promise<void>;
  /** The newest signed checkpoint. */
  checkpoint(): Promise<string>;
  /** Key lines of all logs of this record, the newest last. */
  keyLines(): Promise<string[]>;
  /** Gives a place to every entry that is waiting. */
  sequenceNow(): Promise<number>;
  /** Publishes the newest checkpoint now; a failure shows in `health`. */
  publishNow(): Promise<void>;
  search(query: SearchQuery): Promise<SearchResult>;
  /** An entry with its proof. Throws `not-found`. */
  entry(place: number): Promise<EntryProof>;
  inclusionProof(index: number, size: number): Promise<Buffer[]>;
  consistencyProof(oldSize: number, newSize: number): Promise<Buffer[]>;
  /** A file of the tlog-tiles layout, by its path under the prefix; undefined if there is none. */
  resource(path: string): Promise<ServedResource | undefined>;
  export(options?: ExportOptions): AsyncGenerator<ExportFile>;
  verify(
    options?: Pick<VerifyLiveOptions, 'checkpoint' | 'logKey' | 'progress'>,
  ): Promise<VerifyResult>;
  /** Moves values of entries older than `before` (milliseconds since 1970) to an archive folder. */
  retain(before: number, archive: string): Promise<Retained>;
  health(): AuditHealth;
  /** When the folder last had the newest checkpoint of its time, milliseconds since 1970. */
  readonly publishedAt: number | undefined;
}
