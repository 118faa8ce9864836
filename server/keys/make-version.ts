import { randomBytes } from 'node:crypto';
import type { Json } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Intent } from '../commands/commands.ts';
import type { Keystore, StoredKey } from '../keystores/keystores.ts';
import type { Step } from '../storage/storage.ts';
import type { KeyDraft } from './draft-key.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { effectiveState, endOf } from './key-rules.ts';
import type { NewVersion } from './key-store.ts';
import {
  requireAlgorithm,
  requireKeystoreAllowed,
  requireSuccessor,
  versionOf,
} from './make-key.ts';
import { isAdopted, type KeySource, store } from './store-key.ts';

/** Versions of one key, at most: reads of a key stay small. */
export const versionsMax = 1000;

/** Of an attempt's name: enough to tell apart all that ever try to make one version. */
const attemptBytes = 6;

/** Names one making of a version: in its intent and in its keystore. */
export function newAttempt(): string {
  return randomBytes(attemptBytes).toString('hex');
}

/** A version whose private half lies in its keystore, and which has no row yet. */
export interface MadeVersion {
  /** The key as it is once the steps are written. */
  readonly record: KeyRecord;
  readonly version: VersionRecord;
  readonly steps: readonly Step[];
  /** Removes what lies in the keystore, where the steps are not written. */
  undo(): Promise<void>;
}

/**
 * What goes on the record before a version is made in this keystore: undefined where nothing is
 * left outside the database.
 */
export function makingIntent(
  keystore: Keystore,
  key: { readonly id: string; readonly name: string },
  version: number,
  attempt: string,
): Intent | undefined {
  if (!keystore.capabilities.external) return undefined;
  return {
    kind: 'key.make',
    payload: { keyId: key.id, version, attempt, name: key.name, keystore: keystore.name },
  };
}

/**
 * Makes the first version of a key, takes it in or takes it over, and says what to write. Until that is written,
 * `Keys.sign` and `Keys.open` find it all the same.
 */
export async function makeFirstVersion(
  keys: Keys,
  key: KeyDraft,
  from: {
    readonly material: KeySource;
    readonly origin: NewVersion['origin'];
    /** That of the intent; needed wherever something is made outside the database. */
    readonly attempt?: string;
    /** Of a key that lived elsewhere before; now where left out. */
    readonly activatesAt?: number;
  },
  now: number,
): Promise<MadeVersion> {
  const keystore = keys.keystores.named(key.keystore);
  await keys.requireReviewed([keystore.name]);
  const stored = await store(keystore, key, { version: 1, attempt: from.attempt }, from.material);
  const activatesAt = from.activatesAt ?? now;
  const version: NewVersion = {
    keyId: key.id,
    version: 1,
    algorithm: key.algorithm,
    state: activatesAt > now ? 'pre-active' : 'active',
    origin: from.origin,
    createdAt: now,
    activatesAt,
    deactivatesAt: endOf(key, activatesAt),
  };
  const record: KeyRecord = { ...key, versions: [versionOf(stored, version, key.keystore)] };
  const steps = [
    ...(from.origin === 'generated' ? [] : [keys.store.notOfAuthority(record, stored.fingerprint)]),
    keys.store.insertKey(record, now),
    keys.store.insertVersion(version, stored),
  ];
  return made(keys, isAdopted(from.material) ? undefined : keystore, record, stored, steps);
}

