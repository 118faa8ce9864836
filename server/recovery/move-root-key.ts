import { isAbsolute, relative, resolve, sep } from 'node:path';
import { withAlerts } from '../alerts/alerts.ts';
import { entryEncoder } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { systemClock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import {
  createRootKey,
  formatSealLocation,
  nameSealLocation,
  openRootKey,
  openStoreKeys,
  parseSealLocation,
  type RootKey,
  rewrapSteps,
  type SealLocation,
  sealedFingerprint,
  sealLocation,
  whereRootKeyIs,
} from '../keystores/keystores.ts';
import { openStorage, type Storage } from '../storage/storage.ts';
import { type HostWork, quietLog, requireRootKey, storagePlace } from './place.ts';

export interface MoveRootKeyOptions extends HostWork {
  /** Where the root key is to be, as `KEYREEVE_SEAL` says it. */
  readonly to: string;
}

export interface MovedRootKey {
  /** False where the new root key was in force already. */
  readonly moved: boolean;
  readonly from: string;
  readonly to: string;
  readonly fingerprint: string;
  /** Settings to change before the next start. */
  readonly settings: Readonly<Record<string, string>>;
  /** What to do with the old one, for people. */
  readonly advice: string;
}

/**
 * Makes another root key, or takes the one that is at the new place, and wraps the store keys under
 * it in one commit, the service being stopped. Killed at any moment, one of the two is in force and
 * both are there: the old one is never removed here. Errors: `already-running`, `root-key-missing`,
 * `root-key-mismatch`, `invalid-request` where the place is the same or in the data folder, and
 * those of tokens.
 */
export async function moveRootKey(options: MoveRootKeyOptions): Promise<MovedRootKey> {
  const { config } = options;
  const clock = options.clock ?? systemClock;
  const from = sealLocation(config.seal);
  const to = parseSealLocation(options.to);
  requireOther(from, to);
  requireOutside(config.data, to);
  const storage = await openStorage({
    ...storagePlace(config),
    clock,
    log: options.log ?? quietLog,
    entryEncoder,
    alone: true,
  });
  const opened: RootKey[] = [];
  try {
    const inForce = await sealedFingerprint(storage);
    if (inForce === undefined) {
      throw new KeyreeveError('not-found', 'Nothing was sealed by a root key yet.', {
        hint: `Set KEYREEVE_SEAL to ${formatSealLocation(to)} and start the service.`,
      });
    }
    const present = await openRootKey(to);
    if (present !== undefined) opened.push(present);
    const moved = present?.fingerprint !== inForce;
    if (moved) {
      // 1. The old one must be the one in force, or nothing could be taken over.
      const old = await requireRootKey(from, inForce, await whereRootKeyIs(storage));
      opened.push(old);
      // 2. The new one is in its place before anything is wrapped under it.
      const fresh = present ?? (await createRootKey(to));
      if (present === undefined) opened.push(fresh);
      // 3. All store keys and the fingerprint in force change in one commit.
      await withAlerts(storage, clock).commit({
        steps: await rewrapSteps(storage, old, fresh),
        entries: [serviceEntry(clock, 'root-key.moved', 'ok', { detail: moveDetail(old, fresh) })],
        raisesEpoch: true,
      });
    }
    // 4. Read again from where it is: only now is it said that it was done.
    const fingerprint = await proveOpens(storage, to);
    return { moved, fingerprint, ...told(from, to, config.checkpoints) };
  } finally {
    await Promise.all(opened.map((rootKey) => rootKey.close()));
    await storage.close();
  }
}

export function requireOther(from: SealLocation, to: SealLocation): void {
  if (formatSealLocation(from) !== formatSealLocation(to)) return;
  throw new KeyreeveError('invalid-request', `The root key is at ${nameSealLocation(to)}.`, {
    hint: 'Name another place for it.',
  });
}

/** The service would not start with it there, and a copy of the data would hold its own key. */
export function requireOutside(data: string, to: SealLocation): void {
  if (to.kind !== 'folder') return;
  const path = relative(resolve(data), to.path);
  if (path === '..' || path.startsWith(`..${sep}`) || isAbsolute(path)) return;
  throw new KeyreeveError('invalid-request', `${to.path} is in the data folder ${data}.`, {
    hint: `Take a folder like ${data}.seal.`,
  });
}

/** What the record says of a move. */
export function moveDetail(from: RootKey, to: RootKey): string {
  return canonicalJson({
    from: from.fingerprint,
    to: to.fingerprint,
    place: nameSealLocation(to.location),
  });
}

/** What an operator has to do after a move. */
export function told(from: SealLocation, to: SealLocation, checkpoints: string) {
  const old = nameSealLocation(from);
  return {
    from: formatSealLocation(from),
    to: formatSealLocation(to),
    // The folder of the root key is where checkpoints and tombstones go by default: they stay.
    settings: { KEYREEVE_SEAL: formatSealLocation(to), KEYREEVE_CHECKPOINTS: checkpoints },
    advice:
      from.kind === 'token'
        ? `Backups made until now are restored with the old root key at ${old}: keep that token as long as you keep them.`
        : `Backups made until now are restored with the old root key at ${old}: keep it in a safe place as long as you keep them, and remove it from this host.`,
  };
}

async function proveOpens(storage: Storage, to: SealLocation): Promise<string> {
  const fingerprint = (await sealedFingerprint(storage)) ?? '';
  const rootKey = await requireRootKey(to, fingerprint);
  try {
    await openStoreKeys(storage, rootKey, systemClock);
  } finally {
    await rootKey.close();
  }
  return fingerprint;
}
