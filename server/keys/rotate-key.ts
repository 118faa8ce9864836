import type { KeyView } from '../../api/routes/keys.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Call } from '../base/handler.ts';
import type { Commands, Outcome } from '../commands/commands.ts';
import { withVersion } from './change-key.ts';
import { runOnKey } from './key-command.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { effectiveState, endOf } from './key-rules.ts';
import { viewOf } from './key-view.ts';
import {
  makeNextVersion,
  makingIntent,
  newAttempt,
  requireRotatable,
  retire,
} from './make-version.ts';

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

/** The new key of a CA needs a certificate. */
function refuseAuthority(key: KeyRecord): void {
  if (key.purpose !== 'ca') return;
  throw new KeyreeveError('purpose-not-allowed', `${key.name} is the key of a CA.`, {
    hint: `Use: keyreeve ca rekey ${key.name}`,
  });
}

async function rotateFrom(
  keys: Keys,
  commands: Commands,
  call: Call<'key.rotate'>,
  keyId: string,
  saw: number,
): Promise<KeyView> {
  let undo: () => Promise<void> = async () => undefined;
  const attempt = newAttempt();
  try {
    return await runOnKey(keys, commands, call, {
      action: 'key.rotate',
      input: { ...call.body },
      about: () => ({ keyVersion: String(saw + 1) }),
      intent: (key) => makingIntent(keys.keystores.holding(key.keystore), key, saw + 1, attempt),
      act: async (key, now) => {
        const newest = key.versions.at(-1)!;
        if (newest.version !== saw) return alreadyRotated(key, now);
        refuseAuthority(key);
        requireRotatable(key);
        if (effectiveState(newest, now) === 'pre-active') {
          return activatePublished(keys, key, newest, call.body, now);
        }
        return makeNext(keys, key, { ...call.body, attempt }, now, (take) => {
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
  body: Call<'key.rotate'>['body'] & { readonly attempt: string },
  now: number,
  onMade: (undo: () => Promise<void>) => void,
): Promise<Outcome<KeyView>> {
  const activatesAt = activationOf(body.activatesAt, now);
  const { algorithm, attempt } = body;
  const made = await makeNextVersion(keys, key, { algorithm, activatesAt, attempt }, now);
  onMade(made.undo);
  const { version } = made;
  return {
    result: viewOf(made.record, now),
    steps: made.steps,
    about: {
      keyVersion: String(version.version),
      detail: canonicalJson({
        made: true,
        algorithm: version.algorithm,
        fingerprint: version.fingerprint,
        activatesAt: formatTime(activatesAt),
      }),
    },
  };
}

function activationOf(text: string | undefined, now: number): number {
  if (text === undefined) return now;
  const time = Date.parse(text);
  if (time > now) return time;
  throw new KeyreeveError('invalid-request', 'The activation time is in the past.', {
    hint: 'Leave it out to use the new version at once.',
  });
}
