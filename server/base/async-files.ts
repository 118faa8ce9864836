import { constants } from 'node:fs';
import { type FileHandle, link, lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  alreadyThere,
  newPartial,
  partialsAmong,
  privateFileMode,
  privateFolderMode,
  refuseLax,
  withoutLinks,
} from './files.ts';

/** The functions of `files.ts` for disks that may hang: the event loop does not wait for them. */

export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

export async function requirePrivate(path: string, kind: 'file' | 'folder'): Promise<void> {
  refuseLax(path, kind, await lstat(path));
}

export async function ensurePrivateFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: privateFolderMode });
  await requirePrivate(path, 'folder');
}

/** What is checked is what is read: a link that comes between the two is not followed. */
export async function readPrivateFile(path: string): Promise<Buffer> {
  await requirePrivate(path, 'file');
  return withFile(
    await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)),
    async (file) => {
      refuseLax(path, 'file', await file.stat());
      return file.readFile();
    },
  );
}

export async function writeFileDurably(
  path: string,
  content: Uint8Array | string,
  options: { mode?: number; exclusive?: boolean } = {},
): Promise<void> {
  if (options.exclusive && (await exists(path))) throw alreadyThere(path);
  const temporary = newPartial(path);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
  try {
    await withFile(await open(temporary, flags, options.mode ?? privateFileMode), async (file) => {
      await file.writeFile(content);
      await file.sync();
    });
    if (options.exclusive) await publishNew(temporary, path);
    else await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await flushFolder(dirname(path));
}

async function publishNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
    await rm(temporary);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw alreadyThere(path);
    if (!withoutLinks.includes(code ?? '')) throw error;
    await rename(temporary, path);
  }
}

export async function flushFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  await withFile(await open(path, constants.O_RDONLY), (folder) => folder.sync());
}

export async function partialsOf(path: string): Promise<string[]> {
  return partialsAmong(path, await namesIn(dirname(path)));
}

/** The names in a folder; none where it is not there. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

async function withFile<Result>(
  file: FileHandle,
  act: (file: FileHandle) => Promise<Result>,
): Promise<Result> {
  try {
    return await act(file);
  } finally {
    await file.close();
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
