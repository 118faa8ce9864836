import type { KeyView } from '../../api/routes/keys.ts';
import { mayFollow } from '../../api/states.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import { runOnKey } from './key-command.ts';
import { type KeyRecord, resourceOf, type VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { effectiveState, findVersion } from './key-rules.ts';
import { viewOf } from './key-view.ts';
import { changedPolicy } from './policy-rules.ts';
import { requireAssurance } from './storage-rules.ts';

/** Changes labels, owner or policy. What is fixed at creation stays. */
export async function updateKey(
  keys: Keys,
  commands: Commands,
  call: Call<'key.update'>,
): Promise<KeyView> {
  const { body } = call;
  return runOnKey(keys, commands, call, {
    action: 'key.update',
    input: { ...body, policy: body.policy === undefined ? undefined : { ...body.policy } },
    act: async (key, now) => {
      if (body.revision !== undefined && body.revision !== key.revision) {
        throw new KeyreeveError(
          'conflict',
          `${key.name} is at revision ${key.revision}, not ${body.revision}.`,
          { hint: 'Look at it again, then repeat the command.' },
        );
      }
      const policy =
        body.policy === undefined ? key.policy : changedPolicy(key.policy, body.policy);
      if (policy.assurance !== key.policy.assurance) {
        // What is demanded has to hold for the versions that there are.
        await requireAssurance(policy, keys.keystores.holding(key.keystore));
      }
      const changed: KeyRecord = {
        ...key,
        labels: body.labels ?? key.labels,
        ownerId: body.owner === undefined ? key.ownerId : await keys.principalId(body.owner),
        policy,
        revision: key.revision + 1,
      };
      // Nobody moves a key by its labels to where he may not touch it, nor away from a rule.
      keys.authorise(call.caller, 'key.update', resourceOf(changed));
      return {
        result: viewOf(changed, now),
        steps: [keys.store.updateKey(key, changed, now)],
        about: { detail: canonicalJson({ changed: changedNames(body) }) },
      };
    },
  });
}

/** Suspends, re-activates, deactivates a version, or marks it compromised. */
export async function changeState(
  keys: Keys,
  commands: Commands,
  call: Call<'key.state'>,
): Promise<KeyView> {
  const { version: named, state: wanted, reason } = call.body;
  return runOnKey(keys, commands, call, {
    action: 'key.state',
    input: { ...call.body },
    act: async (key, now) => {
      const version = named === undefined ? newestLiving(key, now) : findVersion(key, named);
      const state = effectiveState(version, now);
      if (!mayFollow(state, wanted)) {
        throw new KeyreeveError(
          'state-not-allowed',
          `${key.name}@${version.version} is ${state} and cannot become ${wanted}.`,
          {
            hint: 'Deactivated and compromised versions never protect new data again: rotate the key.',
          },
        );
      }
      const changed: VersionRecord = {
        ...version,
        state: wanted,
        ...(wanted === 'active' && version.state === 'pre-active' ? { activatesAt: now } : {}),
      };
      const record = withVersion(key, changed);
      return {
        result: viewOf(record, now),
        steps: [
          keys.store.updateKey(key, record, now),
          keys.store.updateVersion(key.id, version.version, {
            state: wanted,
            state_changed_at: now,
            activates_at: changed.activatesAt,
          }),
        ],
        about: {
          keyVersion: String(version.version),
          detail: canonicalJson({ from: state, to: wanted, reason }),
        },
      };
    },
  });
}

function changedNames(body: Call<'key.update'>['body']): string[] {
  return (['labels', 'owner', 'policy'] as const).filter((name) => body[name] !== undefined);
}

function newestLiving(key: KeyRecord, now: number): VersionRecord {
  const living = key.versions.filter((version) => effectiveState(version, now) !== 'destroyed');
  const current = living.findLast((version) => effectiveState(version, now) !== 'pre-active');
  const version = current ?? living.at(-1);
  if (version !== undefined) return version;
  throw new KeyreeveError('key-destroyed', `The key ${key.name} is destroyed.`);
}

/** The key as it is once one of its versions changed; the revision goes up with it. */
export function withVersion(key: KeyRecord, changed: VersionRecord): KeyRecord {
  return {
    ...key,
    revision: key.revision + 1,
    versions: key.versions.map((version) =>
      version.version === changed.version ? changed : version,
    ),
  };
}
