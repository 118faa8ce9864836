/** Several files that appear together or not at all. */
import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { KeyreeveError } from '../../server/base/errors.ts';
import { exists, flushFolder, writeFileDurably } from '../../server/base/files.ts';

export interface PlacedFile {
  readonly path: string;
  readonly content: string | Uint8Array;
  readonly mode: number;
}

const ownerName = 'process';

/**
 * Writes the files in a folder of their own first (the intent: its name says for which id), then
 * links each into its place, which fails where the name is taken, and removes the folder last. A
 * run that was killed in between is undone by the next one for the same id.
 */
export function placeTogether(folder: string, id: string, files: readonly PlacedFile[]): void {
  const staging = join(folder, `.generating-${id}`);
  undoDeadRun(staging, files);
  refuseTaken(files);
  // Step 1: the intent. Its name is also the lock against a second run.
  makeStaging(staging);
  const placed: string[] = [];
  try {
    files.forEach((file, index) => {
      const path = join(staging, String(index));
      writeFileDurably(path, file.content);
      chmodSync(path, file.mode);
    });
    flushFolder(folder);
    // Step 2: the names.
    files.forEach((file, index) => {
      linkNew(join(staging, String(index)), file.path);
      placed.push(file.path);
    });
    for (const path of new Set(files.map((file) => dirname(file.path)))) flushFolder(path);
  } catch (error) {
    for (const path of placed) unlinkSync(path);
    removeStaging(staging);
    throw error;
  }
  // Step 3: done.
  removeStaging(staging);
}

/** What a killed run left is taken away: its folder, and the names that it had given already. */
function undoDeadRun(staging: string, files: readonly PlacedFile[]): void {
  const names = namesIn(staging);
  // An empty one is of a run that ends this moment; the next can take its name.
  if (names === undefined || names.length === 0) return;
  if (names.includes(ownerName) && isRunning(staging)) {
    throw new KeyreeveError('conflict', 'a key with this id is being made right now', {
      hint: `If nothing runs any more, remove ${staging}`,
    });
  }
  files.forEach((file, index) => {
    const left = join(staging, String(index));
    // The same file under its final name, and no stranger's: only that one is removed.
    if (exists(left) && exists(file.path) && statSync(left).ino === statSync(file.path).ino) {
      unlinkSync(file.path);
    }
  });
  removeStaging(staging);
}

function namesIn(folder: string): string[] | undefined {
  try {
    return readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isRunning(staging: string): boolean {
  try {
    const process_ = Number(readFileSync(join(staging, ownerName), 'utf8'));
    if (!Number.isSafeInteger(process_) || process_ <= 0) return false;
    process.kill(process_, 0);
    return true;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    // ENOENT: its folder was there just now, so that it ends this moment.
    return code === 'EPERM' || code === 'ENOENT';
  }
}

/** The owner goes last: files without one would be taken for those of a dead run, and undone. */
function removeStaging(staging: string): void {
  const names = namesIn(staging) ?? [];
  for (const name of names.filter((one) => one !== ownerName)) {
    rmSync(join(staging, name), { force: true });
  }
  rmSync(staging, { recursive: true, force: true });
}

function refuseTaken(files: readonly PlacedFile[]): void {
  for (const { path } of files) if (exists(path)) throw taken(path);
}

/** The folder gets its name with its owner in it: without one, another run would take it for dead. */
function makeStaging(path: string): void {
  const unnamed = mkdtempSync(`${path}.`);
  try {
    writeFileDurably(join(unnamed, ownerName), String(process.pid));
    renameSync(unnamed, path);
  } catch (error) {
    rmSync(unnamed, { recursive: true });
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    throw new KeyreeveError('conflict', 'a key with this id is being made right now');
  }
}

function linkNew(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw taken(to);
    throw error;
  }
}

function taken(path: string): KeyreeveError {
  return new KeyreeveError(
    'already-exists',
    `${path} exists already, and keys are never overwritten`,
    {
      hint: 'Choose another id.',
    },
  );
}
