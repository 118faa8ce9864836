import { randomBytes } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { constants, type FileHandle, link, lstat, open, rename, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { isKeyreeveError, KeyreeveError } from '../server/base/errors.ts';

/** Pieces of a stream are gathered up to this before a write. */
const writeBytes = 1024 * 1024;
/** Content for standard output that is held in memory until its end is authenticated. */
export const heldInMemoryMaximumBytes = 8 * 1024 * 1024;
const privateMode = 0o600;
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Writes a file that appears under its name whole or not at all: temporary file beside it (0600), flush,
 * rename, flush of the folder. Nothing stays behind on failure or on SIGINT, SIGTERM or SIGHUP. An existing
 * file is refused unless `force`, and anything but a plain file always. `mode` is given to the file
 * before its name: a path could lead to another file by then. `content` is asked for its pieces
 * one after the other. Throws `already-exists`, `invalid-request`, `storage-full` and the like.
 */
export async function writeWholeFile(
  path: string,
  force: boolean,
  content: AsyncIterable<Buffer>,
  mode = privateMode,
): Promise<void> {
  await refuseOccupied(path, force);
  const temporary = join(dirname(path), `.keyreeve-${randomBytes(8).toString('hex')}.tmp`);
  // Step 1: watch for signals before the file is there, so that none can leave it behind.
  const guard = removeOnSignal(temporary);
  try {
    const handle = await onFile(path, open(temporary, 'wx', privateMode));
    try {
      // Step 2: all of the content, and so its authentication, then to disk.
      await writeGathered(handle, path, content, guard.interrupted);
      if (mode !== privateMode) await onFile(path, handle.chmod(mode));
      await onFile(path, handle.sync());
    } finally {
      await handle.close();
    }
    // Step 3: the name.
    guard.interrupted.throwIfAborted();
    await onFile(path, force ? rename(temporary, path) : placeNew(temporary, path));
    await flushFolder(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    // A signal took the file away, and whatever failed after that is its consequence.
    guard.interrupted.throwIfAborted();
    throw error;
  } finally {
    guard.release();
  }
}

/**
 * Copies content to a stream only after all of it was given without an error. Little is held in memory,
 * more in a file without a name in the folder for temporary files (`TMPDIR`).
 */
export async function writeWhenWhole(
  output: Writable,
  content: AsyncIterable<Buffer>,
  heldMaximumBytes = heldInMemoryMaximumBytes,
): Promise<void> {
  const held: Buffer[] = [];
  let heldBytes = 0;
  let spool: FileHandle | undefined;
  try {
    for await (const piece of content) {
      held.push(piece);
      heldBytes += piece.length;
      if (heldBytes <= (spool === undefined ? heldMaximumBytes : writeBytes)) continue;
      spool ??= await openNameless();
      await writeAll(spool, tmpdir(), held.splice(0));
      heldBytes = 0;
    }
    if (spool !== undefined) await writeStream(output, readHandle(spool, tmpdir(), 0));
    await writeStream(output, held);
  } finally {
    await spool?.close();
  }
}

/** Writes to a stream and waits for it at each piece; leaves it open. */
export async function writeStream(
  output: Writable,
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
): Promise<void> {
  // The failure arrives through the callback; unheard, the event would end the process.
  const ignore = () => undefined;
  output.on('error', ignore);
  for await (const piece of content) {
    await new Promise<void>((resolve, reject) => {
      output.write(piece, (error) => {
        if (error) reject(fileError('standard output', error));
        else resolve();
      });
    });
  }
  // Only now: a failed stream may raise its event later than the callback.
  output.off('error', ignore);
}

/**
 * The bytes of an open file, from `position` or from where it stands. A piece is valid until the next is
 * asked for: its memory is used again.
 */
export async function* readHandle(
  handle: FileHandle,
  path: string,
  position?: number,
): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(writeBytes);
  let at = position ?? null;
  for (;;) {
    const { bytesRead } = await onFile(path, handle.read(buffer, 0, buffer.length, at));
    if (bytesRead === 0) return;
    if (at !== null) at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Gives the failure of a file operation a code and a message that names the file. */
export async function onFile<Result>(path: string, operation: Promise<Result>): Promise<Result> {
  try {
    return await operation;
  } catch (error) {
    throw fileError(path, error);
  }
}

function fileError(path: string, error: unknown): KeyreeveError {
  if (isKeyreeveError(error)) return error;
  const cause = String((error as NodeJS.ErrnoException).code ?? error);
  switch (cause) {
    case 'ENOENT':
      return new KeyreeveError('not-found', `${path}: no such file or folder.`, {
        hint: 'Check the name, and the folder that you are in.',
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
      return new KeyreeveError('forbidden', `${path}: the system allows no access.`, {
        hint: 'Check the owner and mode of the file and its folder.',
        cause: error,
      });
    case 'EEXIST':
      return occupied(path);
    case 'EISDIR':
      return new KeyreeveError('invalid-request', `${path} is a folder.`, {
        hint: 'Name a file.',
        cause: error,
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return new KeyreeveError('storage-full', `${path}: no space is left to write it.`, {
        hint: 'Make room, or write to another disk.',
        cause: error,
      });
    default:
      return new KeyreeveError('internal', `${path}: ${cause}.`, { cause: error });
  }
}

function occupied(path: string): KeyreeveError {
  return new KeyreeveError('already-exists', `${path} exists already.`, {
    hint: 'Name another output, or use --force to replace it.',
  });
}

/** Refuses an output that exists: always if it is no plain file, else unless `force`. */
export async function refuseOccupied(path: string, force: boolean): Promise<void> {
  let found: Awaited<ReturnType<typeof lstat>>;
  try {
    found = await lstat(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw fileError(path, error);
  }
  // Taking the name of a device, a pipe or a link would do more than replace content.
  if (!found.isFile()) {
    throw new KeyreeveError('invalid-request', `${path} is not a plain file.`, {
      hint: 'Name a file, or - for standard output.',
    });
  }
  if (!force) throw occupied(path);
}

/** Gives a file its name unless the name was taken meanwhile, which `rename` would not notice. */
async function placeNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    // Some file systems (FAT, some network ones) have no hard links.
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) throw error;
    await refuseOccupied(path, false);
    await rename(temporary, path);
    return;
  }
  // The output is in its place: a second name that cannot be removed does not make it fail.
  await unlink(temporary).catch(() => undefined);
}

async function flushFolder(path: string): Promise<void> {
  // Windows opens no folders; there the rename is flushed with the file system's own journal.
  if (process.platform === 'win32') return;
  const folder = await onFile(path, open(path, constants.O_RDONLY));
  try {
    await onFile(path, folder.sync());
  } finally {
    await folder.close();
  }
}

/** Writes a stream with large calls, one of them while the next pieces are made. */
async function writeGathered(
  handle: FileHandle,
  path: string,
  content: AsyncIterable<Buffer>,
  interrupted: AbortSignal,
): Promise<void> {
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for await (const piece of content) {
      interrupted.throwIfAborted();
      gathered.push(piece);
      gatheredBytes += piece.length;
      if (gatheredBytes < writeBytes) continue;
      await writing;
      writing = writeAll(handle, path, gathered);
      // Its failure is taken at the next await; until then it must not count as unhandled.
      writing.catch(() => undefined);
      gathered = [];
      gatheredBytes = 0;
    }
    await writing;
    await writeAll(handle, path, gathered);
  } finally {
    // The caller closes the file: no write may be under way then.
    await writing.catch(() => undefined);
  }
}

async function writeAll(handle: FileHandle, path: string, pieces: Buffer[]): Promise<void> {
  let left = pieces.filter((piece) => piece.length > 0);
  while (left.length > 0) {
    let { bytesWritten } = await onFile(path, handle.writev(left));
    // A write may be short, on a disk that is nearly full for one.
    while (left.length > 0 && bytesWritten >= left[0]!.length) {
      bytesWritten -= left[0]!.length;
      left = left.slice(1);
    }
    if (bytesWritten > 0) left = [left[0]!.subarray(bytesWritten), ...left.slice(1)];
  }
}

/** A file that is gone when it is closed, or when the process ends in whatever way. */
async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `.keyreeve-${randomBytes(8).toString('hex')}.tmp`);
  const guard = removeOnSignal(path);
  try {
    const handle = await onFile(path, open(path, 'wx+', privateMode));
    try {
      await onFile(path, unlink(path));
    } catch (error) {
      await handle.close();
      throw error;
    }
    return handle;
  } finally {
    guard.release();
  }
}

/**
 * Removes a file when a signal asks the process to end, then lets the signal do so, unless the host
 * program listens for it too and decides itself: then only our writing ends.
 */
function removeOnSignal(path: string): { interrupted: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const release = () => {
    for (const signal of endingSignals) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    release();
    try {
      unlinkSync(path);
    } catch {
      // Not made yet, or in its place already.
    }
    const message = `Interrupted by ${signal}: nothing was written.`;
    controller.abort(new KeyreeveError('shutting-down', message));
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  for (const signal of endingSignals) process.on(signal, onSignal);
  return { interrupted: controller.signal, release };
}
