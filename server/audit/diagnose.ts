import type { BundleOpenings, Problem } from './findings.ts';
import { asBuffer, fieldName, type OpenedField } from './leaf.ts';
import { parseTreeHead, type TreeHead } from './note.ts';
import { entriesPath, splitLeaves, tileWidth } from './tiles.ts';

/**
 * Says of each place of a bundle what happened to it, knowing what should be there: `hashes` of the
 * leaves found, `trusted` hashes of those recorded.
 */
export function diagnose(
  number: number,
  hashes: readonly Buffer[],
  trusted: readonly Buffer[],
  openings: BundleOpenings | undefined,
): Problem[] {
  const path = entriesPath(number, trusted.length);
  const found = new Set(hashes.map(key));
  const belongs = new Map(trusted.map((hash, index) => [key(hash), index]));
  // After a dropped entry all others stand too early: naming them would hide which one it is.
  const dropped = hashes.length < trusted.length;
  const problems: Problem[] = [];
  for (const [index, right] of trusted.entries()) {
    const hash = hashes[index];
    if (hash?.equals(right)) continue;
    const place = number * tileWidth + index;
    const isElsewhere = found.has(key(right));
    if (dropped && isElsewhere) continue;
    const where = { place, ...entryId(openings?.[index]), path };
    const from = hash === undefined ? undefined : belongs.get(key(hash));
    if (dropped) {
      problems.push({ code: 'entry-missing', ...where, message: 'The entry is not there.' });
    } else if (from !== undefined) {
      const message = `Here stands the entry of place ${number * tileWidth + from}.`;
      problems.push({ code: 'entry-moved', ...where, message });
    } else if (isElsewhere) {
      problems.push({ code: 'entry-moved', ...where, message: 'The entry is in another place.' });
    } else {
      const message = 'The entry is not the one that was recorded.';
      problems.push({ code: 'entry-damaged', ...where, message });
    }
  }
  return problems;
}

/** What a readable `log.continued` says of the log before; undefined for all other entries. */
export function continuedHead(
  opening: readonly OpenedField[],
): (TreeHead & { readonly lost: number }) | 'invalid' | undefined {
  const values = new Map(opening.map((field) => [fieldName(field.field), field.value]));
  if (values.get('action') !== 'log.continued' || values.get('kind') !== 'event') return undefined;
  const detail = values.get('detail');
  if (detail === undefined) return undefined;
  try {
    const { origin, size, root, lost } = JSON.parse(detail) as Record<string, unknown>;
    return { ...parseTreeHead(String(origin), String(size), String(root)), lost: Number(lost) };
  } catch {
    return 'invalid';
  }
}

/** The id that the values of an entry claim. */
export function entryId(opening: BundleOpenings[number] | undefined): { id?: string } {
  if (opening === undefined || 'problem' in opening) return {};
  const id = opening.find((field) => field.field === 1)?.value;
  return id === undefined ? {} : { id };
}

/** The leaves up to where the bundle breaks off. */
export function readableLeaves(bytes: Uint8Array): Buffer[] {
  try {
    return splitLeaves(bytes);
  } catch {
    const buffer = asBuffer(bytes);
    let end = 0;
    while (end + 2 <= buffer.length && end + 2 + buffer.readUInt16BE(end) <= buffer.length) {
      end += 2 + buffer.readUInt16BE(end);
    }
    return splitLeaves(buffer.subarray(0, end));
  }
}

export function shortList(indexes: readonly number[]): string {
  const shown = indexes.slice(0, 8).join(', ');
  return indexes.length > 8 ? `${shown} and ${indexes.length - 8} more` : shown;
}

function key(hash: Buffer): string {
  return hash.toString('latin1');
}
