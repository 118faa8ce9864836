import type { Selectable } from 'kysely';
import type { AlgorithmName, SchemeName } from '../../api/algorithms.ts';
import type { Policy } from '../../api/fields.ts';
import type { Purpose } from '../../api/purposes.ts';
import type { KeyState } from '../../api/states.ts';
import type { Resource } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { KeyLocation } from '../keystores/keystores.ts';
import type { Schema } from '../storage/storage.ts';

/** One generation of a key, as stored; its private half is fetched only to be opened. */
export interface VersionRecord {
  readonly keyId: string;
  readonly version: number;
  readonly algorithm: AlgorithmName;
  /** As stored: what is in force now is `effectiveState`. */
  readonly state: KeyState;
  /** SPKI in DER; null for secret keys. */
  readonly publicKey: Uint8Array | null;
  readonly fingerprint: string;
  /** The name of the keystore that holds the private half, and where it is there. */
  readonly keystore: string;
  readonly uri: string;
  readonly origin: string;
  readonly createdAt: number;
  readonly activatesAt: number | null;
  readonly deactivatesAt: number | null;
}

/** A key with all its versions, oldest first. */
export interface KeyRecord {
  readonly id: string;
  readonly name: string;
  readonly folder: string;
  readonly purpose: Purpose;
  readonly algorithm: AlgorithmName;
  readonly schemes: readonly SchemeName[];
  readonly policy: Policy;
  readonly labels: Readonly<Record<string, string>>;
  readonly ownerId: string;
  readonly keystore: string;
  readonly createdAt: number;
  readonly destroyAt: number | null;
  readonly revision: number;
  readonly versions: readonly VersionRecord[];
}

/** The keystores that hold its versions. */
export function keystoresOf({ versions }: Pick<KeyRecord, 'versions'>): string[] {
  const living = versions.filter(({ state }) => state !== 'destroyed');
  return [...new Set(living.map(({ keystore }) => keystore))];
}

export const keyColumns = [
  'id',
  'name',
  'folder',
  'purpose',
  'algorithm',
  'schemes_json',
  'policy_json',
  'labels_json',
  'owner_id',
  'keystore',
  'current_version',
  'created_at',
  'destroy_at',
  'revision',
] as const;

export const versionColumns = [
  'key_id',
  'version',
  'algorithm',
  'state',
  'public_key',
  'fingerprint',
  'uri',
  'origin',
  'created_at',
  'activates_at',
  'deactivates_at',
] as const;

export type KeyRow = Pick<Selectable<Schema['key']>, (typeof keyColumns)[number]>;
export type VersionRow = Pick<Selectable<Schema['key_version']>, (typeof versionColumns)[number]>;

export function keyFromRows(row: KeyRow, versions: readonly VersionRow[]): KeyRecord {
  return {
    id: row.id,
    name: row.name,
    folder: row.folder,
    purpose: row.purpose as Purpose,
    algorithm: row.algorithm as AlgorithmName,
    schemes: JSON.parse(row.schemes_json),
    policy: JSON.parse(row.policy_json),
    labels: JSON.parse(row.labels_json),
    ownerId: row.owner_id,
    keystore: row.keystore,
    createdAt: row.created_at,
    destroyAt: row.destroy_at,
    revision: row.revision,
    versions: versions.map((version) => versionFromRow(version, row.keystore)),
  };
}

function versionFromRow(row: VersionRow, keystore: string): VersionRecord {
  return {
    keyId: row.key_id,
    version: row.version,
    algorithm: row.algorithm as AlgorithmName,
    state: row.state as KeyState,
    publicKey: row.public_key,
    fingerprint: row.fingerprint,
    keystore: keystoreAt(row.uri, keystore),
    uri: row.uri,
    origin: row.origin,
    createdAt: row.created_at,
    activatesAt: row.activates_at,
    deactivatesAt: row.deactivates_at,
  };
}

/**
 * The keystore of a version. There is one `wrapped` and one `file`, and their addresses say so
 * (`certificates/signing` may have versions in either); the address of a token does not tell by
 * which keystore it is reached: that is the key's.
 */
export function keystoreAt(uri: string, keystoreOfKey: string): string {
  const scheme = uri.slice(0, uri.indexOf(':'));
  return scheme === 'wrapped' || scheme === 'file' ? scheme : keystoreOfKey;
}

/** What the access rules look at. */
export function resourceOf(
  key: Omit<KeyRecord, 'versions'> & Partial<Pick<KeyRecord, 'versions'>>,
): Extract<Resource, { type: 'key' }> {
  const { versions } = key;
  const { dualControl } = key.policy;
  return {
    type: 'key',
    id: key.id,
    name: key.name,
    folder: key.folder,
    purpose: key.purpose,
    ownerId: key.ownerId,
    labels: key.labels,
    // A draft has no versions yet, and an id that no repetition of the request will find again.
    ...(versions === undefined ? {} : { revision: key.revision }),
    keystores: [...new Set([key.keystore, ...(versions ?? []).map(({ keystore }) => keystore)])],
    ...(dualControl == null ? {} : { dualControl }),
  };
}

/**
 * What approval rules look at was asked of the key as it was known: refused where it has other labels
 * or another dual control by now. Error: `conflict`.
 */
export function requireAsAsked(known: KeyRecord, fresh: KeyRecord): void {
  const facts = ({ labels, policy }: KeyRecord) =>
    JSON.stringify([Object.entries(labels).sort(), policy.dualControl ?? null]);
  if (known.revision === fresh.revision || facts(known) === facts(fresh)) return;
  throw new KeyreeveError('conflict', `${fresh.name} was changed meanwhile.`, {
    hint: 'Repeat the request.',
  });
}

/** Everything before the last slash of a name; empty at the top. */
export function folderOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('/')));
}

/** Where to find the private half, for its keystore. */
export function locationOf(
  version: VersionRecord,
  blob: { private_blob: Uint8Array | null; store_key_id: string | null },
): KeyLocation {
  return {
    keyId: version.keyId,
    version: version.version,
    algorithm: version.algorithm,
    uri: version.uri,
    privateBlob: blob.private_blob,
    storeKeyId: blob.store_key_id,
  };
}
