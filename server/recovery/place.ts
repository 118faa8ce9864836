import type { Clock } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import {
  nameSealLocation,
  openRootKey,
  type RootKey,
  type SealLocation,
} from '../keystores/keystores.ts';
import type { StorageLog } from '../storage/storage.ts';

/** The part of the configuration that says where an installation lives. */
export type PlaceConfig = Pick<
  Config,
  'data' | 'seal' | 'databaseUrl' | 'checkpoints' | 'fileKeystore'
>;

/** What every work on the host takes. */
export interface HostWork {
  readonly config: PlaceConfig;
  readonly clock?: Clock | undefined;
  readonly log?: StorageLog | undefined;
}

export const quietLog: StorageLog = { info() {}, warn() {}, error() {} };

/** How storage is told where the database is. */
export function storagePlace(config: PlaceConfig): { dataFolder: string; databaseUrl?: string } {
  const { data: dataFolder, databaseUrl } = config;
  if (databaseUrl === undefined) return { dataFolder };
  return { dataFolder, databaseUrl: databaseUrl.reveal().toString('utf8') };
}

/**
 * The root key, which must have this fingerprint; `hint` says where it is, if that is known. The
 * caller closes it. Errors: `root-key-missing`, `root-key-mismatch`, and those of a token.
 */
export async function requireRootKey(
  location: SealLocation,
  fingerprint: string,
  hint?: string,
): Promise<RootKey> {
  const rootKey = await openRootKey(location);
  const where = nameSealLocation(location);
  if (rootKey === undefined) {
    throw new KeyreeveError('root-key-missing', `There is no root key at ${where}.`, {
      hint:
        hint ??
        `Bring the root key with the fingerprint ${fingerprint} there, or set KEYREEVE_SEAL to where it is.`,
    });
  }
  if (rootKey.fingerprint === fingerprint) return rootKey;
  await rootKey.close();
  const message = `The root key at ${where} is ${rootKey.fingerprint}; this data was sealed by ${fingerprint}.`;
  throw new KeyreeveError('root-key-mismatch', message, {
    hint: hint ?? 'Point KEYREEVE_SEAL at the right root key.',
  });
}
