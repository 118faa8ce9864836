import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import { type Clock, formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { keyFiles, type RootKey, type RootKeys } from '../keystores/keystores.ts';
import type { Schema, TableName } from '../storage/storage.ts';
import {
  backupFormat,
  backupFormatVersion,
  backupTables,
  encodeRow,
  keyFilesFolder,
  type Manifest,
  manifestPath,
  partPath,
  partTargetBytes,
  type Sums,
  sealLabel,
  sealPath,
  sumsPath,
} from './backup-format.ts';
import type { TarFile } from './tar.ts';

type Database = Kysely<Schema>;

/** Rows fetched at once; a bundle of the record can have several megabytes. */
const pageRows = 500;
const bundlePageRows = 4;

/** What a backup is made of, beside the database. */
export interface BackupContents {
  /** Asked once the snapshot stands: no key in it was made later. */
  readonly clock: Clock;
  readonly id: string;
  readonly label: string;
  readonly createdBy: string;
  readonly productVersion: string;
  readonly installationId: string;
  /** That of the snapshot seals the sums: a restore proves by it who made the backup. */
  readonly rootKeys: Pick<RootKeys, 'inForce'>;
  /** The folder of the keystore `file:`, where there is one. */
  readonly fileKeystoreFolder?: string | undefined;
}

/** What a backup had in it. */
export interface Written {
  readonly manifest: Manifest;
  readonly sums: Sums;
}

/** Reads one snapshot of the database and gives the files of a backup, in order. */
export class BackupWriter {
  readonly #db: Database;
  readonly #contents: BackupContents;
  readonly #files: { path: string; size: number; sha256: string }[] = [];
  readonly #rows: Record<string, number> = {};
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  #manifest: Manifest | undefined;

  constructor(snapshot: Database, contents: BackupContents) {
    this.#db = snapshot;
    this.#contents = contents;
    this.createdAt = contents.clock.now();
  }

  /** What was written; to be asked when `files` has ended. */
  get written(): Written {
    if (this.#manifest === undefined) throw new TypeError('the backup was not written');
    return { manifest: this.#manifest, sums: this.#sums() };
  }

  async *files(): AsyncGenerator<TarFile> {
    const rootKey = await this.#contents.rootKeys.inForce({ db: this.#db });
    this.#manifest = await makeManifest(this.#db, this.#contents, rootKey, this.createdAt);
    yield this.#note(manifestPath, Buffer.from(`${JSON.stringify(this.#manifest, null, 2)}\n`));
    const present = await tablesOf(this.#db);
    for (const table of backupTables) {
      if (present.has(table)) yield* this.#table(table);
    }
    const { fileKeystoreFolder } = this.#contents;
    if (fileKeystoreFolder !== undefined) yield* this.#keyFiles(fileKeystoreFolder);
    const sums = Buffer.from(`${JSON.stringify(this.#sums())}\n`);
    yield { path: sumsPath, bytes: sums };
    const seal = await rootKey.wrap(sealLabel(this.#contents.id), sha256(sums));
    yield { path: sealPath, bytes: seal };
  }

  async *#table(table: TableName): AsyncGenerator<TarFile> {
    let lines: Buffer[] = [];
    let size = 0;
    let number = 0;
    let rows = 0;
    const part = () => {
      const file = this.#note(partPath(table, ++number), Buffer.concat(lines));
      lines = [];
      size = 0;
      return file;
    };
    for await (const page of pagesOf(this.#db, table)) {
      for (const row of page) {
        const line = Buffer.from(encodeRow(row), 'utf8');
        lines.push(line);
        size += line.length;
        rows++;
        if (size >= partTargetBytes) yield part();
      }
    }
    if (size > 0) yield part();
    await this.#requireCount(table, rows);
    this.#rows[table] = rows;
  }

  /** The rows are counted by the database too: a page that went missing on the way would show. */
  async #requireCount(table: TableName, rows: number): Promise<void> {
    const { counted } = await wantedRows(this.#db, table)
      .select(({ fn }) => fn.countAll<number>().as('counted'))
      .executeTakeFirstOrThrow();
    if (Number(counted) === rows) return;
    const message = `Of ${Number(counted)} rows of ${table}, ${rows} were read.`;
    throw new KeyreeveError('integrity-failed', message, {
      hint: 'Make the backup again; if this comes back, the database is damaged.',
    });
  }

  /**
   * The files that key versions of this snapshot name, and no others: a key made meanwhile, or one
   * that is in no backup, stays out.
   */
  async *#keyFiles(folder: string): AsyncGenerator<TarFile> {
    const names = await keyFileNames(this.#db);
    for (const { path, bytes } of keyFiles(folder)) {
      const name = path.slice(path.indexOf('/') + 1).replace(/\.(pem|pub)$/, '');
      if (names.has(name)) yield this.#note(`${keyFilesFolder}/${path}`, bytes);
    }
  }

  #note(path: string, bytes: Uint8Array): TarFile {
    this.#files.push({ path, size: bytes.length, sha256: sha256(bytes).toString('hex') });
    return { path, bytes };
  }

  #sums(): Sums {
    return { files: this.#files, tables: this.#rows };
  }
}

async function makeManifest(
  db: Database,
  contents: BackupContents,
  rootKey: RootKey,
  createdAt: number,
): Promise<Manifest> {
  const version = await db
    .selectFrom('schema_version')
    .select(({ fn }) => fn.max('version').as('version'))
    .executeTakeFirstOrThrow();
  const epoch = await db.selectFrom('epoch').select('value').executeTakeFirstOrThrow();
  const record = await db
    .selectFrom('tree')
    .select(['size', 'origin', 'checkpoint'])
    .executeTakeFirst();
  return {
    format: backupFormat,
    formatVersion: backupFormatVersion,
    id: contents.id,
    label: contents.label,
    createdAt: formatTime(createdAt),
    createdBy: contents.createdBy,
    productVersion: contents.productVersion,
    installation: contents.installationId,
    schemaVersion: Number(version.version),
    rootKeyFingerprint: rootKey.fingerprint,
    epoch: epoch.value,
    record: record ?? null,
  };
}

/** An older database, backed up before its upgrade, has not every table. */
async function tablesOf(db: Database): Promise<ReadonlySet<string>> {
  const tables = await db.introspection.getTables();
  return new Set(tables.map((table) => table.name));
}

async function* pagesOf(
  db: Database,
  table: TableName,
): AsyncGenerator<readonly Record<string, unknown>[]> {
  if (table === 'key_version') {
    yield* versionPages(db);
    return;
  }
  const rows = wantedRows(db, table).selectAll();
  const count = table === 'bundle' ? bundlePageRows : pageRows;
  yield* paged(rows.stream(count), count);
}

/** Of the outbox, undelivered messages only: the others are history. */
function wantedRows(db: Database, table: TableName) {
  // All tables are read alike; the types of one stand for those of all.
  if (table !== 'outbox') return db.selectFrom(table as 'meta');
  const waiting = db.selectFrom('outbox').where('delivered_at', 'is', null);
  return waiting as unknown as ReturnType<typeof db.selectFrom<'meta'>>;
}

/** Key versions; the private halves of keys whose policy says so are left out. */
async function* versionPages(db: Database): AsyncGenerator<Record<string, unknown>[]> {
  const rows = db
    .selectFrom('key_version')
    .innerJoin('key', 'key.id', 'key_version.key_id')
    .selectAll('key_version')
    .select('key.policy_json as policy')
    .stream(pageRows);
  for await (const page of paged(rows, pageRows)) {
    yield page.map(({ policy, ...row }) =>
      isInNoBackup(String(policy)) ? { ...row, private_blob: null, store_key_id: null } : row,
    );
  }
}

function isInNoBackup(policy: string): boolean {
  return (JSON.parse(policy) as { recovery?: string }).recovery === 'none';
}

async function keyFileNames(db: Database): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const rows = db
    .selectFrom('key_version')
    .innerJoin('key', 'key.id', 'key_version.key_id')
    .select(['key_version.uri', 'key.policy_json'])
    .where('key_version.uri', 'like', 'file:%')
    .stream(pageRows);
  for await (const { uri, policy_json: policy } of rows) {
    if (!isInNoBackup(policy)) names.add(uri.slice('file:'.length));
  }
  return names;
}

/** Gathers single rows, so that the work between two rows is small. */
async function* paged<Item>(
  rows: AsyncIterable<Item>,
  count: number,
): AsyncGenerator<Record<string, unknown>[]> {
  let page: Record<string, unknown>[] = [];
  for await (const row of rows) {
    page.push(row as Record<string, unknown>);
    if (page.length < count) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
