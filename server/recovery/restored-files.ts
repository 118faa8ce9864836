import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import {
  ensurePrivateFolder,
  exists,
  flushFolder,
  privateFileMode,
  writeFileDurably,
} from '../base/files.ts';
import { linkInto, makeStaging } from './restore-target.ts';

const parts = ['private', 'public'] as const;
const publicFileMode = 0o644;

/** The files of the keystore `file:` while a backup is restored: nobody finds them before `place`. */
export class RestoredFiles {
  readonly #folder: string | undefined;
  readonly #paths: string[] = [];
  #staging: string | undefined;

  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  /** Keeps a file aside. Errors: `config-invalid` without a folder, `not-empty`. */
  add(path: string, bytes: Uint8Array): void {
    const folder = this.#folder;
    if (folder === undefined) {
      throw new KeyreeveError(
        'config-invalid',
        'The backup has key files, and no place for them.',
        {
          hint: 'Set CRYPTO_KEYS_PATH to the folder that they are to be restored into.',
        },
      );
    }
    requireSameOrNone(join(folder, path), bytes);
    if (this.#staging === undefined) {
      this.#staging = makeStaging(folder);
      for (const part of parts) ensurePrivateFolder(join(this.#staging, part));
    }
    const mode = path.startsWith('private/') ? privateFileMode : publicFileMode;
    writeFileDurably(join(this.#staging, path), bytes, { mode, exclusive: true });
    this.#paths.push(path);
  }

  /** Gives the files their places, but those of keys that are destroyed, by name. */
  place(destroyed: ReadonlySet<string>): void {
    if (this.#folder === undefined || this.#staging === undefined) return;
    for (const part of parts) ensurePrivateFolder(join(this.#folder, part));
    for (const path of this.#paths) {
      const name = path.slice(path.indexOf('/') + 1).replace(/\.(pem|pub)$/, '');
      if (destroyed.has(name)) continue;
      const to = join(this.#folder, path);
      // There already with the same bytes: a restore before this one was killed just here.
      if (!exists(to)) linkInto(join(this.#staging, path), to);
    }
    for (const part of parts) flushFolder(join(this.#folder, part));
    this.remove();
  }

  remove(): void {
    if (this.#staging !== undefined) rmSync(this.#staging, { recursive: true, force: true });
  }
}

function requireSameOrNone(path: string, bytes: Uint8Array): void {
  if (!exists(path) || readFileSync(path).equals(bytes)) return;
  throw new KeyreeveError('not-empty', `${path} is there already, and is another key.`, {
    hint: 'Move it away, or set CRYPTO_KEYS_PATH to an empty folder.',
  });
}
