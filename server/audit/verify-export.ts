import { join } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import type { HeadToCheck, Problem, VerifyOptions, VerifyResult } from './findings.ts';
import {
  type Checkpoint,
  openCheckpoint,
  parseCheckpointText,
  parseNote,
  parseVerifiers,
  type TreeHead,
  type Verifier,
} from './note.ts';
import { readPublished } from './publish.ts';
import { folderSource, readIfThere } from './sources.ts';
import { verifyTree } from './verify.ts';

export interface VerifyExportOptions {
  /** The verifier's own checkpoint, from before the export or of the same moment. */
  readonly checkpoint: string;
  /** The verifier's own key lines of the log, one for each origin it has had. */
  readonly logKey: string;
  /** Folders to which openings were moved. */
  readonly archives?: readonly string[];
  /** A folder of published checkpoints, all of which must agree with the export. */
  readonly published?: string;
  readonly progress?: VerifyOptions['progress'];
}

/**
 * Checks an export offline (docs/record-format.md, "Checking an export"). Trusts the checkpoint and
 * the key lines given, and nothing in the folder. Damage is in the result; throws
 * `invalid-key-material` for a wrong key line, `not-found` where there is no export.
 */
export async function verifyExport(
  folder: string,
  options: VerifyExportOptions,
): Promise<VerifyResult> {
  const verifiers = parseVerifiers(options.logKey);
  if (verifiers.length === 0) {
    throw new KeyreeveError(
      'invalid-key-material',
      'There is no key line of the log in the file.',
      {
        hint: 'Use the file log-key.pub that you kept with your checkpoint.',
      },
    );
  }
  const problems: Problem[] = [];
  const given = signed(options.checkpoint, verifiers, 'your checkpoint', undefined, problems);
  const bytes = await readIfThere(join(folder, 'checkpoint'));
  const text = bytes?.toString('utf8') ?? '';
  const own = signed(text, verifiers, 'the checkpoint of the export', 'checkpoint', problems);
  const head = own ?? unsignedHead(text, given);
  if (head === undefined) {
    throw new KeyreeveError('not-found', 'There is no export of a record in the folder.', {
      hint: 'Make one with `keyreeve audit export DIR`.',
    });
  }
  const heads = [
    ...headsOf(given, 'your checkpoint'),
    ...headsOf(own, 'the checkpoint of the export'),
    ...(await publishedHeads(options.published, verifiers, problems)),
  ];
  const checked = withinTree(heads, head.size, problems);
  const source = folderSource(folder, options.archives);
  const { progress } = options;
  const result = await verifyTree(source, { head, heads: checked, ...(progress && { progress }) });
  const all = [...problems, ...result.problems];
  const notes =
    given !== undefined && given.size < head.size
      ? [
          `Your checkpoint covers the first ${given.size} entries; the others are covered by the checkpoint of the export, signed by the key you hold.`,
        ]
      : [];
  return { ...result, ok: all.length === 0, problems: all, notes };
}

/** The heads that a checkpoint states: its own, and that of the log which it continues. */
export function headsOf(checkpoint: Checkpoint | undefined, label: string): HeadToCheck[] {
  if (checkpoint === undefined) return [];
  const heads: HeadToCheck[] = [{ head: checkpoint, label, code: 'checkpoint-inconsistent' }];
  const { continues } = checkpoint;
  if (continues !== undefined) {
    heads.push({ head: continues, label: `what ${label} continues`, code: 'continuation-invalid' });
  }
  return heads;
}

/** Sets those heads aside that are beyond the tree, with a problem for each. */
export function withinTree(
  heads: readonly HeadToCheck[],
  size: number,
  problems: Problem[],
): HeadToCheck[] {
  return heads.filter(({ head, label }) => {
    if (head.size <= size) return true;
    const message = `${label}: it is of ${head.size} entries, but only ${size} are here.`;
    problems.push({ code: 'checkpoint-newer', message });
    return false;
  });
}

/** The checkpoint if its signature is good; a problem and undefined if not. */
export function signed(
  note: string,
  verifiers: readonly Verifier[],
  label: string,
  path: string | undefined,
  problems: Problem[],
): Checkpoint | undefined {
  try {
    return openCheckpoint(note, verifiers);
  } catch (error) {
    const message = `${label}: ${(error as Error).message}`;
    problems.push({ code: 'checkpoint-invalid', ...(path !== undefined && { path }), message });
    return undefined;
  }
}

async function publishedHeads(
  folder: string | undefined,
  verifiers: readonly Verifier[],
  problems: Problem[],
): Promise<HeadToCheck[]> {
  if (folder === undefined) return [];
  const heads: HeadToCheck[] = [];
  for (const { name } of verifiers) {
    for (const { path, note } of await readPublished(folder, name)) {
      heads.push(...headsOf(signed(note, verifiers, path, path, problems), path));
    }
  }
  return heads;
}

/** Where the export's own checkpoint is no good: the size it claims, to look at what is there. */
function unsignedHead(text: string, given: Checkpoint | undefined): TreeHead | undefined {
  try {
    const claimed = parseCheckpointText(parseNote(text).text);
    return given?.size === claimed.size ? given : claimed;
  } catch {
    return given;
  }
}
