import type { KeyObject } from 'node:crypto';
import type { AlgorithmName, SchemeName } from '../../api/algorithms.ts';
import { policy as policySchema } from '../../api/fields.ts';
import { isHardware, type StorageTable } from '../../api/storage-classes.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { isId } from '../base/ids.ts';
import { LruMap } from '../base/lru-map.ts';
import { Mutexes } from '../base/mutex.ts';
import { type Sealer, serviceEntry } from '../commands/commands.ts';
import { type KeyMaterial, parsePublic, sign } from '../crypto/crypto.ts';
import { type Keystores, requireReviewed, type StoredKey } from '../keystores/keystores.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { folderOf, type KeyRecord, locationOf, type VersionRecord } from './key-record.ts';
import { currentVersion, keyNotFound } from './key-rules.ts';
import { KeyStore } from './key-store.ts';
import { newKey, versionOf } from './make-key.ts';
import { store } from './store-key.ts';

/** Private keys kept opened: parsing one costs up to a millisecond, an RSA key holds 4 KB. */
export const openedKeysMax = 10_000;
/** Versions that may have no row yet: the wrapped keys of those that were made last. */
const unstoredKeysMax = 1000;
/** Keys that one query looks at. */
const lookedAtOnce = 500;

export interface KeysOptions {
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly authorise: Authorise;
  /** Seals what is given out and comes back: cursors of lists. */
  readonly sealer: Sealer;
  /** The id of a principal by id or name. Error: `not-found`. */
  readonly principalId: (reference: string) => Promise<string>;
  /** How the storage table is applied (`KEYREEVE_STORAGE_TABLE`). */
  readonly storageTable?: StorageTable;
  /** Steps that fail where a keystore was removed: part of the write that puts a key into it. */
  readonly keystoreGuards?: (keystore: string) => readonly Step[];
  /** Steps that fail where a key must not be destroyed yet: part of the write that asks for it. */
  readonly destructionGuards?: (key: KeyRecord, now: number) => readonly Step[];
}

/** The keys of the installation: found, opened, and changed by commands. */
export class Keys {
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly sealer: Sealer;
  readonly principalId: (reference: string) => Promise<string>;
  readonly storageTable: StorageTable;
  readonly destructionGuards: (key: KeyRecord, now: number) => readonly Step[];
  readonly keystoreGuards: (keystore: string) => readonly Step[];
  readonly store: KeyStore;
  readonly rotations = new Mutexes();
  readonly #opened = new LruMap<string, Promise<KeyMaterial>>(openedKeysMax);
  readonly #unstored = new LruMap<string, StoredKey>(unstoredKeysMax);
  readonly #public = new LruMap<string, KeyObject>(openedKeysMax);

  constructor(options: KeysOptions) {
    this.storage = options.storage;
    this.keystores = options.keystores;
    this.clock = options.clock;
    this.authorise = options.authorise;
    this.sealer = options.sealer;
    this.principalId = options.principalId;
    this.destructionGuards = options.destructionGuards ?? (() => []);
    this.keystoreGuards = options.keystoreGuards ?? (() => []);
    this.storageTable = options.storageTable ?? 'default';
    this.store = new KeyStore(options.storage);
  }

  /**
   * A key by id or name, for a caller who wants to do something with it: without the right he
   * learns nothing of what exists. Errors: `forbidden`, `not-found`.
   */
  async lookup(
    caller: Caller,
    reference: string,
    action: Parameters<Authorise>[1],
  ): Promise<KeyRecord> {
    const key = this.store.cached(reference) ?? (await this.store.find(reference));
    if (key !== undefined) return key;
    const folder = isId(reference) ? '' : folderOf(reference);
    this.authorise(caller, action, { type: 'folder', folder });
    throw keyNotFound(reference);
  }

  /**
   * Refuses keys to be made, destroyed or exported while the access review of one of these keystores
   * is overdue. Those of the configuration have none. Error: `review-overdue`.
   */
  async requireReviewed(keystores: readonly string[]): Promise<void> {
    const all = this.keystores.all();
    const isSoftware = (name: string) =>
      all.some((keystore) => keystore.name === name && !isHardware(keystore.kind));
    for (const name of keystores) {
      if (!isSoftware(name)) await requireReviewed(this.storage, name, this.clock.now());
    }
  }

  /** The private key of a version, opened once and kept. */
  open(version: VersionRecord): Promise<KeyMaterial> {
    const slot = slotOf(version);
    const known = this.#opened.get(slot);
    if (known !== undefined) return known;
    const opening = this.#open(version);
    this.#opened.set(slot, opening);
    // A keystore that was away is asked again: a failure is not kept.
    opening.catch(() => this.#opened.delete(slot));
    return opening;
  }

  async #open(version: VersionRecord): Promise<KeyMaterial> {
    const keystore = this.keystores.holding(version.keystore);
    const blob = await this.#privateHalf(version);
    const material = await keystore.open(locationOf(version, blob));
    if (material.fingerprint !== version.fingerprint) {
      throw new KeyreeveError(
        'integrity-failed',
        `What lies at ${version.uri} is not the private key of this version.`,
        { hint: 'Bring the right key back, or restore a backup.' },
      );
    }
    return material;
  }

