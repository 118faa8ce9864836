import { KeyreeveError } from '../base/errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { RootKey } from './root-key-kinds.ts';
import { sealedFingerprint, whereRootKeyIs } from './store-keys.ts';

/**
 * The root keys that this process has open: one, or after moves several. Which of them is in force
 * the database alone says, so that no answer that was lost can put this process in the wrong. Those
 * of before stay open: a backup that began before a move is sealed by the root key of its snapshot.
 */
export class RootKeys {
  readonly #newestFirst: RootKey[];

  constructor(rootKey: RootKey) {
    this.#newestFirst = [rootKey];
  }

  /** From now on this one can be in force too. */
  add(rootKey: RootKey): void {
    this.#newestFirst.unshift(rootKey);
  }

  /**
   * The root key that sealed the database, or the snapshot of it. Error: `root-key-mismatch`, where
   * another process moved it.
   */
  async inForce(storage: Pick<Storage, 'db'>): Promise<RootKey> {
    const fingerprint = await sealedFingerprint(storage);
    const found = this.#newestFirst.find((one) => one.fingerprint === fingerprint);
    if (found !== undefined) return found;
    throw new KeyreeveError('root-key-mismatch', 'The root key was moved by another process.', {
      hint: await whereRootKeyIs(storage),
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.#newestFirst.map((one) => one.close()));
  }
}
