import type { ErrorCode } from '../../api/error-codes.ts';
import { jitteredSeconds } from '../base/backoff.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { LruMap } from '../base/lru-map.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Step } from '../storage/storage.ts';
import type { KeyRecord } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { rotationDueAt } from './key-rules.ts';
import { failureEntry, RecordedFailure, rotateDueKey } from './rotate-due-key.ts';
import { type DueKey, RotationStore } from './rotation-store.ts';

/** Rotations of one run, and the time it takes at most: the schedule comes again. */
export const rotationsPerRun = 500;
const runSecondsMax = 30;
/** Due keys that are read at a time, and looked at in one run. */
const pageRows = 500;
const rowsPerRun = 10_000;
/** What could not be rotated is tried again within this, doubling with each failure ... */
export const firstRetrySeconds = 60;
/** ... never sooner than this ... */
export const shortestRetrySeconds = 30;
/** ... up to this. */
export const longestRetrySeconds = 3600;
/** Failures kept in mind. */
const failuresMax = 10_000;

/** Nothing that is wrong with a key: the run ends, and the schedule tries again. */
const ofTheService: readonly ErrorCode[] = [
  'clock-unsafe',
  'outcome-unknown',
  'overloaded',
  'storage-full',
  'storage-unavailable',
];

export interface DueRotationOptions {
  readonly keys: Keys;
  readonly log: { warn(facts: object, message: string): void };
  /** True where time cannot be trusted: nothing is rotated then. */
  readonly isClockUnsafe: () => boolean;
  /** In [0, 1). */
  readonly random?: () => number;
}

export interface DueRotations {
  /** Rotates what is due; returns how many keys. `fence` goes into each commit. */
  run(fence?: readonly Step[]): Promise<number>;
}

interface Failure {
  readonly count: number;
  readonly code: ErrorCode;
  /** By the clock that does not go back. */
  readonly retryAt: number;
}

/**
 * Rotates keys after their policy (`rotateEverySeconds`). Each is rotated as by the command, under
 * an entry of the service; a person or another node that rotates it at the same time makes the
 * version, or this run does: never both. Keys of CAs are only told of, once: a new one needs a
 * certificate. What cannot be rotated is on the record once for each reason, is tried again later
 * and later, and holds no other key up.
 */
export function createDueRotations(options: DueRotationOptions): DueRotations {
  const run = new Rotations(options);
  return { run: (fence = []) => run.run(fence) };
}

class Rotations {
  readonly #options: Required<DueRotationOptions>;
  readonly #store: RotationStore;
  /** By key, and by keystore where that is away: not each of its keys is tried. */
  readonly #failures = new LruMap<string, Failure>(failuresMax);

  constructor(options: DueRotationOptions) {
    this.#options = { random: Math.random, ...options };
    this.#store = new RotationStore(options.keys.storage);
  }

  async run(fence: readonly Step[]): Promise<number> {
    const { keys, isClockUnsafe } = this.#options;
    const end = keys.clock.monotonic() + runSecondsMax * 1000;
    let rotated = 0;
    let after: DueKey | undefined;
    for (let looked = 0; looked < rowsPerRun; looked += pageRows) {
      const page = await this.#store.due(keys.clock.now(), after, pageRows);
      for (const due of page) {
        if (isClockUnsafe() || rotated >= rotationsPerRun) return rotated;
        if (keys.clock.monotonic() > end) return rotated;
        const outcome = await this.#attempt(due, fence);
        if (outcome === 'lease-lost') return rotated;
        if (outcome === 'rotated') rotated += 1;
      }
      after = page.at(-1);
      if (page.length < pageRows) break;
    }
    return rotated;
  }