  async #privateHalf(version: VersionRecord) {
    const unstored = this.#unstored.get(slotOf(version));
    if (unstored === undefined) return this.store.privateHalf(version.keyId, version.version);
    return { private_blob: unstored.privateBlob, store_key_id: unstored.storeKeyId };
  }

  /**
   * Signs with a version: for those who have asked the state table, such as whoever issues
   * certificates.
   */
  async sign(version: VersionRecord, scheme: SchemeName, data: Uint8Array): Promise<Buffer> {
    const { privateKey } = await this.open(version);
    return sign(scheme, privateKey, data);
  }

  /** Lets a version be opened before its row is written: a CA signs for itself first. */
  keepUnstored(version: VersionRecord, stored: StoredKey): void {
    this.#unstored.set(slotOf(version), stored);
  }

  /** The public key of a version, without opening its private half. */
  publicKey(version: VersionRecord): KeyObject {
    const slot = slotOf(version);
    let key = this.#public.get(slot);
    if (key === undefined) {
      if (version.publicKey === null) throw new TypeError('a secret key has no public half');
      key = parsePublic(version.algorithm, version.publicKey);
      this.#public.set(slot, key);
    }
    return key;
  }

  /** Lets go of opened private keys, after they were destroyed. */
  forget(key: Pick<KeyRecord, 'versions'>): void {
    for (const version of key.versions) {
      const slot = slotOf(version);
      this.#opened.delete(slot);
      this.#public.delete(slot);
      this.#unstored.delete(slot);
    }
  }

  /**
   * Lets go of opened private keys that were destroyed: by another node, perhaps. The state table has
   * refused their use since then; this takes them out of memory. Returns how many there were.
   */
  async forgetDestroyed(): Promise<number> {
    const slots = [...this.#opened.keys()];
    const ids = [...new Set(slots.map((slot) => slot.slice(0, slot.indexOf('@'))))];
    let forgotten = 0;
    for (let index = 0; index < ids.length; index += lookedAtOnce) {
      const rows = await this.storage.db
        .selectFrom('key_version')
        .select(['key_id', 'version', 'fingerprint'])
        .where('key_id', 'in', ids.slice(index, index + lookedAtOnce))
        .where('state', '=', 'destroyed')
        .execute();
      for (const row of rows) {
        const slot = slotOf({ ...row, keyId: row.key_id });
        if (!this.#opened.delete(slot)) continue;
        this.#public.delete(slot);
        this.#unstored.delete(slot);
        forgotten += 1;
      }
    }
    return forgotten;
  }

  /** A key of the service itself, in the folder `system`: made at the first start. */
  async systemKey(
    name: string,
    algorithm: AlgorithmName,
    purpose: 'ca' | 'sign',
  ): Promise<KeyMaterial> {
    const existing = await this.store.find(name);
    if (existing !== undefined) return this.open(currentVersion(existing, this.clock.now())!);
    const now = this.clock.now();
    const key = newKey(
      { name, algorithm, purpose, labels: {}, policy: policySchema.parse({}) },
      { ownerId: 'system', kind: 'wrapped', now },
    );
    const stored = await store(
      this.keystores.named(key.keystore),
      key,
      { version: 1 },
      key.algorithm,
    );
    const version = {
      keyId: key.id,
      version: 1,
      algorithm: key.algorithm,
      state: 'active',
      origin: 'generated',
      createdAt: now,
      activatesAt: now,
      deactivatesAt: null,
    } as const;
    const record = { ...key, versions: [versionOf(stored, version, key.keystore)] };
    const write = {
      steps: [this.store.insertKey(record, now), this.store.insertVersion(version, stored)],
      entries: [
        serviceEntry(this.clock, 'key.create', 'ok', {
          keyId: key.id,
          keyName: name,
          keyVersion: '1',
        }),
      ],
      raisesEpoch: true,
    };
    // Where two nodes start at once, one of them makes it and the other takes it.
    await this.storage.commit(write).catch((error: unknown) => {
      if (!isKeyreeveError(error, 'already-exists')) throw error;
    });
    return this.systemKey(name, algorithm, purpose);
  }
}

/**
 * With the fingerprint: a version that was made here and lost to that of another node, or whose
 * write had no answer, has the number of the one that is stored, and is another key.
 */
function slotOf({
  keyId,
  version,
  fingerprint,
}: Pick<VersionRecord, 'keyId' | 'version' | 'fingerprint'>): string {
  return `${keyId}@${version} ${fingerprint}`;
}
