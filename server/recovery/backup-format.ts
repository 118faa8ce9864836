import { z } from 'zod';
import { KeyreeveError } from '../base/errors.ts';
import { type TableName, tableNames } from '../storage/storage.ts';

/** The version of the format that docs/backup.md describes. */
export const backupFormat = 'keyreeve-backup';
export const backupFormatVersion = 1;

export const manifestPath = 'manifest.json';
export const sumsPath = 'sums.json';
/** The hash of `sums.json`, sealed by the root key: whoever made the backup held it. */
export const sealPath = 'sums.seal';
export const keyFilesFolder = 'files/file-keystore';

/** A part is closed when it has grown to this: hashed and written at once, for some milliseconds. */
export const partTargetBytes = 1024 * 1024;
/** What a reader accepts: a part, and the longest row after it. A bundle of the record is longest. */
export const partLimitBytes = 128 * 1024 * 1024;
export const keyFileLimitBytes = 1024 * 1024;
export const manifestLimitBytes = 64 * 1024;
export const sumsLimitBytes = 64 * 1024 * 1024;
export const sealLimitBytes = 4096;

/** What each table is to a backup; every table of the schema is here. */
const roles: Record<TableName, 'kept' | 'left out'> = {
  // Made by the migrations of the restored database itself.
  schema_version: 'left out',
  meta: 'kept',
  // In the manifest: the row is there before a restore begins, and only ever grows.
  epoch: 'left out',
  // Held by processes that do not live any more.
  lease: 'left out',
  store_key: 'kept',
  key: 'kept',
  key_version: 'kept',
  keystore: 'kept',
  principal: 'kept',
  ca: 'kept',
  certificate: 'kept',
  certificate_name: 'kept',
  ca_version: 'kept',
  crl: 'kept',
  blocked_key: 'kept',
  certificate_profile: 'kept',
  certificate_binding: 'kept',
  token: 'kept',
  access_rules: 'kept',
  used_login_code: 'kept',
  // Counts of minutes that are over.
  rate_bucket: 'left out',
  // Answers may hold tokens in clear once opened; they serve for a day only.
  idempotency: 'left out',
  intent: 'kept',
  outbox: 'kept',
  entry_tail: 'kept',
  bundle: 'kept',
  tile: 'kept',
  bundle_term: 'kept',
  bundle_call: 'kept',
  tree: 'kept',
  log_key: 'kept',
  backup: 'kept',
  // Processes and their work at this moment.
  node: 'left out',
  job: 'left out',
  approval_rules: 'kept',
  approval: 'kept',
  approval_decision: 'kept',
  tombstone: 'kept',
  alert_target: 'kept',
};

/** The tables of a backup, each after those it refers to. */
export const backupTables: readonly TableName[] = tableNames.filter(
  (table) => roles[table] === 'kept',
);

const count = z.int().min(0);
const digest = z.string().regex(/^[0-9a-f]{64}$/);
const path = z.string().max(400);

/** What a backup says of itself, first. */
export const manifestSchema = z.strictObject({
  format: z.literal(backupFormat),
  formatVersion: z.literal(backupFormatVersion),
  id: z.string().max(100),
  label: z.string().max(200),
  createdAt: z.iso.datetime({ precision: 3 }),
  createdBy: z.string().max(100),
  productVersion: z.string().max(100),
  installation: z.string().max(100),
  schemaVersion: z.int().min(1),
  rootKeyFingerprint: z.string().max(100),
  epoch: count,
  /** The record: how many entries have a place, and the newest signed checkpoint. */
  record: z
    .strictObject({ size: count, origin: z.string().max(400), checkpoint: z.string().max(8192) })
    .nullable(),
});
export type Manifest = z.output<typeof manifestSchema>;

/** What was written, in order, and how many rows each table had. */
export const sumsSchema = z.strictObject({
  files: z.array(z.strictObject({ path, size: count, sha256: digest })),
  tables: z.record(z.string(), count),
});
export type Sums = z.output<typeof sumsSchema>;

export type RowValue = string | number | null | Uint8Array;
export type Row = Readonly<Record<string, RowValue>>;

/**
 * One line of a table: bytes as `{"$b": base64}`, all else as in JSON. A number that JSON cannot
 * hold exactly is refused (`integrity-failed`).
 */
export function encodeRow(row: Readonly<Record<string, unknown>>): string {
  const plain: Record<string, unknown> = {};
  for (const [column, value] of Object.entries(row)) {
    if (value instanceof Uint8Array) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      plain[column] = { $b: bytes.toString('base64') };
    } else if (value === null || typeof value === 'string' || Number.isSafeInteger(value)) {
      plain[column] = value;
    } else {
      const message = `The column ${column} holds a value of no known kind.`;
      throw new KeyreeveError('integrity-failed', message);
    }
  }
  return `${JSON.stringify(plain)}\n`;
}

/** Reads one line of a table. Throws `backup-invalid`. */
export function decodeRow(line: string): Row {
  let found: unknown;
  try {
    found = JSON.parse(line);
  } catch (cause) {
    throw invalidBackup('a row is not JSON', cause);
  }
  if (typeof found !== 'object' || found === null || Array.isArray(found)) {
    throw invalidBackup('a row is not an object');
  }
  const row: Record<string, RowValue> = {};
  for (const [column, value] of Object.entries(found)) {
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(column)) throw invalidBackup('a column has no valid name');
    row[column] = decodeValue(value);
  }
  return row;
}

function decodeValue(value: unknown): RowValue {
  if (value === null || typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  if (typeof value === 'object') {
    const { $b: text, ...more } = value as { $b?: unknown };
    if (typeof text === 'string' && Object.keys(more).length === 0) {
      const bytes = Buffer.from(text, 'base64');
      if (bytes.toString('base64') === text) return bytes;
    }
  }
  throw invalidBackup('a row holds a value of no known kind');
}

export function partPath(table: string, number: number): string {
  return `tables/${table}/${String(number).padStart(6, '0')}.ndjson`;
}

/** The label under which `sums.seal` is sealed: a seal cannot serve another backup. */
export function sealLabel(backupId: string): string {
  return `backup sums\n${backupId}`;
}

export function invalidBackup(why: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('backup-invalid', `The backup cannot be used: ${why}.`, {
    hint: 'Fetch the file again from where it is kept, or take another backup.',
    ...(cause === undefined ? {} : { cause }),
  });
}
