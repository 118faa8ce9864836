import type { AlgorithmName } from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isId } from '../base/ids.ts';
import { LruMap } from '../base/lru-map.ts';
import type { StoredKey } from '../keystores/keystores.ts';
import type { Step, Storage } from '../storage/storage.ts';
import {
  type KeyRecord,
  type KeyRow,
  keyColumns,
  keyFromRows,
  type VersionRow,
  versionColumns,
} from './key-record.ts';
import { rotationDueAt } from './key-rules.ts';

/** Keys kept in memory: a working set that no use reads the database for. */
export const cachedKeysMax = 20_000;
/** Rows looked at for one page of a list, where the caller may see few of them. */
export const listScanMax = 2000;

/** SQL of keys and their versions, and the cache in front of it. */
export class KeyStore {
  readonly #storage: Storage;
  readonly #byId = new LruMap<string, KeyRecord>(cachedKeysMax);
  readonly #idByName = new LruMap<string, string>(cachedKeysMax);

  constructor(storage: Storage) {
    this.#storage = storage;
    // Revocation beats caches: whatever changed, nothing older is used again.
    storage.onEpoch(() => {
      this.#byId.clear();
      this.#idByName.clear();
    });
  }

  /** From memory, or undefined: the hot path asks this first, without waiting. */
  cached(reference: string): KeyRecord | undefined {
    const id = isId(reference, 'key') ? reference : this.#idByName.get(reference);
    return id === undefined ? undefined : this.#byId.get(id);
  }

  /** A key by id or name; undefined where there is none. */
  async find(reference: string): Promise<KeyRecord | undefined> {
    const known = this.cached(reference);
    if (known !== undefined) return known;
    const epoch = this.#storage.epoch;
    const row = await this.#storage.db
      .selectFrom('key')
      .select(keyColumns)
      .where(isId(reference, 'key') ? 'id' : 'name', '=', reference)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const key = keyFromRows(row, await this.#versions([row.id]));
    // A change that came between the reads makes this copy old: it serves this call's check of
    // the epoch, and is not kept.
    if (epoch === this.#storage.epoch) {
      this.#byId.set(key.id, key);
      this.#idByName.set(key.name, key.id);
    }
    return key;
  }

  /** Straight from the database, for commands. Error: `not-found`. */
  async fresh(id: string): Promise<KeyRecord> {
    const row = await this.#storage.db
      .selectFrom('key')
      .select(keyColumns)
      .where('id', '=', id)
      .executeTakeFirst();
    if (row === undefined) throw new KeyreeveError('not-found', 'There is no such key.');
    return keyFromRows(row, await this.#versions([id]));
  }

  async #versions(ids: readonly string[]): Promise<VersionRow[]> {
    return this.#storage.db
      .selectFrom('key_version')
      .select(versionColumns)
      .where('key_id', 'in', ids)
      .orderBy('key_id')
      .orderBy('version')
      .execute();
  }

  /** Keys in the order of their names, after one name. */
  async page(
    filter: { folder?: string | undefined; purpose?: string | undefined },
    after: string,
    limit: number,
  ): Promise<KeyRecord[]> {
    const folder = filter.folder === '' ? undefined : filter.folder;
    // One lower bound: of two, SQLite takes the first, and reads all names from there.
    const from = folder === undefined ? after : later(after, `${folder}/`);
    let query = this.#storage.db
      .selectFrom('key')
      .select(keyColumns)
      .where('name', '>', from)
      .orderBy('name')
      .limit(limit);
    if (filter.purpose !== undefined) query = query.where('purpose', '=', filter.purpose);
    // '0' follows '/': the names in the folder and below it, by the index on names.
    if (folder !== undefined) query = query.where('name', '<', `${folder}0`);
    return this.#withVersions(await query.execute());
  }

  async #withVersions(rows: readonly KeyRow[]): Promise<KeyRecord[]> {
    if (rows.length === 0) return [];
    const byKey = new Map<string, VersionRow[]>();
    for (const version of await this.#versions(rows.map((row) => row.id))) {
      const list = byKey.get(version.key_id);
      if (list === undefined) byKey.set(version.key_id, [version]);
      else list.push(version);
    }
    return rows.map((row) => keyFromRows(row, byKey.get(row.id) ?? []));
  }

  /** The wrapped private key, where the keystore keeps it in the database. */
  async privateHalf(
    keyId: string,
    version: number,
  ): Promise<{ private_blob: Uint8Array | null; store_key_id: string | null }> {
    const row = await this.#storage.db
      .selectFrom('key_version')
      .select(['private_blob', 'store_key_id'])
      .where('key_id', '=', keyId)
      .where('version', '=', version)
      .executeTakeFirst();
    return row ?? { private_blob: null, store_key_id: null };
  }

