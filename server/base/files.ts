import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { KeyreeveError } from './errors.ts';

export const privateFolderMode = 0o700;
export const privateFileMode = 0o600;
const partialEnd = '.partial';

/** Makes a folder that only its owner may enter, or checks that an existing one is so. */
export function ensurePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: privateFolderMode });
  requirePrivate(path, 'folder');
}

/**
 * Refuses a file or folder that others may read or write, or that belongs to another user, with
 * the command that mends it. Symbolic links are refused: their modes say nothing.
 */
export function requirePrivate(path: string, kind: 'file' | 'folder'): void {
  refuseLax(path, kind, lstatSync(path));
}

/** The rule of `requirePrivate`, for facts that were read without following a link. */
export function refuseLax(path: string, kind: 'file' | 'folder', facts: Stats): void {
  const isRight = kind === 'file' ? facts.isFile() : facts.isDirectory();
  if (!isRight) {
    throw new KeyreeveError('lax-mode', `${path} is not a plain ${kind}.`, {
      hint: `Put a ${kind} of its own there, not a link.`,
    });
  }
  const user = process.getuid?.();
  if (user !== undefined && facts.uid !== user) {
    throw new KeyreeveError('lax-mode', `${path} belongs to another user (uid ${facts.uid}).`, {
      hint: `Run: chown ${user} ${path}`,
    });
  }
  if (process.platform !== 'win32' && (facts.mode & 0o077) !== 0) {
    const wanted = kind === 'file' ? privateFileMode : privateFolderMode;
    const found = (facts.mode & 0o777).toString(8).padStart(3, '0');
    throw new KeyreeveError('lax-mode', `${path} is open to others (mode ${found}).`, {
      hint: `Run: chmod ${wanted.toString(8)} ${path}`,
    });
  }
}

/** Reads a file that must be private. What is checked is what is read: no link is followed. */
export function readPrivateFile(path: string): Buffer {
  requirePrivate(path, 'file');
  const file = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  try {
    refuseLax(path, 'file', fstatSync(file));
    return readFileSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * Writes a file whole or not at all: a temporary file beside it, flushed, then renamed into place,
 * and the folder flushed, so that it survives a crash the next instant. `exclusive` refuses to
 * replace a file.
 */
export function writeFileDurably(
  path: string,
  content: Uint8Array | string,
  options: { mode?: number; exclusive?: boolean } = {},
): void {
  if (options.exclusive && exists(path)) throw alreadyThere(path);
  const temporary = newPartial(path);
  const bytes = typeof content === 'string' ? Buffer.from(content, 'utf8') : content;
  try {
    const file = openSync(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL,
      options.mode ?? privateFileMode,
    );
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    if (options.exclusive) publishNew(temporary, path);
    else renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  flushFolder(dirname(path));
}

/** A link, unlike a renaming, never replaces what another process put there meanwhile. */
function publishNew(temporary: string, path: string): void {
  try {
    linkSync(temporary, path);
    rmSync(temporary);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw alreadyThere(path);
    if (!withoutLinks.includes(code ?? '')) throw error;
    renameSync(temporary, path);
  }
}

/** What file systems without hard links say. */
export const withoutLinks: readonly string[] = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'];

export function alreadyThere(path: string): KeyreeveError {
  return new KeyreeveError('already-exists', `${path} exists already.`, {
    hint: 'Choose another name, or move the file away.',
  });
}

/** The temporary files that a crash in the middle of `writeFileDurably` left for this path. */
export function partialsOf(path: string): string[] {
  const folder = dirname(path);
  return exists(folder) ? partialsAmong(path, readdirSync(folder)) : [];
}

/** Which of these names in the folder of the path are its temporary files. */
export function partialsAmong(path: string, names: readonly string[]): string[] {
  return names
    .filter((name) => name.startsWith(partialStart(path)) && name.endsWith(partialEnd))
    .map((name) => join(dirname(path), name));
}

/** A fresh name of a temporary file beside the path. */
export function newPartial(path: string): string {
  const unique = randomBytes(8).toString('hex');
  return join(dirname(path), `${partialStart(path)}${unique}${partialEnd}`);
}

function partialStart(path: string): string {
  return `.${basename(path)}.`;
}

/** Flushes the names in a folder: a rename or removal is durable only after this. */
export function flushFolder(path: string): void {
  if (process.platform === 'win32') return;
  const folder = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/** Whether anything is at this path, a dangling link included. */
export function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
