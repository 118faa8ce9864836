import type { keyRoutes } from '../../api/routes/keys.ts';
import type { Handlers } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import { createKeyCommands } from './key-commands.ts';
import { createKeyReads } from './key-reads.ts';
import type { Keys } from './key-ring.ts';

export { adoptCurrentKey, currentKeyName } from './adopt-key.ts';
export {
  createDestruction,
  type Destruction,
  type Tombstone,
  tombstoneStep,
} from './destruction.ts';
export { draftKey, type KeyDraft, refuseSystemFolder, refuseTaken } from './draft-key.ts';
export { createDueRotations, type DueRotations } from './due-rotations.ts';
export { KeyLister } from './key-reads.ts';
export {
  folderOf,
  type KeyRecord,
  requireAsAsked,
  resourceOf,
  type VersionRecord,
} from './key-record.ts';
export { Keys, type KeysOptions } from './key-ring.ts';
export { currentVersion, effectiveState, findVersion, requireUsable } from './key-rules.ts';
export { findObject, notAdopted, refuseAdopted } from './keystore-objects.ts';
export { requireAlgorithm } from './make-key.ts';
export {
  type MadeVersion,
  makeFirstVersion,
  makeNextVersion,
  makingDetail,
  makingIntent,
  newAttempt,
} from './make-version.ts';
export { settleIntents } from './settle-intents.ts';
export { requireStorage, type StorageFacts, withStorageClass } from './storage-rules.ts';
export { createUse } from './use.ts';

/** The API's key routes. */
export function createKeyHandlers(
  keys: Keys,
  commands: Commands,
): Handlers<keyof typeof keyRoutes> {
  return { ...createKeyReads(keys), ...createKeyCommands(keys, commands) };
}
