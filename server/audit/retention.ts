import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { recordEvent } from './events.ts';
import type { BundleOpenings } from './findings.ts';
import { checkOpening, decodeLeaf, type OpenedField } from './leaf.ts';
import { formatOpenings } from './opening-lines.ts';
import { writeDurably } from './publish.ts';
import { readLeaves, readOpenings } from './record-store.ts';
import { archivedOpenings, decodeOpenings } from './sources.ts';
import { openingsPath, splitLeaves, tileWidth } from './tiles.ts';

/** Bundles whose values leave the database in one write. */
const bundlesPerWrite = 32;

export interface Retained {
  readonly bundles: number;
  readonly entries: number;
}

/**
 * Moves the values of old entries to an archive folder: of every full bundle whose newest entry is
 * older than `before` (milliseconds since 1970). Leaves and tiles stay, so that everything can still
 * be proven. A bundle leaves the database only when its file was read back and is right; an entry
 * says what was moved. Throws `record-corrupt` for a bundle that is damaged.
 */
export async function retain(
  storage: Storage,
  clock: Clock,
  before: number,
  archive: string,
): Promise<Retained> {
  let bundles = 0;
  for (;;) {
    const rows = await storage.db
      .selectFrom('bundle')
      .select('number')
      .where('width', '=', tileWidth)
      .where('openings', 'is not', null)
      .where('last_time', '<', before)
      .orderBy('number')
      .limit(bundlesPerWrite)
      .execute();
    const numbers = rows.map((row) => Number(row.number));
    if (numbers.length === 0) return { bundles, entries: bundles * tileWidth };
    for (const number of numbers) await archiveBundle(storage, number, archive);
    const detail = { bundles: numbers, archive };
    await storage.commit({
      steps: numbers.map((number) => forgetStep(storage, number)),
      entries: [recordEvent('record.archived', detail, clock)],
    });
    bundles += numbers.length;
  }
}

async function archiveBundle(storage: Storage, number: number, archive: string): Promise<void> {
  const leaves = await readLeaves(storage.db, number, tileWidth);
  const bytes = await readOpenings(storage.db, number);
  if (leaves === undefined || bytes === undefined) throw damaged(number);
  const openings = proven(number, leaves, decodeOpenings(bytes));
  const target = join(archive, openingsPath(number));
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const text = formatOpenings(number, openings, new Set());
  await writeDurably(dirname(target), basename(target), text);
  proven(number, leaves, (await archivedOpenings([archive], number, tileWidth)) ?? []);
}

/** The openings, if there is a right one for each leaf and all its fields. */
function proven(
  number: number,
  bundle: Uint8Array,
  openings: BundleOpenings,
): (readonly OpenedField[])[] {
  const leaves = splitLeaves(bundle);
  if (openings.length !== leaves.length) throw damaged(number);
  return openings.map((opening, index) => {
    if ('problem' in opening) throw damaged(number);
    const wrong = checkOpening(decodeLeaf(leaves[index]!), opening);
    if (wrong.length > 0) throw damaged(number);
    return opening;
  });
}

function forgetStep(storage: Storage, number: number): Step {
  return {
    query: storage.db
      .updateTable('bundle')
      .set({ openings: null })
      .where('number', '=', number)
      .where('openings', 'is not', null)
      .compile(),
    expect: { rows: 1, code: 'conflict', message: 'The bundle was archived by another process.' },
  };
}

function damaged(number: number): KeyreeveError {
  return new KeyreeveError(
    'record-corrupt',
    `Bundle ${number} of the record is damaged and was not moved to the archive.`,
    { hint: 'Run `keyreeve audit verify` to see what is damaged.' },
  );
}
