import { createHash } from 'node:crypto';
import type { z } from 'zod';
import {
  backupFormat,
  backupFormatVersion,
  decodeRow,
  invalidBackup,
  keyFileLimitBytes,
  keyFilesFolder,
  type Manifest,
  manifestLimitBytes,
  manifestPath,
  manifestSchema,
  partLimitBytes,
  partPath,
  partTargetBytes,
  type Row,
  type Sums,
  sealLimitBytes,
  sealPath,
  sumsLimitBytes,
  sumsPath,
  sumsSchema,
} from './backup-format.ts';
import { readTar, type TarFile } from './tar.ts';

/** What is done with a backup while it is read. Nothing is proven before `readBackup` returns. */
export interface BackupVisitor {
  manifest?(manifest: Manifest): Promise<void>;
  /** Some rows of a table, in their order. */
  rows?(table: string, rows: readonly Row[]): Promise<void>;
  /** A file of the keystore `file:`; the path is `private/NAME` or `public/NAME`. */
  keyFile?(path: string, bytes: Uint8Array): Promise<void>;
}

export interface ReadResult {
  readonly manifest: Manifest;
  readonly sums: Sums;
  /** SHA-256 of `sums.json`, and the seal of it that only a holder of the root key can make. */
  readonly sumsDigest: Buffer;
  readonly seal: Uint8Array;
}

const keyFileName = /^(private|public)\/[A-Za-z0-9][A-Za-z0-9._-]{0,210}$/;

/**
 * Reads a decrypted backup to its end and checks all of it: the order of its files, every length
 * and SHA-256, every row, and the number of rows of each table. Throws `backup-invalid`.
 */
export async function readBackup(
  source: AsyncIterable<Uint8Array>,
  visitor: BackupVisitor,
): Promise<ReadResult> {
  const reader = new Reader(visitor);
  for await (const file of readTar(source, limitOf)) await reader.take(file);
  return reader.finish();
}

function limitOf(path: string): number {
  if (path === manifestPath) return manifestLimitBytes;
  if (path === sumsPath) return sumsLimitBytes;
  if (path === sealPath) return sealLimitBytes;
  return path.startsWith(`${keyFilesFolder}/`) ? keyFileLimitBytes : partLimitBytes;
}

class Reader {
  readonly #visitor: BackupVisitor;
  readonly #files: { path: string; size: number; sha256: string }[] = [];
  readonly #rows = new Map<string, number>();
  #manifest: Manifest | undefined;
  #sums: { readonly sums: Sums; readonly digest: Buffer } | undefined;
  #seal: Uint8Array | undefined;
  #table = '';
  #part = 0;

  constructor(visitor: BackupVisitor) {
    this.#visitor = visitor;
  }

  async take(file: TarFile): Promise<void> {
    const { path, bytes } = file;
    if (this.#seal !== undefined) throw invalidBackup('something follows its end');
    if (this.#sums !== undefined) {
      if (path !== sealPath) throw invalidBackup(`${sealPath} is missing`);
      this.#seal = bytes;
      return;
    }
    if (path === sumsPath) {
      this.#takeSums(bytes);
      return;
    }
    this.#files.push({ path, size: bytes.length, sha256: sha256(bytes).toString('hex') });
    if (this.#manifest === undefined) await this.#takeManifest(file);
    else if (path.startsWith('tables/')) await this.#takePart(file);
    else await this.#takeKeyFile(file);
  }

  finish(): ReadResult {
    if (this.#manifest === undefined || this.#sums === undefined || this.#seal === undefined) {
      throw invalidBackup('its end is missing');
    }
    const { sums, digest } = this.#sums;
    return { manifest: this.#manifest, sums, sumsDigest: digest, seal: this.#seal };
  }

  async #takeManifest({ path, bytes }: TarFile): Promise<void> {
    if (path !== manifestPath) throw invalidBackup(`it does not begin with ${manifestPath}`);
    const found = parseJson(bytes, path) as { format?: unknown; formatVersion?: unknown };
    if (found?.format !== backupFormat) throw invalidBackup('it is a backup of something else');
    if (Number(found.formatVersion) > backupFormatVersion) {
      throw invalidBackup(
        `its format version ${Number(found.formatVersion)} is newer than this program`,
      );
    }
    this.#manifest = parsed(manifestSchema, found, path);
    await this.#visitor.manifest?.(this.#manifest);
  }

  async #takePart({ path, bytes }: TarFile): Promise<void> {
    const table = /^tables\/([a-z][a-z0-9_]{0,62})\//.exec(path)?.[1];
    if (table === undefined) throw invalidBackup(`${path} has no place in a backup`);
    if (table !== this.#table && this.#rows.has(table))
      throw invalidBackup(`${path} is out of order`);
    this.#part = table === this.#table ? this.#part + 1 : 1;
    this.#table = table;
    if (path !== partPath(table, this.#part)) throw invalidBackup(`${path} is out of order`);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
    if (!text.endsWith('\n')) throw invalidBackup(`${path} ends in the middle of a row`);
    // Millions of empty rows would take many times their size in memory.
    if (lastRowStart(bytes) >= partTargetBytes) throw invalidBackup(`${path} has too many rows`);
    const rows = text.slice(0, -1).split('\n').map(decodeRow);
    this.#rows.set(table, (this.#rows.get(table) ?? 0) + rows.length);
    await this.#visitor.rows?.(table, rows);
  }

  async #takeKeyFile({ path, bytes }: TarFile): Promise<void> {
    const name = path.slice(keyFilesFolder.length + 1);
    if (!path.startsWith(`${keyFilesFolder}/`) || !keyFileName.test(name)) {
      throw invalidBackup(`${path} has no place in a backup`);
    }
    if (this.#files.some((file, index) => file.path === path && index < this.#files.length - 1)) {
      throw invalidBackup(`${path} is there twice`);
    }
    await this.#visitor.keyFile?.(name, bytes);
  }

  #takeSums(bytes: Uint8Array): void {
    const sums = parsed(sumsSchema, parseJson(bytes, sumsPath), sumsPath);
    if (sums.files.length !== this.#files.length) throw invalidBackup('files of it are missing');
    for (const [index, file] of this.#files.entries()) {
      const named = sums.files[index]!;
      if (named.path !== file.path || named.size !== file.size || named.sha256 !== file.sha256) {
        throw invalidBackup(`${file.path} is not what ${sumsPath} says`);
      }
    }
    for (const table of new Set([...Object.keys(sums.tables), ...this.#rows.keys()])) {
      if ((sums.tables[table] ?? -1) !== (this.#rows.get(table) ?? 0)) {
        throw invalidBackup(`the table ${table} has not as many rows as ${sumsPath} says`);
      }
    }
    this.#sums = { sums, digest: sha256(bytes) };
  }
}

/** Where the last row begins: the writer closes a part as soon as it has grown to its size. */
function lastRowStart(bytes: Uint8Array): number {
  const newline = 0x0a;
  return bytes.subarray(0, -1).lastIndexOf(newline) + 1;
}

function parseJson(bytes: Uint8Array, path: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw invalidBackup(`${path} is not JSON`, cause);
  }
}

function parsed<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  path: string,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw invalidBackup(`${path} is not as the format says`, result.error);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
