import { timingSafeEqual } from 'node:crypto';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { openRootKey, type RootKey, sealLocation } from '../keystores/keystores.ts';
import { hashFile, readFileStream } from './backup-file.ts';
import { invalidBackup, type Manifest, sealLabel } from './backup-format.ts';
import { type BackupVisitor, type ReadResult, readBackup } from './backup-reader.ts';
import type { PlaceConfig } from './place.ts';
import { type Unlock, unprotect } from './protection.ts';

export interface VerifyBackupOptions extends Unlock {
  readonly file: string;
  /** SHA-256 of the file as its maker named it, hexadecimal: for one who cannot open it. */
  readonly sha256?: string | undefined;
  /** Where the root key is: with it, the seal of the backup is checked too. */
  readonly config?: Pick<PlaceConfig, 'seal'>;
}

export interface VerifiedBackup {
  /** False where the file was compared with its hash alone: nothing else is known then. */
  readonly opened: boolean;
  readonly manifest: Manifest | null;
  readonly keys: number;
  /** Entries of the record, those without a place included. */
  readonly entries: number;
  /** Whether its root key, found at the place configured, proved who made it. */
  readonly sealed: boolean;
}

/**
 * Checks a backup file: decrypts it to its end and compares everything in it with its sums, where
 * a passphrase or identity is given; compares its bytes with a hash, where one is given. Errors:
 * `backup-invalid`, `wrong-passphrase`, `not-found`, `invalid-request` where neither is given.
 */
export async function verifyBackup(options: VerifyBackupOptions): Promise<VerifiedBackup> {
  const { file, passphrase, identity, sha256 } = options;
  const canOpen = passphrase !== undefined || identity !== undefined;
  if (!canOpen && sha256 === undefined) {
    throw new KeyreeveError('invalid-request', 'The backup cannot be opened for a check.', {
      hint: 'Give its passphrase, its age identity, or the SHA-256 that it was sent with.',
    });
  }
  if (sha256 !== undefined && (await hashFile(file)) !== sha256.toLowerCase()) {
    throw new KeyreeveError('backup-invalid', `${file} is not the backup with this SHA-256.`, {
      hint: 'Fetch the file again from where it is kept.',
    });
  }
  if (!canOpen) return { opened: false, manifest: null, keys: 0, entries: 0, sealed: false };
  const read = await openBackup(readFileStream(file), options, {});
  const { manifest, sums } = read;
  return {
    opened: true,
    manifest,
    keys: sums.tables.key ?? 0,
    entries: (manifest.record?.size ?? 0) + (sums.tables.entry_tail ?? 0),
    sealed: await isSealed(read, options.config),
  };
}

/** A backup of another root key, or one checked elsewhere, has its seal checked by its restore. */
async function isSealed(read: ReadResult, config: VerifyBackupOptions['config']): Promise<boolean> {
  if (config === undefined) return false;
  const rootKey = await openRootKey(sealLocation(config.seal));
  try {
    if (rootKey?.fingerprint !== read.manifest.rootKeyFingerprint) return false;
    await requireSeal(rootKey, read);
    return true;
  } finally {
    await rootKey?.close();
  }
}

/** Whoever made the backup held its root key: one made by a stranger is refused. */
export async function requireSeal(
  rootKey: RootKey,
  { manifest, sumsDigest, seal }: ReadResult,
): Promise<void> {
  try {
    const sealed = await rootKey.unwrap(sealLabel(manifest.id), seal);
    if (sealed.length === sumsDigest.length && timingSafeEqual(sealed, sumsDigest)) return;
  } catch (cause) {
    // A token that is away says nothing about the backup.
    if (!isKeyreeveError(cause, 'invalid-ciphertext')) throw cause;
    throw invalidBackup('it was not made with this root key', cause);
  }
  throw invalidBackup('its seal is of other content');
}

/** Opens and reads a whole backup. Throws as `unprotect` and `readBackup` do. */
export async function openBackup(
  source: AsyncIterable<Uint8Array>,
  unlock: Unlock,
  visitor: BackupVisitor,
): Promise<ReadResult> {
  return readBackup(await unprotect(source, unlock), visitor);
}
