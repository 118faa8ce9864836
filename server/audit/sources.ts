import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import type { Schema } from '../storage/storage.ts';
import type { BundleOpenings, TreeSource } from './findings.ts';
import { decodeOpening } from './leaf.ts';
import { parseOpenings } from './opening-lines.ts';
import { readLeaves, readOpenings, readTile } from './record-store.ts';
import { entriesPath, openingsPath, splitOpenings, tilePath } from './tiles.ts';

/** The tree in the database. Openings that were moved away are looked for in the archive folders. */
export function databaseSource(db: Kysely<Schema>, archives: readonly string[] = []): TreeSource {
  return {
    leaves: (number, width) => readLeaves(db, number, width),
    tile: (level, number, width) => readTile(db, level, number, width),
    async openings(number, width) {
      const bytes = await readOpenings(db, number);
      if (bytes === undefined) return archivedOpenings(archives, number, width);
      const openings = decodeOpenings(bytes);
      // A bundle that has grown since is no fault; one that has more than fit in it is.
      return openings.length <= 256 ? openings.slice(0, width) : openings;
    },
  };
}

/** The tree in the folder of an export, with further folders for openings. */
export function folderSource(folder: string, archives: readonly string[] = []): TreeSource {
  return {
    leaves: (number, width) => readIfThere(join(folder, entriesPath(number, width))),
    tile: (level, number, width) => readIfThere(join(folder, tilePath(level, number, width))),
    openings: (number, width) => archivedOpenings([folder, ...archives], number, width),
  };
}

/** The openings of a bundle from the first folder that has them. */
export async function archivedOpenings(
  folders: readonly string[],
  number: number,
  width: number,
): Promise<BundleOpenings | undefined> {
  for (const folder of folders) {
    const bytes = await readIfThere(join(folder, openingsPath(number)));
    if (bytes !== undefined) return parseOpenings(bytes.toString('utf8'), number, width);
  }
  return undefined;
}

/** The openings of a bundle in the form of the database. */
export function decodeOpenings(bytes: Uint8Array): BundleOpenings {
  let openings: Buffer[];
  try {
    openings = splitOpenings(bytes);
  } catch (error) {
    // Where the list breaks off cannot be known: the lengths themselves may be what is damaged.
    return Array.from({ length: 256 }, () => ({ problem: (error as Error).message }));
  }
  return openings.map((opening) => {
    try {
      return decodeOpening(opening);
    } catch (error) {
      return { problem: (error as Error).message };
    }
  });
}

export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
