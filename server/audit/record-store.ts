import type { Kysely } from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import type { Expectation, Schema, Step } from '../storage/storage.ts';
import { asBuffer, hashLengthBytes } from './leaf.ts';
import {
  type BundleRow,
  edgeFromRows,
  type Placement,
  type TermRow,
  type TreeEdge,
} from './placement.ts';
import { joinLeaves, splitLeaves, tileWidth } from './tiles.ts';

type Database = Kysely<Schema>;

/** The one row of the table `tree`. */
export interface TreeRow {
  readonly size: number;
  readonly origin: string;
  /** The newest signed checkpoint. */
  readonly checkpoint: string;
}

export interface TailRow {
  readonly id: number;
  readonly leaf: Uint8Array;
  readonly opening: Uint8Array;
}

export interface StoredBundle {
  readonly number: number;
  readonly width: number;
  readonly leaves: Uint8Array;
  readonly openings: Uint8Array | null;
}

/** Rows of the search index in one statement. */
const manyTerms = 64;
const fewTerms = 8;

const movedMeanwhile: Omit<Expectation, 'rows'> = {
  code: 'conflict',
  message: 'The record was added to by another process.',
};

export async function readTree(db: Database): Promise<TreeRow | undefined> {
  const row = await db
    .selectFrom('tree')
    .select(['size', 'origin', 'checkpoint'])
    .executeTakeFirst();
  return row && { ...row, size: Number(row.size) };
}

/** The oldest entries without a place. */
export async function readTail(db: Database, limit: number): Promise<TailRow[]> {
  const rows = await db
    .selectFrom('entry_tail')
    .select(['id', 'leaf', 'opening'])
    .orderBy('id')
    .limit(limit)
    .execute();
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

/** Whether any entry waits for its place. */
export async function hasTail(db: Database): Promise<boolean> {
  const row = await db.selectFrom('entry_tail').select('id').limit(1).executeTakeFirst();
  return row !== undefined;
}

/** The newest entries without a place, newest first. */
export async function readTailBackwards(db: Database, limit: number): Promise<TailRow[]> {
  const rows = await db
    .selectFrom('entry_tail')
    .select(['id', 'leaf', 'opening'])
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({ ...row, id: Number(row.id) }));
}

/** The first `width` hashes of a tile, or undefined where there are not as many. */
export async function readTile(
  db: Database,
  level: number,
  number: number,
  width: number,
): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('tile')
    .select('hashes')
    .where('level', '=', level)
    .where('number', '=', number)
    .executeTakeFirst();
  if (row === undefined || row.hashes.length < width * hashLengthBytes) return undefined;
  return asBuffer(row.hashes).subarray(0, width * hashLengthBytes);
}

/** The first `width` leaves of a bundle as an entry bundle, or undefined where there is none. */
export async function readLeaves(
  db: Database,
  number: number,
  width: number,
): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('bundle')
    .select(['leaves', 'width'])
    .where('number', '=', number)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  if (Number(row.width) <= width) return asBuffer(row.leaves);
  return joinLeaves(splitLeaves(row.leaves).slice(0, width));
}

export async function readOpenings(db: Database, number: number): Promise<Buffer | undefined> {
  const row = await db
    .selectFrom('bundle')
    .select('openings')
    .where('number', '=', number)
    .executeTakeFirst();
  return row?.openings ? asBuffer(row.openings) : undefined;
}

/** What is needed to go on after `size` entries. Throws `record-corrupt` where a row is missing. */
export async function readEdge(db: Database, size: number): Promise<TreeEdge> {
  const tiles: Uint8Array[] = [];
  for (let level = 0; tileWidth ** level <= size; level++) {
    const count = Math.floor(size / tileWidth ** level);
    const width = count % tileWidth;
    const tile =
      width > 0 ? await readTile(db, level, Math.floor(count / tileWidth), width) : undefined;
    if (width > 0 && tile === undefined) throw missing(`a tile of level ${level}`);
    tiles.push(tile ?? Buffer.alloc(0));
  }
  return edgeFromRows(tiles, size % tileWidth > 0 ? await readOpenBundle(db, size) : undefined);
}

