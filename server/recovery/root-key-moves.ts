import { isAbsolute } from 'node:path';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import type { Call, Handlers } from '../base/handler.ts';
import {
  type Commands,
  everyNodeIsGone,
  type IsOrphan,
  settleUnfinished,
} from '../commands/commands.ts';
import {
  createRootKey,
  nameSealLocation,
  openRootKey,
  parseSealLocation,
  type RootKey,
  type RootKeyGuard,
  type RootKeySurroundings,
  type RootKeys,
  rewrapSteps,
  type SealLocation,
} from '../keystores/keystores.ts';
import { type Storage, underLease } from '../storage/storage.ts';
import {
  type MovedRootKey,
  moveDetail,
  requireOther,
  requireOutside,
  told,
} from './move-root-key.ts';

const intentKind = 'root-key.move';

/** How well each kind of place guards. A running service is never talked into a lesser one. */
const ranks = {
  file: 0,
  'given-at-start': 1,
  'software-token': 1,
  token: 2,
} as const satisfies Record<RootKeyGuard, number>;

export interface RootKeyMovesOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly rootKeys: RootKeys;
  readonly surroundings: RootKeySurroundings;
  /** Refuses a module that this service must not load: whoever calls is not on the host. */
  readonly allowKeystore: NonNullable<RootKeySurroundings['allowKeystore']>;
  readonly dataFolder: string;
  /** The folder of checkpoints, which stays where it is. */
  readonly checkpoints: string;
}

export interface RootKeyMoves {
  handlers(commands: Commands): Handlers<'root-key.move'>;
  /** Settles what nodes that are gone left unfinished. */
  settle(isOrphan?: IsOrphan): Promise<number>;
}

/**
 * Moves of the root key while the service goes on: what is open stays open, and the few store keys
 * are wrapped anew in one commit. Until then the old root key is in force, from then on the new one;
 * the operator changes `KEYREEVE_SEAL` before the next start. A key that was made and not taken
 * into use stays at the new place, and the next move takes it.
 */
export function createRootKeyMoves(options: RootKeyMovesOptions): RootKeyMoves {
  let running = false;
  const move = async (commands: Commands, call: Call<'root-key.move'>): Promise<MovedRootKey> => {
    if (running) throw busy();
    running = true;
    try {
      const { storage, clock } = options;
      // Two nodes would make two keys, of which one is in force.
      return await underLease({ storage, clock, name: leaseName, busy }, () =>
        run(options, commands, call),
      );
    } finally {
      running = false;
    }
  };
  return {
    handlers: (commands) => ({ 'root-key.move': (call) => move(commands, call) }),
    settle: (isOrphan = everyNodeIsGone) =>
      settleUnfinished(options.storage, options.clock, intentKind, isOrphan),
  };
}

const leaseName = 'root key';

function busy(): KeyreeveError {
  return new KeyreeveError('conflict', 'The root key is being moved.', {
    hint: 'Try again when it is done.',
  });
}

async function run(
  options: RootKeyMovesOptions,
  commands: Commands,
  { caller, body, idempotencyKey }: Call<'root-key.move'>,
): Promise<MovedRootKey> {
  const { storage, rootKeys } = options;
  let fresh: RootKey | undefined;
  let isTaken = false;
  try {
    const result = await commands.run(caller, {
      action: 'root-key.move',
      resource: { type: 'system' },
      input: { to: body.to },
      idempotencyKey,
      act: async (intend) => {
        const old = await rootKeys.inForce(storage);
        const to = requirePlace(options, old, body.to);
        if (to.kind === 'token') await options.allowKeystore(to.keystoreUri);
        await intend({ kind: intentKind, payload: { to: nameSealLocation(to) } });
        const { surroundings, allowKeystore } = options;
        fresh = await openOrCreate(to, { ...surroundings, allowKeystore });
        requireNotLess(old.guard, fresh.guard);
        const { fingerprint } = fresh;
        const moved = fingerprint !== old.fingerprint;
        return {
          result: { moved, fingerprint, ...told(old.location, to, options.checkpoints) },
          steps: moved ? await rewrapSteps(storage, old, fresh) : [],
          about: { detail: moveDetail(old, fresh) },
        };
      },
    });
    isTaken = result.moved;
    return result;
  } catch (error) {
    // It may be in force: the database tells, at the next backup.
    isTaken = isKeyreeveError(error, 'outcome-unknown');
    throw error;
  } finally {
    if (fresh !== undefined) await (isTaken ? rootKeys.add(fresh) : fresh.close());
  }
}

function requirePlace({ dataFolder }: RootKeyMovesOptions, old: RootKey, text: string) {
  const to = parseSealLocation(text);
  if (to.kind === 'folder' && !isAbsolute(text)) {
    throw new KeyreeveError('invalid-request', `"${text}" is no absolute path.`, {
      hint: 'The folder is on the host of the service, whose working folder you do not know.',
    });
  }
  requireOther(old.location, to);
  requireOutside(dataFolder, to);
  if (to.kind !== 'token') requireNotLess(old.guard, guardOf(to));
  return to;
}

function guardOf(place: Exclude<SealLocation, { kind: 'token' }>): RootKeyGuard {
  return place.kind === 'folder' ? 'file' : 'given-at-start';
}

function requireNotLess(from: RootKeyGuard, to: RootKeyGuard): void {
  if (ranks[to] >= ranks[from]) return;
  throw new KeyreeveError(
    'forbidden',
    'That place guards the root key less than the present one.',
    {
      hint: 'Only who is on the host can do that: stop the service and run keyreeve root-key move there, without --online.',
    },
  );
}

async function openOrCreate(to: SealLocation, surroundings: RootKeySurroundings): Promise<RootKey> {
  return (await openRootKey(to, surroundings)) ?? createRootKey(to, surroundings);
}
