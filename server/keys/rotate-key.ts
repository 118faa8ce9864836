import type { KeyView } from '../../api/routes/keys.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Call } from '../base/handler.ts';
import type { Commands, Outcome } from '../commands/commands.ts';
import type { StoredKey } from '../keystores/keystores.ts';
import type { Step } from '../storage/storage.ts';
import { withVersion } from './change-key.ts';
import { runOnKey } from './key-command.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { effectiveState, endOf } from './key-rules.ts';
import type { NewVersion } from './key-store.ts';
import { viewOf } from './key-view.ts';
import {
  requireAlgorithm,
  requireKeystoreAllowed,
  requireSuccessor,
  store,
  versionOf,
} from './make-key.ts';

/** Versions of one key, at most: reads of a key stay small. */
export const versionsMax = 1000;

/**
 * Makes the next version. Requests that saw the same newest version make one new version: whoever
 * comes second is answered with what the first one made.
 */
export async function rotateKey(
  keys: Keys,
  commands: Commands,
  call: Call<'key.rotate'>,
): Promise<KeyView> {
  const { caller } = call;
  const known = await commands.prepare(caller, 'key.rotate', () =>
    keys.lookup(caller, call.params.key, 'key.rotate'),
  );
  const saw = call.body.sawVersion ?? known.versions.at(-1)!.version;
  // One after the other: nobody makes a key pair only to lose the race for its place.
  return keys.rotations.run(known.id, () => rotateFrom(keys, commands, call, known.id, saw));
}

async function rotateFrom(
  keys: Keys,
  commands: Commands,
  call: Call<'key.rotate'>,
  keyId: string,
  saw: number,
): Promise<KeyView> {
  let undo: () => Promise<void> = async () => undefined;
  try {
    return await runOnKey(keys, commands, call, {
      action: 'key.rotate',
      input: { ...call.body },
      about: () => ({ keyVersion: String(saw + 1) }),
      intent: (key) =>
        keys.keystores.holding(key.keystore).capabilities.external
          ? {
              kind: 'key.make',
              payload: { keyId: key.id, version: saw + 1, name: key.name, keystore: key.keystore },
            }
          : undefined,
      act: async (key, now) => {
        const newest = key.versions.at(-1)!;
        if (newest.version !== saw) return alreadyRotated(key, now);
        requireRotatable(key);
        if (effectiveState(newest, now) === 'pre-active') {
          return activatePublished(keys, key, newest, call.body, now);
        }
        return makeNext(keys, key, call.body, now, (take) => {
          undo = take;
        });
      },
      undo: () => undo(),
    });
  } catch (error) {
    // Another request made this version between our look and our commit: its version is the answer.
    if (!isKeyreeveError(error, 'conflict')) throw error;
    const fresh = await keys.store.fresh(keyId);
    if (fresh.versions.at(-1)!.version <= saw) throw error;
    return viewOf(fresh, keys.clock.now());
  }
}

function alreadyRotated(key: KeyRecord, now: number): Outcome<KeyView> {
  return {
    result: viewOf(key, now),
    steps: [],
    about: {
      keyVersion: String(key.versions.at(-1)!.version),
      detail: canonicalJson({ made: false }),
    },
  };
}

/** A version that was published ahead of its time is taken into use now. */
function activatePublished(
  keys: Keys,
  key: KeyRecord,
  next: VersionRecord,
  body: Call<'key.rotate'>['body'],
  now: number,
): Outcome<KeyView> {
  const isOther = body.algorithm !== undefined && body.algorithm !== next.algorithm;
  if (body.activatesAt !== undefined || isOther) {
    throw new KeyreeveError(
      'conflict',
      `${key.name}@${next.version} is published already and waits for its time.`,
      { hint: `Rotate without options to use it now: keyreeve key rotate ${key.name}` },
    );
  }
  const changed: VersionRecord = {
    ...next,
    state: 'active',
    activatesAt: now,
    deactivatesAt: endOf(key, now),
  };
  const retired = retire(keys, key, now, now);
  const record = withVersion(retired.key, changed);
  return {
    result: viewOf(record, now),
    steps: [
      keys.store.updateKey(key, record, now),
      ...retired.steps,
      keys.store.updateVersion(key.id, next.version, {
        state: 'active',
        state_changed_at: now,
        activates_at: now,
        deactivates_at: changed.deactivatesAt,
      }),
    ],
    about: {
      keyVersion: String(next.version),
      detail: canonicalJson({ made: false, activated: true }),
    },
  };
}

async function makeNext(
  keys: Keys,
  key: KeyRecord,
  body: Call<'key.rotate'>['body'],
  now: number,
  onStored: (undo: () => Promise<void>) => void,
): Promise<Outcome<KeyView>> {
  if (key.versions.length >= versionsMax) {
    throw new KeyreeveError('invalid-request', `${key.name} has ${versionsMax} versions already.`, {
      hint: 'Make a new key.',
    });
  }
  const algorithm = body.algorithm === undefined ? key.algorithm : requireAlgorithm(body.algorithm);
  if (algorithm !== key.algorithm) requireSuccessor(key, algorithm);
  requireKeystoreAllowed(key.policy, key.keystore);
  const activatesAt = activationOf(body.activatesAt, now);
  const keystore = keys.keystores.holding(key.keystore);
  const number = key.versions.at(-1)!.version + 1;
  const stored = await store(keystore, key, number, algorithm);
  onStored(() => keystore.destroy({ keyId: key.id, version: number, algorithm, ...stored }));
  const version = {
    keyId: key.id,
    version: number,
    algorithm,
    state: activatesAt > now ? 'pre-active' : 'active',
    origin: 'generated',
    createdAt: now,
    activatesAt,
    deactivatesAt: endOf(key, activatesAt),
  } as const;
  const next = appendVersion(keys, key, version, stored, now);
  return {
    result: viewOf(next.record, now),
    steps: next.steps,
    about: {
      keyVersion: String(number),
      detail: canonicalJson({
        made: true,
        algorithm,
        fingerprint: stored.fingerprint,
        activatesAt: formatTime(activatesAt),
      }),
    },
  };
}

function requireRotatable(key: KeyRecord): void {
  if (key.destroyAt !== null) {
    throw new KeyreeveError('key-pending-destruction', `${key.name} waits to be destroyed.`, {
      hint: `To keep it: keyreeve key cancel-destroy ${key.name}`,
    });
  }
  if (key.versions.every((version) => version.state === 'destroyed')) {
    throw new KeyreeveError('key-destroyed', `The key ${key.name} is destroyed.`);
  }
}

function activationOf(text: string | undefined, now: number): number {
  if (text === undefined) return now;
  const time = Date.parse(text);
  if (time > now) return time;
  throw new KeyreeveError('invalid-request', 'The activation time is in the past.', {
    hint: 'Leave it out to use the new version at once.',
  });
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
    versions: [...retired.key.versions, versionOf(stored, version)],
  };
  const steps = [
    keys.store.updateKey(key, record, now),
    ...retired.steps,
    keys.store.insertVersion(version, stored),
  ];
  return { record, steps };
}

/** What rotation does to the versions that are active: `onRotation` of the policy. */
function retire(
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
