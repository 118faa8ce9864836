import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Kysely } from 'kysely';
import { type EntryField, entryFields } from '../../api/entry.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Schema } from '../storage/storage.ts';
import type { TreeSource } from './findings.ts';
import type { OpenedField } from './leaf.ts';
import { formatOpenings } from './opening-lines.ts';
import { writeDurably } from './publish.ts';
import { readTree } from './record-store.ts';
import { databaseSource } from './sources.ts';
import { entriesPath, openingsPath, tilePath, tilesInLevel, widthInTree } from './tiles.ts';

export interface ExportOptions {
  /** Fields to keep back, besides `digestKey`. */
  readonly redact?: readonly EntryField[];
  /** Lets `digestKey` out: whoever guesses an input can then confirm the guess. */
  readonly withDigestKeys?: boolean;
  /** Folders to which openings were moved. */
  readonly archives?: readonly string[];
}

export interface ExportFile {
  /** Relative, with slashes, safe to join to a folder. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/**
 * The whole record as files (docs/record-format.md, "Export"), a few at a time; the checkpoint is
 * the last. Entries that come in meanwhile are left out. Throws `record-corrupt` where something is
 * missing or cannot be read.
 */
export async function* exportRecord(
  db: Kysely<Schema>,
  options: ExportOptions,
): AsyncGenerator<ExportFile> {
  const tree = await readTree(db);
  if (tree === undefined) throw new KeyreeveError('not-found', 'The record was not begun.');
  const redact = redactedFields(options);
  const source = databaseSource(db, options.archives);
  const { size, origin, checkpoint } = tree;
  const about = {
    format: 'keyreeve-record',
    version: 1,
    origin,
    size,
    redacted: [...redact].sort(),
  };
  yield file('export.json', `${canonicalJson(about)}\n`);
  for (let level = 0; tilesInLevel(level, size) > 0; level++) {
    for (let number = 0; number < tilesInLevel(level, size); number++) {
      const width = widthInTree(level, number, size);
      const path = tilePath(level, number, width);
      yield { path, bytes: (await source.tile(level, number, width)) ?? missing(path) };
    }
  }
  for (let number = 0; number < tilesInLevel(0, size); number++) {
    const width = widthInTree(0, number, size);
    const path = entriesPath(number, width);
    yield { path, bytes: (await source.leaves(number, width)) ?? missing(path) };
    const openings = await readAll(source, number, width);
    if (openings !== undefined) {
      yield file(openingsPath(number), formatOpenings(number, openings, redact));
    }
  }
  yield file('checkpoint', checkpoint);
}

/** Writes the files into a folder that is made; each is on disk before it has its name. */
export async function writeExport(
  files: AsyncIterable<ExportFile>,
  folder: string,
): Promise<number> {
  let count = 0;
  for await (const { path, bytes } of files) {
    const target = join(folder, path);
    await mkdir(dirname(target), { recursive: true, mode: 0o700 });
    await writeDurably(dirname(target), basename(target), bytes);
    count++;
  }
  return count;
}

function redactedFields(options: ExportOptions): Set<string> {
  const redact = new Set<string>(options.redact ?? []);
  for (const name of redact) {
    if (Object.hasOwn(entryFields, name)) continue;
    throw new KeyreeveError('invalid-request', `An entry of the record has no field ${name}.`, {
      hint: `The fields are ${Object.keys(entryFields).join(', ')}.`,
    });
  }
  if (options.withDigestKeys !== true) redact.add('digestKey');
  return redact;
}

async function readAll(
  source: TreeSource,
  number: number,
  width: number,
): Promise<(readonly OpenedField[])[] | undefined> {
  const openings = await source.openings(number, width);
  if (openings === undefined) return undefined;
  if (openings.length !== width) missing(openingsPath(number));
  return openings.map((opening) =>
    'problem' in opening ? missing(openingsPath(number)) : opening,
  );
}

function file(path: string, text: string): ExportFile {
  return { path, bytes: Buffer.from(text, 'utf8') };
}

function missing(path: string): never {
  throw new KeyreeveError('record-corrupt', `The record is damaged at ${path}.`, {
    hint: 'Run `keyreeve audit verify` to see what is damaged.',
  });
}
