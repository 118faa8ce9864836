import type { KeyObject } from 'node:crypto';
import type { AlgorithmName } from '../../api/algorithms.ts';
import { policy as policySchema } from '../../api/fields.ts';
import type { Authorise, Caller } from '../base/caller.ts';
import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { isId } from '../base/ids.ts';
import { LruMap } from '../base/lru-map.ts';
import { Mutexes } from '../base/mutex.ts';
import { serviceEntry } from '../commands/commands.ts';
import { type KeyMaterial, parsePublic } from '../crypto/crypto.ts';
import type { Keystores } from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';
import { folderOf, type KeyRecord, locationOf, type VersionRecord } from './key-record.ts';
import { currentVersion, keyNotFound } from './key-rules.ts';
import { KeyStore } from './key-store.ts';
import { newKey, store, versionOf } from './make-key.ts';

/** Private keys kept opened: parsing one costs up to a millisecond, an RSA key holds 4 KB. */
export const openedKeysMax = 10_000;

export interface KeysOptions {
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly authorise: Authorise;
  /** The id of a principal by id or name. Error: `not-found`. */
  readonly principalId: (reference: string) => Promise<string>;
}

/** The keys of the installation: found, opened, and changed by commands. */
export class Keys {
  readonly storage: Storage;
  readonly keystores: Keystores;
  readonly clock: Clock;
  readonly authorise: Authorise;
  readonly principalId: (reference: string) => Promise<string>;
  readonly store: KeyStore;
  readonly rotations = new Mutexes();
  readonly #opened = new LruMap<string, Promise<KeyMaterial>>(openedKeysMax);
  readonly #public = new LruMap<string, KeyObject>(openedKeysMax);

  constructor(options: KeysOptions) {
    this.storage = options.storage;
    this.keystores = options.keystores;
    this.clock = options.clock;
    this.authorise = options.authorise;
    this.principalId = options.principalId;
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

  /** The private key of a version, opened once and kept. */
  open(version: VersionRecord): Promise<KeyMaterial> {
    const slot = `${version.keyId}@${version.version}`;
    const known = this.#opened.get(slot);
    if (known !== undefined) return known;
    const opening = this.#open(version);
    this.#opened.set(slot, opening);
    // A keystore that was away is asked again: a failure is not kept.
    opening.catch(() => this.#opened.delete(slot));
    return opening;
  }

  async #open(version: VersionRecord): Promise<KeyMaterial> {
    const keystore = this.keystores.holding(version.uri.slice(0, version.uri.indexOf(':')));
    const blob = await this.store.privateHalf(version.keyId, version.version);
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

  /** The public key of a version, without opening its private half. */
  publicKey(version: VersionRecord): KeyObject {
    const slot = `${version.keyId}@${version.version}`;
    let key = this.#public.get(slot);
    if (key === undefined) {
      if (version.publicKey === null) throw new TypeError('a secret key has no public half');
      key = parsePublic(version.algorithm, version.publicKey);
      this.#public.set(slot, key);
    }
    return key;
  }

  /** Lets go of opened private keys, after they were destroyed. */
  forget(key: KeyRecord): void {
    for (const version of key.versions) {
      this.#opened.delete(`${key.id}@${version.version}`);
      this.#public.delete(`${key.id}@${version.version}`);
    }
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
      'system',
      now,
    );
    const stored = await store(this.keystores.named(key.keystore), key, 1, key.algorithm);
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
    const record = { ...key, versions: [versionOf(stored, version)] };
    await this.storage.commit({
      steps: [this.store.insertKey(record, now), this.store.insertVersion(version, stored)],
      entries: [
        serviceEntry(this.clock, 'key.create', 'ok', {
          keyId: key.id,
          keyName: name,
          keyVersion: '1',
        }),
      ],
      raisesEpoch: true,
    });
    return this.systemKey(name, algorithm, purpose);
  }
}
