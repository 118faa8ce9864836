import { statSync } from 'node:fs';
import type { Logger } from 'pino';
import type { Clock } from './base/clock.ts';
import type { ClockGuard } from './base/clock-guard.ts';
import { isKeyreeveError, KeyreeveError } from './base/errors.ts';
import { newId } from './base/ids.ts';
import type { Config } from './config/config.ts';
import { type ModulePlaces, requireModuleOf } from './hardware/hardware.ts';
import { adoptCurrentKey, currentKeyName, type Keys } from './keys/keys.ts';
import {
  createFileKeystore,
  createRefusedPins,
  createRootKey,
  createWrappedKeystore,
  Keystores,
  nameSealLocation,
  openRootKey,
  openStoreKeys,
  parseSealLocation,
  type RootKey,
  type RootKeySurroundings,
  RootKeys,
  readPassphraseFile,
  type SealLocation,
  type StoreKeys,
  sealedFingerprint,
  sealLocation,
  whereRootKeyIs,
} from './keystores/keystores.ts';
import { type Storage, underLease, withCommit } from './storage/storage.ts';

/** How long a node waits for another one that makes the root key: a token takes its time. */
const firstStartSeconds = 120;

/** The root key, the store keys below it, and what a move of the root key needs. */
export async function openRootKeys(
  config: Config,
  storage: Storage,
  { log, clock, progress }: { log: Logger; clock: Clock; progress: (text: string) => void },
) {
  const surroundings = { log, clock, refusedPins: createRefusedPins(storage) };
  const open = async () => {
    const location = sealLocation(config.seal);
    const rootKey = await openOrMakeRootKey(storage, location, progress, surroundings);
    try {
      return { rootKey, storeKeys: await openStoreKeys(storage, rootKey, clock) };
    } catch (error) {
      await rootKey.close();
      throw error;
    }
  };
  // Nodes that start at the same time on an empty database would make a root key each.
  const isNew = (await sealedFingerprint(storage)) === undefined;
  const { rootKey, storeKeys } = isNew ? await firstStart(storage, clock, open) : await open();
  const rootKeys = new RootKeys({
    rootKey,
    open: (place) => openMovedRootKey(config, surroundings, storeKeys, place),
  });
  return { rootKeys, surroundings, storeKeys };
}

function firstStart<Result>(storage: Storage, clock: Clock, open: () => Promise<Result>) {
  const options = { storage, clock, name: 'first start', waitSeconds: firstStartSeconds };
  const busy = () =>
    new KeyreeveError(
      'already-running',
      'Another node has begun the first start and not ended it.',
      {
        hint: 'Look at what it waits for, or stop it; then start again.',
      },
    );
  return underLease({ ...options, busy }, open);
}

/**
 * The root key at a place that another node has moved it to, where this host gets there; undefined
 * where not. What the database says of the place is believed only if the key there opens the store
 * keys that this node has opened before.
 */
async function openMovedRootKey(
  config: Config,
  { log, clock, refusedPins }: RootKeySurroundings,
  storeKeys: StoreKeys,
  { place, storage }: { place: string; storage: Pick<Storage, 'db'> },
): Promise<RootKey | undefined> {
  const allowKeystore = (uri: string) => requireModuleOf(uri, modulePlaces(config));
  const location = parseSealLocation(place);
  const rootKey = await openRootKey(location, { log, clock, refusedPins, allowKeystore }).catch(
    (error: unknown) => {
      log?.warn({ err: error }, 'the root key was moved to where this node cannot get it');
      return undefined;
    },
  );
  if (rootKey === undefined || (await storeKeys.areWrappedBy(rootKey, storage))) return rootKey;
  await rootKey.close();
  return undefined;
}

/** A new database gets a root key; one that was sealed needs the one that sealed it. */
async function openOrMakeRootKey(
  storage: Storage,
  location: SealLocation,
  progress: (text: string) => void,
  surroundings: RootKeySurroundings,
): Promise<RootKey> {
  const rootKey = await openRootKey(location, surroundings);
  if (rootKey !== undefined) return rootKey;
  const fingerprint = await sealedFingerprint(storage);
  if (fingerprint !== undefined) {
    throw new KeyreeveError(
      'root-key-missing',
      `There is no root key at ${nameSealLocation(location)}; this data was sealed by ${fingerprint}.`,
      { hint: await whereRootKeyIs(storage) },
    );
  }
  progress(`making the root key in ${nameSealLocation(location)}`);
  return createRootKey(location, surroundings);
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

/** Which PKCS #11 modules may be loaded, and what they get nothing of. */
export function modulePlaces(config: Config): ModulePlaces {
  const { data, seal, fileKeystore, pkcs11Modules } = config;
  return {
    folders: pkcs11Modules,
    ownFolders: [
      data,
      ...(seal.kind === 'path' ? [seal.path] : []),
      ...(fileKeystore === undefined ? [] : [fileKeystore.folder]),
    ],
  };
}

/** When the newest entry of the record was written: no clock may be before that. */
export async function newestTime(storage: Storage): Promise<number | undefined> {
  const row = await storage.db
    .selectFrom('bundle')
    .select('last_time')
    .orderBy('number', 'desc')
    .limit(1)
    .executeTakeFirst();
  return row?.last_time;
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
  const query = storage.db
    .insertInto('meta')
    .values({ name: 'installation', value })
    .onConflict((conflict) => conflict.column('name').doNothing())
    .compile();
  await storage.commit({ steps: [{ query }], entries: [] });
  // Another node may have been first.
  return openInstallation(storage);
}

/** True where it cannot be found out. */
export function isSameDisk(folder: string, other: string): boolean {
  try {
    return statSync(folder).dev === statSync(other).dev;
  } catch {
    return true;
  }
}

/** `CRYPTO_CURRENT_KEY_ID` seeds; from then on the database rules. */
export async function seedCurrentKey(config: Config, keys: Keys, log: Logger): Promise<void> {
  const name = config.fileKeystore?.currentKeyId;
  if (name === undefined) return;
  const outcome = await adoptCurrentKey(keys, name).catch((error: unknown) => {
    // A node that starts at the same time has adopted it.
    if (!isKeyreeveError(error, 'already-exists') && !isKeyreeveError(error, 'conflict')) {
      throw error;
    }
    return adoptCurrentKey(keys, name);
  });
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
  return withCommit(storage, async (write) => {
    if (write.entries.length > 0) guard.require();
    return storage.commit(write);
  });
}
