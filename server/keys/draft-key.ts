import type { Action } from '../../api/actions.ts';
import type { KeyImportBody } from '../../api/routes/keys.ts';
import type { Caller } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { type KeyRecord, resourceOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { keystoreDefault, newKey, systemFolder } from './make-key.ts';

/** A key to be made: its row, without versions. */
export type KeyDraft = Omit<KeyRecord, 'versions'>;

/** The row of the key to be made. Who may not make it learns nothing of which principals there are. */
export async function draftKey(
  keys: Keys,
  caller: Caller,
  action: Action,
  body: KeyImportBody,
  now: number,
): Promise<KeyDraft> {
  const { kind } = keys.keystores.named(body.keystore ?? keystoreDefault);
  const own = newKey(body, { ownerId: caller.principalId, kind, now });
  if (body.owner === undefined) return own;
  try {
    return { ...own, ownerId: await keys.principalId(body.owner) };
  } catch (error) {
    keys.authorise(caller, action, resourceOf(own));
    throw error;
  }
}

/** The folder `system` is the service's own. */
export function refuseSystemFolder(name: string): void {
  if (name !== systemFolder && !name.startsWith(`${systemFolder}/`)) return;
  throw new KeyreeveError('forbidden', `The folder "${systemFolder}" belongs to the service.`, {
    hint: 'Choose another folder.',
  });
}

/** Refuses a name that a key has. */
export async function refuseTaken(keys: Keys, name: string): Promise<void> {
  const taken = await keys.store.find(name);
  if (taken === undefined) return;
  const noun = taken.purpose === 'ca' ? 'ca' : 'key';
  const again = taken.purpose === 'ca' ? `keyreeve ca rekey` : 'keyreeve key rotate';
  throw new KeyreeveError('already-exists', `There is a key named ${name} already.`, {
    hint: `Look at it: keyreeve ${noun} show ${name}. To make a new version: ${again} ${name}`,
  });
}