  async #attempt(due: DueKey, fence: readonly Step[]): Promise<'rotated' | 'left' | 'lease-lost'> {
    const { keys } = this.#options;
    if (!this.#mayTry(due.id) || !this.#mayTry(keystoreSlot(due))) return 'left';
    const key = await keys.store.fresh(due.id);
    try {
      const isRotated = await keys.rotations.run(due.id, () => this.#rotate(key.id, due, fence));
      this.#failures.delete(due.id);
      this.#failures.delete(keystoreSlot(due));
      return isRotated ? 'rotated' : 'left';
    } catch (thrown) {
      const isRecorded = thrown instanceof RecordedFailure;
      const error = isRecorded ? thrown.cause : thrown;
      const code = codeOf(error);
      if (ofTheService.includes(code)) throw error;
      if (code !== 'conflict') {
        await this.#failed(key, due, error, isRecorded);
        return 'left';
      }
      // Somebody else was faster, or another node has this work now.
      const { revision } = await keys.store.fresh(due.id);
      return revision === key.revision ? 'lease-lost' : 'left';
    }
  }

  #mayTry(slot: string): boolean {
    const failure = this.#failures.get(slot);
    return failure === undefined || failure.retryAt <= this.#options.keys.clock.monotonic();
  }

  /** False where there was nothing to rotate after all. */
  async #rotate(id: string, due: DueKey, fence: readonly Step[]): Promise<boolean> {
    const { keys } = this.#options;
    const { storage, clock } = keys;
    // Whoever had the turn before may have rotated it.
    const key = await keys.store.fresh(id);
    const now = clock.now();
    const dueAt = rotationDueAt(key, now);
    if (dueAt === null || dueAt > now || key.destroyAt !== null) {
      const steps = [...fence, this.#store.correct(key.id, due.dueAt, dueAt)];
      if (dueAt !== due.dueAt) await storage.commit({ steps, entries: [] });
      return false;
    }
    if (key.purpose === 'ca') {
      await this.#tell(key, due.dueAt, fence);
      return false;
    }
    await rotateDueKey({
      ...{ keys, store: this.#store, key, dueAt, fence },
      isRepeated: (error) => this.#isRepeated(due, error),
    });
    return true;
  }

  async #tell(key: KeyRecord, dueAt: number, fence: readonly Step[]): Promise<void> {
    const { storage, clock } = this.#options.keys;
    const about = { keyId: key.id, keyName: key.name };
    const detail = canonicalJson({ dueAt: formatTime(dueAt) });
    await storage.commit({
      steps: [...fence, this.#store.told(key.id, dueAt)],
      entries: [serviceEntry(clock, 'key.rotation-due', 'ok', { ...about, detail })],
    });
  }

  async #failed(key: KeyRecord, due: DueKey, error: unknown, isRecorded: boolean): Promise<void> {
    const { keys, log, random } = this.#options;
    const code = codeOf(error);
    const isRepeated = this.#isRepeated(due, error);
    const slot = slotOf(due, code);
    const count = (this.#failures.get(slot)?.count ?? 0) + 1;
    const limits = { firstSeconds: firstRetrySeconds, longestSeconds: longestRetrySeconds };
    const wait = Math.max(shortestRetrySeconds, jitteredSeconds(count, limits, random()));
    const retryAt = keys.clock.monotonic() + wait * 1000;
    this.#failures.set(slot, { count, code, retryAt });
    if (isRepeated) return;
    const facts = { key: key.name, code };
    log.warn(
      isKeyreeveError(error) ? { ...facts, reason: error.message } : { ...facts, err: error },
      'a key was not rotated',
    );
    if (isRecorded) return;
    const entry = failureEntry({ keys, key, isRepeated: () => false }, error);
    await keys.storage.commit({ steps: [], entries: [entry] });
  }

  #isRepeated(due: DueKey, error: unknown): boolean {
    const code = codeOf(error);
    return this.#failures.get(slotOf(due, code))?.code === code;
  }
}

function codeOf(error: unknown): ErrorCode {
  return isKeyreeveError(error) ? error.code : 'internal';
}

/** A keystore that is away is one failure, whichever of its keys finds it. */
function slotOf(due: DueKey, code: ErrorCode): string {
  return code === 'keystore-unavailable' ? keystoreSlot(due) : due.id;
}

function keystoreSlot({ keystore }: DueKey): string {
  return `keystore ${keystore}`;
}
