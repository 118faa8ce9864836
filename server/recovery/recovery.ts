/**
 * Backups and what comes after them: made, checked, restored; destructions replayed; the database
 * upgraded; the root key moved. docs/backup.md has the format.
 */
export { type Backups, type BackupsOptions, createBackups } from './backups.ts';
export { type MovedRootKey, type MoveRootKeyOptions, moveRootKey } from './move-root-key.ts';
export type { HostWork, PlaceConfig } from './place.ts';
export { type Restored, type RestoreOptions, restoreBackup } from './restore-backup.ts';
export { createRootKeyMoves, type RootKeyMoves } from './root-key-moves.ts';
export {
  buryIn,
  createTombstones,
  type Replayed,
  replayTombstones,
  type SignNote,
  type Tombstone,
} from './tombstones.ts';
export { type Upgraded, type UpgradeOptions, upgrade } from './upgrade.ts';
export { type VerifiedBackup, type VerifyBackupOptions, verifyBackup } from './verify-backup.ts';
