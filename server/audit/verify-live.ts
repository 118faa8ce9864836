import type { Kysely } from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import type { Schema } from '../storage/storage.ts';
import type { HeadToCheck, Problem, VerifyOptions, VerifyResult } from './findings.ts';
import {
  type Checkpoint,
  parseVerifier,
  parseVerifiers,
  type TreeHead,
  type Verifier,
} from './note.ts';
import { readPublished } from './publish.ts';
import { readTree } from './record-store.ts';
import { databaseSource } from './sources.ts';
import { verifyTree } from './verify.ts';
import { headsOf, signed, withinTree } from './verify-export.ts';

export interface VerifyLiveOptions {
  /** A checkpoint that the caller kept. */
  readonly checkpoint?: string;
  /** Key lines that the caller kept; without them those of the database are believed. */
  readonly logKey?: string;
  /** The folder to which checkpoints are published: all that are there must agree. */
  readonly checkpointFolder?: string;
  readonly archives?: readonly string[];
  readonly progress?: VerifyOptions['progress'];
}

interface KnownLog {
  readonly verifier: Verifier;
  /** The last checkpoint of the log before it. */
  readonly predecessor: Checkpoint | undefined;
}

/**
 * Recomputes the record in the database: every leaf, value, bundle and tile, the newest checkpoint,
 * the published ones, and the one given. Reads only; entries that come in meanwhile are left for the
 * next time. Damage is in the result.
 */
export async function verifyLive(
  db: Kysely<Schema>,
  options: VerifyLiveOptions,
): Promise<VerifyResult> {
  const tree = await readTree(db);
  if (tree === undefined) throw new KeyreeveError('not-found', 'The record was not begun.');
  const problems: Problem[] = [];
  const notes: string[] = [];
  const logs = await readLogs(db, problems);
  const verifiers = logs.map((log) => log.verifier);
  const newest = signed(
    tree.checkpoint,
    verifiers,
    'the newest checkpoint',
    'checkpoint',
    problems,
  );
  if (newest !== undefined && (newest.size !== tree.size || newest.origin !== tree.origin)) {
    const message = 'The newest checkpoint is not that of the tree.';
    problems.push({ code: 'checkpoint-invalid', path: 'checkpoint', message });
  }
  const heads = headsOf(newest, 'the newest checkpoint');
  if (options.checkpoint !== undefined) {
    const trusted = options.logKey === undefined ? verifiers : parseVerifiers(options.logKey);
    const given = signed(options.checkpoint, trusted, 'your checkpoint', undefined, problems);
    heads.push(...headsOf(given, 'your checkpoint'));
  }
  heads.push(...(await publishedHeads(options.checkpointFolder, logs, problems)));
  const known = heads.filter((head) => !lostByRestore(head, logs, notes));
  const head: TreeHead = newest ?? unsignedHead(tree.origin, tree.size);
  const { progress } = options;
  const result = await verifyTree(databaseSource(db, options.archives), {
    head,
    heads: withinTree(known, head.size, problems),
    ...(progress && { progress }),
  });
  const all = [...problems, ...result.problems];
  return { ...result, ok: all.length === 0, problems: all, notes };
}

async function readLogs(db: Kysely<Schema>, problems: Problem[]): Promise<KnownLog[]> {
  const rows = await db
    .selectFrom('log_key')
    .select(['verifier_key', 'predecessor'])
    .orderBy('created_at')
    .execute();
  const verifiers = rows.map((row) => parseVerifier(row.verifier_key));
  return rows.map((row, index) => {
    const verifier = verifiers[index]!;
    const label = `the log before ${verifier.name}`;
    const predecessor =
      row.predecessor === null
        ? undefined
        : signed(row.predecessor, verifiers, label, undefined, problems);
    return { verifier, predecessor };
  });
}

async function publishedHeads(
  folder: string | undefined,
  logs: readonly KnownLog[],
  problems: Problem[],
): Promise<HeadToCheck[]> {
  if (folder === undefined) return [];
  const heads: HeadToCheck[] = [];
  for (const { verifier } of logs) {
    for (const { path, note } of await readPublished(folder, verifier.name)) {
      heads.push(...headsOf(signed(note, [verifier], path, path, problems), path));
    }
  }
  return heads;
}

/** A checkpoint of an older log from after the backup that was restored: known to be lost. */
function lostByRestore(
  { head, label }: HeadToCheck,
  logs: readonly KnownLog[],
  notes: string[],
): boolean {
  const next = logs.find(({ predecessor }) => predecessor?.origin === head.origin);
  const kept = next?.predecessor?.size;
  if (kept === undefined || head.size <= kept) return false;
  notes.push(
    `${label}: it is of ${head.size} entries; the backup that was restored had ${kept}. The others are not in this record.`,
  );
  return true;
}

/** No entry makes this root, so everything is reported as unproven. */
function unsignedHead(origin: string, size: number): TreeHead {
  return { origin, size, root: Buffer.alloc(32) };
}
