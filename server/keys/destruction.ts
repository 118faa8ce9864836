import type { Clock } from '../base/clock.ts';
import { formatTime } from '../base/clock.ts';
import { clockRefuseSeconds } from '../base/clock-guard.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { type KeyRecord, keystoresOf, locationOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';

/** What is left of a destroyed key, kept apart from the data and its backups. */
export interface Tombstone {
  readonly keyId: string;
  readonly keyName: string;
  readonly destroyedAt: string;
}

export interface DestructionOptions {
  readonly keys: Keys;
  readonly clock: Clock;
  /** Writes a signed tombstone beside root key and checkpoints; on disk when it returns. */
  readonly bury: (tombstone: Tombstone) => Promise<void>;
  /** True where time cannot be trusted: nothing is destroyed then. */
  readonly isClockUnsafe: () => boolean;
}

export interface Destruction {
  /** Destroys what is due; returns how many keys. One that fails holds no other back. */
  run(): Promise<number>;
}

/**
 * Destroys keys whose waiting time is over. A tombstone comes first: restoring a backup replays it.
 * Killed between any two steps, the next run does the rest.
 */
export function createDestruction(options: DestructionOptions): Destruction {
  const { keys, clock } = options;
  return {
    run: async () => {
      if (options.isClockUnsafe()) return 0;
      const due = await keys.store.dueForDestruction(clock.now() - marginOf(keys));
      const failures: unknown[] = [];
      let held = 0;
      for (const id of due) {
        try {
          const key = await keys.store.fresh(id);
          if (await waitsForReview(keys, key)) held += 1;
          else await destroyOne(options, key);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length === 0) return due.length - held;
      throw failures.length === 1
        ? failures[0]
        : new AggregateError(failures, `${failures.length} keys could not be destroyed`);
    },
  };
}

/**
 * Who takes a destruction back goes by the clock of his node, which may be as far behind as clocks
 * may differ at all: with several nodes a key goes once it is over for all of them.
 */
function marginOf({ storage }: Keys): number {
  return storage.dialect === 'sqlite' ? 0 : 2 * clockRefuseSeconds * 1000;
}

/** What was asked for in time is not done either while the access review is overdue: it waits. */
async function waitsForReview(keys: Keys, key: KeyRecord): Promise<boolean> {
  try {
    await keys.requireReviewed(keystoresOf(key));
    return false;
  } catch (error) {
    if (isKeyreeveError(error, 'review-overdue')) return true;
    throw error;
  }
}

async function destroyOne(options: DestructionOptions, key: KeyRecord): Promise<void> {
  const { keys, clock } = options;
  const now = clock.now();
  if (key.destroyAt === null || key.destroyAt > now) return;
  // 1. The tombstone: from here on no backup brings the key back.
  await options.bury({ keyId: key.id, keyName: key.name, destroyedAt: formatTime(now) });
  // 2. What lies outside the database. Asked twice it does nothing the second time.
  for (const version of key.versions) {
    const keystore = keys.keystores.holding(version.keystore);
    if (!keystore.capabilities.external) continue;
    await keystore.destroy(locationOf(version, { private_blob: null, store_key_id: null }));
  }
  // 3. The rows, and the record, in one commit.
  await keys.storage.commit({
    steps: [
      ...destroySteps(keys, key, now),
      tombstoneStep(keys.storage, { keyId: key.id, keyName: key.name }, now),
    ],
    entries: [serviceEntry(clock, 'key.destroyed', 'ok', { keyId: key.id, keyName: key.name })],
    raisesEpoch: true,
  });
  // 4. What was opened is let go of.
  keys.forget(key);
}

/** Lets every node know that it has to keep a tombstone of the key. */
export function tombstoneStep(
  { db }: Storage,
  { keyId, keyName }: Omit<Tombstone, 'destroyedAt'>,
  destroyedAt: number,
): Step {
  const row = { key_id: keyId, key_name: keyName, destroyed_at: destroyedAt };
  return {
    query: db
      .insertInto('tombstone')
      .values(row)
      .onConflict((conflict) => conflict.column('key_id').doUpdateSet(row))
      .compile(),
  };
}

/** The steps that destroy all versions of a key: a cancellation meanwhile undoes them all. */
function destroySteps(keys: Keys, key: KeyRecord, now: number): Step[] {
  const versions = key.versions.map((version) => ({ ...version, state: 'destroyed' as const }));
  const destroyed = { ...key, destroyAt: null, versions };
  return [
    keys.store.updateKey(key, destroyed, now),
    ...key.versions.map((version) =>
      keys.store.updateVersion(key.id, version.version, {
        state: 'destroyed',
        state_changed_at: now,
        private_blob: null,
      }),
    ),
  ];
}
