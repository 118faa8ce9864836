import { forgetAlertsSteps, withAlerts } from '../alerts/alerts.ts';
import { createRecord, entryEncoder } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, systemClock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { serviceEntry } from '../commands/commands.ts';
import {
  openStoreKeys,
  type RootKey,
  type StoreKeys,
  sealLocation,
  secretSealer,
} from '../keystores/keystores.ts';
import { type Migration, migrations, openStorage, type Storage } from '../storage/storage.ts';
import { readFileStream } from './backup-file.ts';
import type { Manifest, Row } from './backup-format.ts';
import type { BackupVisitor, ReadResult } from './backup-reader.ts';
import { backupIntentKind } from './backups.ts';
import { continueCounters, loadRows } from './load-rows.ts';
import { type HostWork, quietLog, requireRootKey, storagePlace } from './place.ts';
import { postgresTarget, requireEmptyDatabase } from './postgres-target.ts';
import type { Unlock } from './protection.ts';
import { type RestoreTarget, requireEmptyFolder, sqliteTarget } from './restore-target.ts';
import { RestoredFiles } from './restored-files.ts';
import { announceSuccessor, type Replayed, replayTombstones } from './tombstones.ts';
import { openBackup, requireSeal } from './verify-backup.ts';

export interface RestoreOptions extends HostWork, Unlock {
  /** The backup: a file, or a stream of its bytes. */
  readonly file?: string;
  readonly source?: AsyncIterable<Uint8Array>;
  /**
   * True to revoke every token. A restored token is valid until its end, even one that was revoked
   * after the backup was made.
   */
  readonly revokeTokens?: boolean;
  /** True to leave out who is told of alerts, and what waited for them: in a drill nobody is told. */
  readonly withoutAlerts?: boolean;
  /** The schema's history; another one for tests. */
  readonly migrations?: readonly Migration[];
}

export interface Restored {
  readonly backup: string;
  readonly createdAt: string;
  readonly keys: number;
  /** Keys whose private half is in no backup, by their policy: they cannot be used any more. */
  readonly keysLeftOut: number;
  /** Entries of the record, those that wait for a place included. */
  readonly entries: number;
  /** Names of the keys that were destroyed after the backup, and are again. */
  readonly tombstonesReplayed: readonly string[];
  readonly tombstonesRefused: Replayed['refused'];
  /** Tokens that can be used. */
  readonly validTokens: number;
}

/**
 * Restores a backup into an empty data folder or database, with the root key that it was sealed
 * under brought along and the service stopped. The whole backup is read and checked, and the
 * database finished, before any of it can be seen: killed at any moment it leaves nothing but a
 * folder or schema of its own that the next restore removes. Errors: `not-empty`,
 * `root-key-missing`, `root-key-mismatch`, `wrong-passphrase`, `backup-invalid`, `schema-newer`,
 * `already-running`, `config-invalid`.
 */
export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { config } = options;
  const { databaseUrl } = storagePlace(config);
  if (databaseUrl === undefined) requireEmptyFolder(config.data);
  else await requireEmptyDatabase(databaseUrl);
  const source = options.source ?? readFileStream(options.file ?? '');
  const restore = new Restore(options);
  try {
    const read = await openBackup(source, options, restore);
    return await restore.finish(read);
  } catch (error) {
    await restore.abandon();
    throw error;
  } finally {
    await restore.close();
  }
}

class Restore implements BackupVisitor {
  readonly #options: RestoreOptions;
  readonly #clock: Clock;
  readonly #migrations: readonly Migration[];
  readonly #files: RestoredFiles;
  #rootKey: RootKey | undefined;
  #target: RestoreTarget | undefined;
  #storage: Storage | undefined;

  constructor(options: RestoreOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#migrations = options.migrations ?? migrations;
    this.#files = new RestoredFiles(options.config.fileKeystore?.folder);
  }

  /** Nothing is written before the root key and the schema were found to fit. */
  async manifest(manifest: Manifest): Promise<void> {
    const { config } = this.#options;
    this.#rootKey = await requireRootKey(sealLocation(config.seal), manifest.rootKeyFingerprint);
    if (manifest.schemaVersion > this.#migrations.length) {
      throw new KeyreeveError(
        'schema-newer',
        `The backup has schema ${manifest.schemaVersion}, this program knows ${this.#migrations.length}.`,
        {
          hint: `It was made by version ${manifest.productVersion}: restore it with that or a newer one.`,
        },
      );
    }
    const { dataFolder, databaseUrl } = storagePlace(config);
    this.#target =
      databaseUrl === undefined
        ? sqliteTarget(dataFolder)
        : await postgresTarget(databaseUrl, dataFolder);
    // At first with the schema that its rows are of.
    this.#storage = await this.#open(this.#migrations.slice(0, manifest.schemaVersion));
  }