/** Makes the next version of a key, and says what to write: the versions before it retire. */
export async function makeNextVersion(
  keys: Keys,
  key: KeyRecord,
  wanted: {
    readonly algorithm?: string | undefined;
    readonly activatesAt: number;
    /** That of the intent. */
    readonly attempt: string;
  },
  now: number,
): Promise<MadeVersion> {
  requireRotatable(key);
  if (key.versions.length >= versionsMax) {
    throw new KeyreeveError('invalid-request', `${key.name} has ${versionsMax} versions already.`, {
      hint: 'Make a new key.',
    });
  }
  const algorithm =
    wanted.algorithm === undefined ? key.algorithm : requireAlgorithm(wanted.algorithm);
  if (algorithm !== key.algorithm) requireSuccessor(key, algorithm);
  requireKeystoreAllowed(key.policy, key.keystore);
  const keystore = keys.keystores.holding(key.keystore);
  await keys.requireReviewed([keystore.name]);
  const number = key.versions.at(-1)!.version + 1;
  const making = { version: number, attempt: wanted.attempt };
  const stored = await store(keystore, key, making, algorithm);
  const version: NewVersion = {
    keyId: key.id,
    version: number,
    algorithm,
    state: wanted.activatesAt > now ? 'pre-active' : 'active',
    origin: 'generated',
    createdAt: now,
    activatesAt: wanted.activatesAt,
    deactivatesAt: endOf(key, wanted.activatesAt),
  };
  const next = appendVersion(keys, key, version, stored, now);
  return made(keys, keystore, next.record, stored, next.steps);
}

/** What the record says of a first version. */
export function makingDetail({ record, version }: MadeVersion): { readonly [name: string]: Json } {
  return {
    algorithm: version.algorithm,
    purpose: record.purpose,
    keystore: record.keystore,
    fingerprint: version.fingerprint,
    origin: version.origin,
  };
}

/** Refuses a key that is destroyed or waits for it. */
export function requireRotatable(key: KeyRecord): void {
  if (key.destroyAt !== null) {
    throw new KeyreeveError('key-pending-destruction', `${key.name} waits to be destroyed.`, {
      hint: `To keep it: keyreeve key cancel-destroy ${key.name}`,
    });
  }
  if (key.versions.every((version) => version.state === 'destroyed')) {
    throw new KeyreeveError('key-destroyed', `The key ${key.name} is destroyed.`);
  }
}

/** `keystore` is the one to remove the private half from; undefined where it was there before. */
function made(
  keys: Keys,
  keystore: Keystore | undefined,
  record: KeyRecord,
  stored: StoredKey,
  steps: readonly Step[],
): MadeVersion {
  const version = record.versions.at(-1)!;
  keys.keepUnstored(version, stored);
  return {
    record,
    version,
    steps: [...keys.keystoreGuards(record.keystore), ...steps],
    undo: async () => {
      keys.forget({ versions: [version] });
      const { keyId, version: number, algorithm } = version;
      await keystore?.destroy({ keyId, version: number, algorithm, ...stored });
    },
  };
}

/** The key with one version more, and the steps that make it so: those before it retire. */
export function appendVersion(
  keys: Keys,
  key: KeyRecord,
  version: NewVersion,
  stored: StoredKey,
  now: number,
): { record: KeyRecord; steps: Step[] } {
  const retired = retire(keys, key, version.activatesAt ?? now, now);
  const record: KeyRecord = {
    ...retired.key,
    algorithm: version.algorithm,
    revision: key.revision + 1,
    versions: [...retired.key.versions, versionOf(stored, version, key.keystore)],
  };
  const steps = [
    keys.store.updateKey(key, record, now),
    ...retired.steps,
    keys.store.insertVersion(version, stored),
  ];
  return { record, steps };
}

/** What rotation does to the versions that are active: `onRotation` of the policy. */
export function retire(
  keys: Keys,
  key: KeyRecord,
  from: number,
  now: number,
): { key: KeyRecord; steps: Step[] } {
  if (key.policy.onRotation === 'expire') return { key, steps: [] };
  const overlap = key.policy.onRotation === 'overlap' ? key.policy.overlapSeconds * 1000 : 0;
  const end = from + overlap;
  const steps: Step[] = [];
  const versions = key.versions.map((version) => {
    const state = effectiveState(version, now);
    const isLiving = state === 'active' || state === 'suspended';
    if (!isLiving || (version.deactivatesAt !== null && version.deactivatesAt <= end)) {
      return version;
    }
    const changed = { ...version, deactivatesAt: end };
    steps.push(keys.store.updateVersion(key.id, version.version, { deactivates_at: end }));
    return changed;
  });
  return { key: { ...key, versions }, steps };
}
