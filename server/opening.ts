import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { ClockGuard } from './base/clock-guard.ts';
import { KeyreeveError } from './base/errors.ts';
import { newId } from './base/ids.ts';
import type { Config, Seal } from './config/config.ts';
import { adoptCurrentKey, currentKeyName, type Keys } from './keys/keys.ts';
import {
  createFileKeystore,
  createRootKey,
  createWrappedKeystore,
  formatSealLocation,
  Keystores,
  openRootKey,
  type RootKey,
  readPassphraseFile,
  type SealLocation,
  type StoreKeys,
  sealedFingerprint,
} from './keystores/keystores.ts';
import type { Storage } from './storage/storage.ts';

export function sealLocation(seal: Seal): SealLocation {
  if (seal.kind === 'path') return { kind: 'folder', path: seal.path };
  if (seal.kind === 'env') return { kind: 'environment', name: seal.variable };
  return { kind: 'credential', name: seal.name };
}

/** A new database gets a root key; one that was sealed needs the one that sealed it. */
export async function openOrMakeRootKey(
  storage: Storage,
  location: SealLocation,
  progress: (text: string) => void,
): Promise<RootKey> {
  const rootKey = openRootKey(location);
  if (rootKey !== undefined) return rootKey;
  const fingerprint = await sealedFingerprint(storage);
  if (fingerprint !== undefined) {
    throw new KeyreeveError(
      'root-key-missing',
      `There is no root key at ${formatSealLocation(location)}; this data was sealed by ${fingerprint}.`,
      { hint: 'Bring the root key back to that place, or point KEYREEVE_SEAL at it.' },
    );
  }
  progress(`making the root key in ${formatSealLocation(location)}`);
  return createRootKey(location);
}

export function openKeystores(config: Config, storeKeys: StoreKeys): Keystores {
  const { fileKeystore } = config;
  return new Keystores([
    createWrappedKeystore(storeKeys),
    ...(fileKeystore === undefined
      ? []
      : [
          createFileKeystore({
            folder: fileKeystore.folder,
            passphrase: readPassphraseFile(fileKeystore.passphraseFile),
          }),
        ]),
  ]);
}

/** The id of this installation, made at the first start. */
export async function openInstallation(storage: Storage): Promise<string> {
  const row = await storage.db
    .selectFrom('meta')
    .select('value')
    .where('name', '=', 'installation')
    .executeTakeFirst();
  if (row !== undefined) return row.value;
  const value = newId('ins');
  await storage.commit({
    steps: [
      { query: storage.db.insertInto('meta').values({ name: 'installation', value }).compile() },
    ],
    entries: [],
  });
  return value;
}

export function isSameDisk(config: Config): boolean {
  if (config.seal.kind !== 'path') return false;
  try {
    return statSync(config.seal.path).dev === statSync(config.data).dev;
  } catch {
    return true;
  }
}

/** `CRYPTO_CURRENT_KEY_ID` seeds; from then on the database rules. */
export async function seedCurrentKey(config: Config, keys: Keys, log: Logger): Promise<void> {
  const name = config.fileKeystore?.currentKeyId;
  if (name === undefined) return;
  const outcome = await adoptCurrentKey(keys, name);
  if (outcome === 'adopted') log.info({ file: name }, `${currentKeyName} signs with this key file`);
  if (outcome === 'superseded') {
    log.warn(
      { file: name },
      `CRYPTO_CURRENT_KEY_ID names a version of ${currentKeyName} that is not the current one: the database rules`,
    );
  }
}

/**
 * Storage that writes no entry while the clock cannot be trusted, whoever asks: an entry of the
 * future would bar every later start.
 */
export function withTrustedClock(storage: Storage, guard: ClockGuard): Storage {
  return {
    dialect: storage.dialect,
    db: storage.db,
    get epoch() {
      return storage.epoch;
    },
    commit: async (write) => {
      if (write.entries.length > 0) guard.require();
      return storage.commit(write);
    },
    onEpoch: (listener) => storage.onEpoch(listener),
    snapshot: (use) => storage.snapshot(use),
    health: () => storage.health(),
    close: () => storage.close(),
  };
}