  async rows(table: string, rows: readonly Row[]): Promise<void> {
    await loadRows(this.#storage!, table, rows);
  }

  async keyFile(path: string, bytes: Uint8Array): Promise<void> {
    this.#files.add(path, bytes);
  }

  /** Everything was read: proves it, finishes the database, and puts it into its place. */
  async finish(read: ReadResult): Promise<Restored> {
    const { manifest } = read;
    const rootKey = this.#rootKey!;
    await requireSeal(rootKey, read);
    // 1. The schema of this program.
    if (manifest.schemaVersion < this.#migrations.length) {
      await this.#storage!.close();
      this.#storage = await this.#open(this.#migrations);
    }
    const storage = this.#storage!;
    await continueCounters(storage, this.#clock.now());
    // 2. The record goes on as another log; what was destroyed later is destroyed again.
    const storeKeys = await openStoreKeys(storage, rootKey, this.#clock);
    const replayed = await this.#continueRecord(storage, storeKeys, manifest);
    // 3. What only a restore knows.
    // Whoever is told of alerts hears of it once the service runs.
    const told = this.#options.withoutAlerts === true ? storage : withAlerts(storage, this.#clock);
    await told.commit(this.#lastWrite(storage, manifest, replayed));
    const counts = await countAll(storage, this.#clock.now());
    const destroyed = await destroyedFiles(storage);
    await storage.close();
    this.#storage = undefined;
    // 4. Key files first: a database without them would be worse than files without a database.
    this.#files.place(destroyed);
    await this.#target!.publish();
    return {
      backup: manifest.id,
      createdAt: manifest.createdAt,
      ...counts,
      tombstonesReplayed: replayed.keys.map((tombstone) => tombstone.keyName),
      tombstonesRefused: replayed.refused,
    };
  }

  async abandon(): Promise<void> {
    await this.#storage?.close().catch(() => undefined);
    this.#files.remove();
    await this.#target?.abandon();
  }

  async close(): Promise<void> {
    await this.#rootKey?.close();
  }

  #open(history: readonly Migration[]): Promise<Storage> {
    return openStorage({
      ...this.#target!.place,
      clock: this.#clock,
      log: this.#options.log ?? quietLog,
      entryEncoder,
      migrate: true,
      alone: true,
      migrations: history,
    });
  }

  async #continueRecord(
    storage: Storage,
    storeKeys: StoreKeys,
    manifest: Manifest,
  ): Promise<Replayed> {
    const { checkpoints } = this.#options.config;
    const sealer = secretSealer(storeKeys);
    const record = createRecord({
      storage,
      clock: this.#clock,
      installationId: manifest.installation,
      holder: newId('int'),
      sealer,
      checkpointFolder: checkpoints,
    });
    if (manifest.record === null) {
      return replayTombstones(storage, checkpoints, await record.keyLines(), this.#clock);
    }
    await record.continueLog();
    const replayed = await replayTombstones(
      storage,
      checkpoints,
      await record.keyLines(),
      this.#clock,
    );
    await announceSuccessor(checkpoints, storage, sealer, manifest.record.origin);
    return replayed;
  }

  #lastWrite(storage: Storage, manifest: Manifest, replayed: Replayed) {
    const { db } = storage;
    const now = this.#clock.now();
    const revoked = this.#options.revokeTokens === true;
    const isQuiet = this.#options.withoutAlerts === true;
    const backup = {
      id: manifest.id,
      created_at: Date.parse(manifest.createdAt),
      created_by: manifest.createdBy,
      tree_size: manifest.record?.size ?? 0,
      label: manifest.label,
    };
    const voided = db
      .updateTable('approval')
      .set({ state: 'void', ended_at: now })
      .where('state', '=', 'pending');
    const revoke = db.updateTable('token').set({ revoked_at: now }).where('revoked_at', 'is', null);
    return {
      steps: [
        // The backup still holds the keys that are in it: their destruction names it.
        {
          query: db
            .insertInto('backup')
            .values(backup)
            .onConflict((conflict) => conflict.column('id').doNothing())
            .compile(),
        },
        // The intent of the backup itself is in it: that it was carried out is proven by now.
        { query: db.deleteFrom('intent').where('kind', '=', backupIntentKind).compile() },
        { query: db.updateTable('epoch').set({ value: manifest.epoch }).compile() },
        // What was agreed to then is not agreed to now, and some of it may have been executed since.
        { query: voided.compile() },
        ...(revoked ? [{ query: revoke.compile() }] : []),
        ...(isQuiet ? forgetAlertsSteps(storage) : []),
      ],
      entries: [
        serviceEntry(this.#clock, 'backup.restored', 'ok', {
          resource: manifest.id,
          detail: canonicalJson({
            createdAt: manifest.createdAt,
            destroyedAgain: replayed.keys.length,
            tombstonesRefused: replayed.refused.length,
            tokensRevoked: revoked,
            ...(isQuiet ? { alertsLeftOut: true } : {}),
          }),
        }),
      ],
      raisesEpoch: true,
    };
  }
}

async function countAll(storage: Storage, now: number) {
  const { db } = storage;
  const count = async (table: 'key' | 'entry_tail') => {
    const row = await db
      .selectFrom(table as 'key')
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return Number(row.count);
  };
  const tree = await db.selectFrom('tree').select('size').executeTakeFirst();
  const tokens = await db
    .selectFrom('token')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('revoked_at', 'is', null)
    .where('expires_at', '>', now)
    .executeTakeFirstOrThrow();
  const leftOut = await db
    .selectFrom('key_version')
    .select(({ fn }) => fn.count<number>('key_id').distinct().as('count'))
    .where('uri', '=', 'wrapped:')
    .where('private_blob', 'is', null)
    .where('state', '!=', 'destroyed')
    .executeTakeFirstOrThrow();
  return {
    keys: await count('key'),
    keysLeftOut: Number(leftOut.count),
    entries: (tree?.size ?? 0) + (await count('entry_tail')),
    validTokens: Number(tokens.count),
  };
}

/** The names of key files whose key is destroyed: they are not restored. */
async function destroyedFiles(storage: Storage): Promise<ReadonlySet<string>> {
  const rows = await storage.db
    .selectFrom('key_version')
    .select('uri')
    .where('state', '=', 'destroyed')
    .where('uri', 'like', 'file:%')
    .execute();
  return new Set(rows.map(({ uri }) => uri.slice('file:'.length)));
}
