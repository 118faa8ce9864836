import type { OpenedField } from './leaf.ts';
import type { TreeHead } from './note.ts';

export const problemLimit = 1000;

/** What can be wrong with a record. Programs see the code. */
export const problemCodes = {
  'checkpoint-invalid': 'a checkpoint that is not well formed, or not signed by a key you hold',
  'checkpoint-inconsistent': 'a checkpoint whose root is not that of the entries before it',
  'checkpoint-newer': 'a checkpoint of more entries than are here',
  'root-mismatch': 'entries and tiles agree, but they are not what was signed',
  'tile-missing': 'a tile that is not there or has a wrong length',
  'tile-damaged': 'a tile with a wrong hash',
  'bundle-missing': 'an entry bundle that is not there',
  'bundle-damaged': 'an entry bundle that cannot be read to its end',
  'entry-damaged': 'an entry that is not the one that was recorded',
  'entry-missing': 'an entry that was dropped',
  'entry-moved': 'an entry in the place of another',
  'entry-malformed': 'an entry of unknown form',
  'opening-damaged': 'values of an entry that cannot be read',
  'opening-mismatch': 'a value that is not the one that was recorded',
  'continuation-invalid': 'a statement about the log before a restore that is not true',
} as const;

export type ProblemCode = keyof typeof problemCodes;

export interface Problem {
  readonly code: ProblemCode;
  /** Index of the entry in the tree. */
  readonly place?: number;
  /** Id of the entry, where it can be read. */
  readonly id?: string;
  /** The file of the layout of the export, also for the database. */
  readonly path?: string;
  readonly message: string;
}

export interface VerifyResult {
  readonly ok: boolean;
  /** Entries that were checked. */
  readonly size: number;
  readonly root: string;
  /** Entries whose values were not there to be checked (archived or past retention). */
  readonly withoutOpening: number;
  /** Fields that were kept back. */
  readonly redactedFields: number;
  /** At most `problemLimit`. */
  readonly problems: readonly Problem[];
  readonly notes: readonly string[];
}

/** Openings of the entries of a bundle, in order; a problem in place of one that cannot be read. */
export type BundleOpenings = readonly (readonly OpenedField[] | { readonly problem: string })[];

/** Where a tree is read from: the database or an export. Undefined is for what is not there. */
export interface TreeSource {
  leaves(number: number, width: number): Promise<Uint8Array | undefined>;
  openings(number: number, width: number): Promise<BundleOpenings | undefined>;
  tile(level: number, number: number, width: number): Promise<Uint8Array | undefined>;
}

export interface HeadToCheck {
  readonly head: TreeHead;
  /** What it is, for people: a file name. */
  readonly label: string;
  readonly code: 'checkpoint-inconsistent' | 'continuation-invalid';
}

export interface VerifyOptions {
  /** The size and root that were signed: what everything is measured by. */
  readonly head: TreeHead;
  /** Further heads of sizes up to that one. */
  readonly heads?: readonly HeadToCheck[];
  readonly progress?: (done: number, size: number) => void;
}