async function readOpenBundle(db: Database, size: number): Promise<BundleRow> {
  const row = await db
    .selectFrom('bundle')
    .selectAll()
    .where('number', '=', Math.floor(size / tileWidth))
    .executeTakeFirst();
  if (row === undefined || row.openings === null || Number(row.width) !== size % tileWidth) {
    throw missing('the last bundle');
  }
  return {
    number: Number(row.number),
    width: Number(row.width),
    leaves: asBuffer(row.leaves),
    openings: asBuffer(row.openings),
    first_time: Number(row.first_time),
    last_time: Number(row.last_time),
  };
}

/** The statements that store a placement. */
export function placementSteps(db: Database, placement: Placement): Step[] {
  const steps: Step[] = [];
  for (const row of placement.bundles) {
    const { width, leaves, openings, first_time, last_time } = row;
    const insert = db.insertInto('bundle').values(row);
    steps.push({
      query: insert
        .onConflict((conflict) =>
          conflict.column('number').doUpdateSet({ width, leaves, openings, first_time, last_time }),
        )
        .compile(),
    });
  }
  for (const row of placement.tiles) {
    const { width, hashes } = row;
    const insert = db.insertInto('tile').values(row);
    steps.push({
      query: insert
        .onConflict((conflict) =>
          conflict.columns(['level', 'number']).doUpdateSet({ width, hashes }),
        )
        .compile(),
    });
  }
  for (const row of placement.calls) {
    const insert = db.insertInto('bundle_call').values(row);
    const { terms } = row;
    steps.push({
      query: insert
        .onConflict((conflict) => conflict.column('number').doUpdateSet({ terms }))
        .compile(),
    });
  }
  return [...steps, ...termSteps(db, placement.terms)];
}

/**
 * Statements of two lengths only, so that they are prepared once: the last one is filled up with a
 * row that it has already.
 */
function termSteps(db: Database, terms: readonly TermRow[]): Step[] {
  const steps: Step[] = [];
  for (let start = 0; start < terms.length; ) {
    const length = terms.length - start >= manyTerms ? manyTerms : fewTerms;
    const rows = terms.slice(start, start + length);
    while (rows.length < length) rows.push(rows[0]!);
    const insert = db.insertInto('bundle_term').values(rows);
    steps.push({ query: insert.onConflict((conflict) => conflict.doNothing()).compile() });
    start += length;
  }
  return steps;
}

/** Moves the tree on, if it still is as it was read. */
export function moveTreeStep(db: Database, from: TreeRow, to: TreeRow, now: number): Step {
  return {
    query: db
      .updateTable('tree')
      .set({ size: to.size, origin: to.origin, checkpoint: to.checkpoint, updated_at: now })
      .where('id', '=', 1)
      .where('size', '=', from.size)
      .where('origin', '=', from.origin)
      .compile(),
    expect: { rows: 1, ...movedMeanwhile },
  };
}

export function makeTreeStep(db: Database, tree: TreeRow, now: number): Step {
  return {
    query: db
      .insertInto('tree')
      .values({ id: 1, ...tree, updated_at: now })
      .compile(),
    expect: { rows: 1, ...movedMeanwhile },
  };
}

/**
 * Deletes exactly these rows, in ascending order of ids. On PostgreSQL a row with an id in between
 * may be committed later: only runs without a gap are deleted by their ends.
 */
export function deleteTailSteps(db: Database, ids: readonly number[]): Step[] {
  const steps: Step[] = [];
  for (let start = 0; start < ids.length; ) {
    let end = start;
    while (ids[end + 1] === ids[end]! + 1) end++;
    steps.push({
      query: db
        .deleteFrom('entry_tail')
        .where('id', '>=', ids[start]!)
        .where('id', '<=', ids[end]!)
        .compile(),
      expect: { rows: end - start + 1, ...movedMeanwhile },
    });
    start = end + 1;
  }
  return steps;
}

function missing(what: string): KeyreeveError {
  return new KeyreeveError('record-corrupt', `The record cannot go on: ${what} is missing.`, {
    hint: 'Run `keyreeve audit verify`, then restore from a backup.',
  });
}