  /** Keys whose waiting time is over. */
  async dueForDestruction(now: number): Promise<string[]> {
    const rows = await this.#storage.db
      .selectFrom('key')
      .select('id')
      .where('destroy_at', '<=', now)
      .orderBy('destroy_at')
      .limit(100)
      .execute();
    return rows.map((row) => row.id);
  }

  /** How many keys are due to be rotated. */
  async countRotationDue(now: number): Promise<number> {
    const row = await this.#storage.db
      .selectFrom('key')
      .select((expression) => expression.fn.countAll<number>().as('count'))
      .where('rotation_due_at', '<=', now)
      .executeTakeFirstOrThrow();
    return Number(row.count);
  }

  insertKey(key: KeyRecord, now: number): Step {
    return {
      query: this.#storage.db
        .insertInto('key')
        .values({
          id: key.id,
          name: key.name,
          folder: key.folder,
          purpose: key.purpose,
          algorithm: key.algorithm,
          schemes_json: JSON.stringify(key.schemes),
          policy_json: JSON.stringify(key.policy),
          labels_json: JSON.stringify(key.labels),
          owner_id: key.ownerId,
          keystore: key.keystore,
          current_version: 1,
          created_at: key.createdAt,
          destroy_at: key.destroyAt,
          rotation_due_at: rotationDueAt(key, now),
          revision: key.revision,
        })
        .compile(),
      expect: {
        rows: 1,
        code: 'already-exists',
        message: `There is a key named ${key.name} already.`,
        hint: `Look at it: keyreeve key show ${key.name}. To make a new version: keyreeve key rotate ${key.name}`,
      },
    };
  }

  insertVersion(version: NewVersion, stored: StoredKey): Step {
    return {
      query: this.#storage.db
        .insertInto('key_version')
        .values({
          key_id: version.keyId,
          version: version.version,
          algorithm: version.algorithm,
          state: version.state,
          public_key: stored.publicKey,
          fingerprint: stored.fingerprint,
          uri: stored.uri,
          private_blob: stored.privateBlob,
          store_key_id: stored.storeKeyId,
          origin: version.origin,
          created_at: version.createdAt,
          activates_at: version.activatesAt,
          deactivates_at: version.deactivatesAt,
          state_changed_at: version.createdAt,
          uses_reserved: 0,
        })
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'This version was made meanwhile.' },
    };
  }

  /**
   * Refuses the key of a CA under another name: as a signing key it would sign what callers bring,
   * and two CAs of one key would publish in one place.
   */
  notOfAuthority({ purpose }: KeyRecord, fingerprint: string): Step {
    const query = this.#storage.db
      .selectFrom('key_version')
      .innerJoin('key', 'key.id', 'key_version.key_id')
      .select('key.id')
      .where('key_version.fingerprint', '=', fingerprint);
    return {
      query: (purpose === 'ca' ? query : query.where('key.purpose', '=', 'ca')).compile(),
      expect: {
        rows: 0,
        code: 'already-exists',
        message: 'The key of a CA is here once, and this one is here already.',
        hint: 'Use the key that is there, or make a new one.',
      },
    };
  }

  /** Changes a key, if it is still at the revision that was looked at. */
  updateKey(before: KeyRecord, after: KeyRecord, now: number): Step {
    return {
      query: this.#storage.db
        .updateTable('key')
        .set({
          algorithm: after.algorithm,
          policy_json: JSON.stringify(after.policy),
          labels_json: JSON.stringify(after.labels),
          owner_id: after.ownerId,
          current_version: after.versions.at(-1)!.version,
          destroy_at: after.destroyAt,
          rotation_due_at: rotationDueAt(after, now),
          revision: before.revision + 1,
        })
        .where('id', '=', before.id)
        .where('revision', '=', before.revision)
        .compile(),
      expect: {
        rows: 1,
        code: 'conflict',
        message: `${before.name} was changed meanwhile.`,
        hint: 'Look at it again, then repeat the command.',
      },
    };
  }

  updateVersion(keyId: string, version: number, change: VersionChange): Step {
    return {
      query: this.#storage.db
        .updateTable('key_version')
        .set(change)
        .where('key_id', '=', keyId)
        .where('version', '=', version)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'The version was changed meanwhile.' },
    };
  }
}

/** The later one in the order of the index, which is that of the bytes. */
function later(one: string, other: string): string {
  return Buffer.compare(Buffer.from(one), Buffer.from(other)) > 0 ? one : other;
}

export interface NewVersion {
  readonly keyId: string;
  readonly version: number;
  readonly algorithm: AlgorithmName;
  readonly state: 'active' | 'pre-active';
  readonly origin: 'generated' | 'imported' | 'adopted';
  readonly createdAt: number;
  readonly activatesAt: number | null;
  readonly deactivatesAt: number | null;
}

export interface VersionChange {
  readonly state?: string;
  readonly state_changed_at?: number;
  readonly activates_at?: number | null;
  readonly deactivates_at?: number | null;
  readonly private_blob?: null;
  readonly uses_reserved?: number;
}
