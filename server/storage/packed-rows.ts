/** Below this, packing costs more than it saves. */
const packedRowsMin = 16;

type Row = Record<string, unknown>;

/** Rows on their way between threads: where `bytes` is there, their blobs lie in it, one after the other. */
export interface PackedRows {
  readonly rows: unknown[];
  readonly blobs?: readonly string[];
  readonly bytes?: Uint8Array<ArrayBuffer>;
}

/**
 * Puts the blobs of many rows into one buffer, which can be handed over instead of copied; in the
 * rows stand their lengths. Each blob by itself would be copied, and be a buffer of its own on both sides:
 * half the price of reading the tail of the record. Changes the rows that are given.
 */
export function packRows(rows: unknown[]): PackedRows {
  const blobs = rows.length < packedRowsMin ? [] : blobColumns(rows as Row[]);
  if (blobs.length === 0) return { rows };
  const bytes = new Uint8Array(bytesOf(rows as Row[], blobs));
  let offset = 0;
  for (const row of rows as Row[]) {
    for (const column of blobs) {
      const blob = row[column];
      if (!(blob instanceof Uint8Array)) continue;
      bytes.set(blob, offset);
      offset += blob.length;
      row[column] = blob.length;
    }
  }
  return { rows, blobs, bytes };
}

/** The rows as they were before `packRows`. Their blobs are parts of one buffer. */
export function unpackRows({ rows, blobs, bytes }: PackedRows): unknown[] {
  if (blobs === undefined || bytes === undefined) return rows;
  let offset = 0;
  for (const row of rows as Row[]) {
    for (const column of blobs) {
      const length = row[column];
      if (typeof length !== 'number') continue;
      row[column] = new Uint8Array(bytes.buffer, offset, length);
      offset += length;
    }
  }
  return rows;
}

/** Columns that hold blobs and nulls alone: where there is a number, it is no length. */
function blobColumns(rows: readonly Row[]): string[] {
  return Object.keys(rows[0]!).filter((column) => {
    let found = false;
    for (const { [column]: value } of rows) {
      if (value instanceof Uint8Array) found = true;
      else if (value !== null) return false;
    }
    return found;
  });
}

function bytesOf(rows: readonly Row[], blobs: readonly string[]): number {
  let total = 0;
  for (const row of rows) {
    for (const column of blobs) total += (row[column] as Uint8Array | null)?.length ?? 0;
  }
  return total;
}
