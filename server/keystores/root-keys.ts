import { KeyreeveError } from '../base/errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { RootKey } from './root-key-kinds.ts';
import { rootKeyPlace, sealedFingerprint, whereRootKeyIs } from './store-keys.ts';

export interface RootKeysOptions {
  /** The one that the service was started with. */
  readonly rootKey: RootKey;
  /**
   * Opens the root key at the place that the database names, after another node has moved it there;
   * undefined where this node cannot, or must not believe it.
   */
  readonly open?: (moved: {
    readonly place: string;
    readonly storage: Pick<Storage, 'db'>;
  }) => Promise<RootKey | undefined>;
}

/**
 * The root keys that this process has open: one, or after moves several. Which of them is in force
 * the database alone says, so that no answer that was lost can put this process in the wrong. Those
 * of before stay open: a backup that began before a move is sealed by the root key of its snapshot.
 */
export class RootKeys {
  readonly #newestFirst: RootKey[];
  readonly #open: RootKeysOptions['open'];

  constructor({ rootKey, open }: RootKeysOptions) {
    this.#newestFirst = [rootKey];
    this.#open = open;
  }

  /** From now on this one can be in force too. */
  add(rootKey: RootKey): void {
    this.#newestFirst.unshift(rootKey);
  }

  /**
   * The root key that sealed the database, or the snapshot of it: one that another node has moved it
   * to is opened, if this host gets there. Error: `root-key-mismatch`, where it does not.
   */
  async inForce(storage: Pick<Storage, 'db'>): Promise<RootKey> {
    const fingerprint = await sealedFingerprint(storage);
    const isIt = (one: RootKey) => one.fingerprint === fingerprint;
    const found = this.#newestFirst.find(isIt) ?? (await this.#moved(storage, isIt));
    if (found !== undefined) return found;
    throw new KeyreeveError('root-key-mismatch', 'The root key was moved by another process.', {
      hint: await whereRootKeyIs(storage),
    });
  }

  async #moved(
    storage: Pick<Storage, 'db'>,
    isIt: (rootKey: RootKey) => boolean,
  ): Promise<RootKey | undefined> {
    const place = await rootKeyPlace(storage);
    const opened = place === undefined ? undefined : await this.#open?.({ place, storage });
    if (opened === undefined) return undefined;
    // Somebody else may have opened it meanwhile.
    const known = this.#newestFirst.find(isIt);
    if (known !== undefined || !isIt(opened)) {
      await opened.close();
      return known;
    }
    this.add(opened);
    return opened;
  }

  async close(): Promise<void> {
    await Promise.all(this.#newestFirst.map((one) => one.close()));
  }
}
