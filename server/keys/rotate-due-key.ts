import { canonicalJson } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { type About, serviceEntry } from '../commands/commands.ts';
import { healthWithin } from '../keystores/keystores.ts';
import type { Step } from '../storage/storage.ts';
import type { KeyRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { type MadeVersion, makeNextVersion, makingIntent, newAttempt } from './make-version.ts';
import type { RotationStore } from './rotation-store.ts';

/** A token that hangs holds up the rotations of other keys no longer than this. */
const healthMilliseconds = 2000;

export interface DueRotation {
  readonly keys: Keys;
  readonly store: RotationStore;
  /** As it is stored now. */
  readonly key: KeyRecord;
  readonly dueAt: number;
  /** Goes into each commit. */
  readonly fence: readonly Step[];
  /** Whether it failed of the same before. */
  readonly isRepeated: (error: unknown) => boolean;
}

/** A rotation that failed after its intent was recorded: so is the failure. */
export class RecordedFailure extends Error {}

interface Begun {
  readonly intentId: string;
  readonly settled: Step;
}

/**
 * Makes the next version of a key by the service's own decision. Where something is made outside
 * the database, the intent is on the record first, and the outcome, good or bad, settles it.
 * Errors: those of making a version; `conflict` where somebody else was faster.
 */
export async function rotateDueKey(rotation: DueRotation): Promise<void> {
  const { keys, key, dueAt, fence } = rotation;
  const { storage, clock } = keys;
  const now = clock.now();
  const attempt = newAttempt();
  const begun = await intend(rotation, attempt);
  let made: MadeVersion | undefined;
  try {
    made = await makeNextVersion(keys, key, { activatesAt: now, attempt }, now);
    const { algorithm, fingerprint } = made.version;
    const due = { scheduled: true, dueAt: formatTime(dueAt) };
    const detail = canonicalJson({ made: true, algorithm, fingerprint, ...due });
    const about = { ...aboutNext(key), ...aboutIntent(begun), detail };
    await storage.commit({
      steps: [...fence, ...made.steps, ...(begun === undefined ? [] : [begun.settled])],
      entries: [serviceEntry(clock, 'key.rotate', 'ok', about)],
      raisesEpoch: true,
    });
  } catch (error) {
    // What may still be written stays, with its intent, which is settled later.
    if (isKeyreeveError(error, 'outcome-unknown')) throw error;
    const isClean = !isKeyreeveError(error) || !error.leavesBehind;
    const isUndone = await (made?.undo() ?? Promise.resolve()).then(
      () => isClean,
      () => false,
    );
    if (begun === undefined) throw error;
    await recordFailure(rotation, begun, error, isUndone);
    throw new RecordedFailure('The rotation failed.', { cause: error });
  }
}

/** The entry of a rotation that failed. */
export function failureEntry(
  { keys, key, isRepeated }: Pick<DueRotation, 'keys' | 'key' | 'isRepeated'>,
  error: unknown,
  begun?: Begun,
) {
  const code = isKeyreeveError(error) ? error.code : 'internal';
  const reason = isKeyreeveError(error) ? error.message : 'An unexpected error.';
  const detail = canonicalJson({
    scheduled: true,
    reason,
    ...(isRepeated(error) ? { repeated: true } : {}),
  });
  const about = { ...aboutNext(key), ...aboutIntent(begun), detail };
  return serviceEntry(keys.clock, 'key.rotate', code, about);
}

/** On the record before anything is made outside the database; undefined where nothing is. */
async function intend(rotation: DueRotation, attempt: string): Promise<Begun | undefined> {
  const { keys, store, key, fence } = rotation;
  const { storage, clock } = keys;
  const keystore = keys.keystores.holding(key.keystore);
  const about = aboutNext(key);
  const intent = makingIntent(keystore, key, Number(about.keyVersion), attempt);
  if (intent === undefined) return undefined;
  // An intent that is bound to fail, again and again, tells nobody anything.
  const health = await healthWithin(keystore, healthMilliseconds);
  if (!health.ready) {
    const message = health.reason ?? `The keystore ${keystore.name} does not answer.`;
    throw new KeyreeveError('keystore-unavailable', message);
  }
  const intentId = newId('int');
  const event = serviceEntry(clock, 'key.rotate', 'ok', { ...about, intentId });
  const entry = { ...event, kind: 'intent' } as const;
  const row = { kind: intent.kind, payload: canonicalJson(intent.payload), entryId: entry.id };
  const { begun, settled } = store.intend(intentId, row, clock.now());
  await storage.commit({ steps: [...fence, begun], entries: [entry] });
  return { intentId, settled };
}

async function recordFailure(
  rotation: DueRotation,
  begun: Begun,
  error: unknown,
  isUndone: boolean,
): Promise<void> {
  // Where it could not be taken back, the intent stays, until this node is gone.
  const steps = isUndone ? [{ query: begun.settled.query }] : [];
  const entries = [failureEntry(rotation, error, begun)];
  await rotation.keys.storage.commit({ steps, entries });
}

/** What the entries of a rotation are about: the version that is to come. */
function aboutNext(key: KeyRecord): About & { readonly keyVersion: string } {
  const keyVersion = String(key.versions.at(-1)!.version + 1);
  return { keyId: key.id, keyName: key.name, keyVersion };
}

function aboutIntent(begun: Begun | undefined): About {
  return begun === undefined ? {} : { intentId: begun.intentId };
}
