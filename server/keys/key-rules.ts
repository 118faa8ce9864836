import type { SchemeName } from '../../api/algorithms.ts';
import type { Operation } from '../../api/purposes.ts';
import { isAllowed, type KeyState, operationsOf, purposeAllows } from '../../api/states.ts';
import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { KeyRecord, VersionRecord } from './key-record.ts';

/**
 * May-this-key-do-that, as pure functions over a key and a moment: no storage, no clock. Every door
 * asks these.
 */

/**
 * The state in force: a time window that began or ended counts at once, without a write. What is
 * suspended stays so until somebody decides: a deactivated version may do more.
 */
export function effectiveState(version: VersionRecord, now: number): KeyState {
  const begun = version.activatesAt === null || version.activatesAt <= now;
  const ended = version.deactivatesAt !== null && version.deactivatesAt <= now;
  if (version.state === 'pre-active' && begun && version.activatesAt !== null) {
    return ended ? 'deactivated' : 'active';
  }
  if (version.state === 'active' && ended) return 'deactivated';
  return version.state;
}

/** The version that protects new data: the newest active one. */
export function currentVersion(key: KeyRecord, now: number): VersionRecord | undefined {
  return key.versions.findLast((version) => effectiveState(version, now) === 'active');
}

/**
 * When the key is due to be rotated, after its policy: counted from when its newest version came or
 * comes into use, its end notwithstanding. Null where somebody has suspended or ended that version:
 * what follows is for a person to decide.
 */
export function rotationDueAt(key: KeyRecord, now: number): number | null {
  const interval = key.policy.rotateEverySeconds;
  const newest = key.versions.at(-1)!;
  const state = effectiveState(newest, now);
  const isInTurn =
    state === 'active' ||
    (state === 'pre-active' && newest.activatesAt !== null) ||
    (state === 'deactivated' && newest.state !== 'deactivated');
  if (interval === undefined || !isInTurn) return null;
  return (newest.activatesAt ?? newest.createdAt) + interval * 1000;
}

/** Refuses a purpose that does not do this, and a key that is gone or waits to be destroyed. */
export function requireUsable(key: KeyRecord, operation: Operation): void {
  if (!purposeAllows(key.purpose, operation)) {
    throw new KeyreeveError(
      'purpose-not-allowed',
      `The key ${key.name} is for "${key.purpose}" and does not ${operation}.`,
      {
        hint: `It can: ${operationsOf(key.purpose).join(', ')}. Make another key for another purpose.`,
      },
    );
  }
  if (key.versions.every((version) => version.state === 'destroyed')) {
    throw new KeyreeveError('key-destroyed', `The key ${key.name} is destroyed.`);
  }
  if (key.destroyAt !== null) {
    throw new KeyreeveError(
      'key-pending-destruction',
      `The key ${key.name} waits to be destroyed on ${formatTime(key.destroyAt)}.`,
      { hint: `To use it again: keyreeve key cancel-destroy ${key.name}` },
    );
  }
}

/**
 * The versions to use, in the order to try them. What protects new data takes one: the named or
 * the current one. What processes old data takes the named one, or every one that may, newest
 * first.
 */
export function versionsFor(
  key: KeyRecord,
  operation: Operation,
  manner: 'protect' | 'process',
  named: number | undefined,
  now: number,
): readonly VersionRecord[] {
  requireUsable(key, operation);
  if (named !== undefined) return [namedVersion(key, operation, named, now)];
  const may = (version: VersionRecord) =>
    isAllowed(key.purpose, operation, effectiveState(version, now));
  const found =
    manner === 'protect'
      ? key.versions.findLast((version) => effectiveState(version, now) === 'active')
      : undefined;
  const versions =
    manner === 'protect' ? (found ? [found] : []) : key.versions.filter(may).reverse();
  if (versions.length > 0) return versions;
  const newest = key.versions.at(-1)!;
  throw new KeyreeveError(
    'state-not-allowed',
    `No version of ${key.name} may ${operation}: the newest is ${effectiveState(newest, now)}.`,
    { hint: `Look at: keyreeve key show ${key.name}, and rotate it or change its state.` },
  );
}

function namedVersion(
  key: KeyRecord,
  operation: Operation,
  number: number,
  now: number,
): VersionRecord {
  const version = findVersion(key, number);
  const state = effectiveState(version, now);
  if (state === 'destroyed') {
    throw new KeyreeveError('key-destroyed', `${key.name}@${number} is destroyed.`);
  }
  if (isAllowed(key.purpose, operation, state)) return version;
  throw new KeyreeveError(
    'state-not-allowed',
    `${key.name}@${number} is ${state}: it may not ${operation}.`,
    { hint: 'Leave the version out to use the current one.' },
  );
}

/** The version of that number. Error: `not-found`. */
export function findVersion(key: KeyRecord, number: number): VersionRecord {
  const version = key.versions.find((candidate) => candidate.version === number);
  if (version !== undefined) return version;
  throw new KeyreeveError('not-found', `${key.name} has no version ${number}.`, {
    hint: `It has ${key.versions.length}; the newest is ${key.versions.at(-1)!.version}.`,
  });
}

/** The scheme asked for, if the key has it, or the key's first. */
export function schemeFor(key: KeyRecord, asked: string | undefined): SchemeName {
  const scheme = asked === undefined ? key.schemes[0] : key.schemes.find((name) => name === asked);
  if (scheme !== undefined) return scheme;
  throw new KeyreeveError('scheme-not-allowed', `${key.name} is not for the scheme "${asked}".`, {
    hint: `It has: ${key.schemes.join(', ')}. Schemes are fixed when a key is made.`,
  });
}

export function keyNotFound(reference: string): KeyreeveError {
  return new KeyreeveError('not-found', `There is no key "${reference}".`, {
    hint: 'List the keys you may see: keyreeve key list',
  });
}

/** When a version made now stops protecting new data. */
export function endOf(key: { policy: KeyRecord['policy'] }, from: number): number | null {
  return key.policy.validitySeconds === undefined ? null : from + key.policy.validitySeconds * 1000;
}
