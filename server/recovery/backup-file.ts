import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';
import { flushFolder, privateFileMode } from '../base/files.ts';
import type { Storage } from '../storage/storage.ts';
import { type BackupContents, BackupWriter, type Written } from './backup-writer.ts';
import { type Protection, protect, requireProtection } from './protection.ts';
import { writeTar } from './tar.ts';

export interface BackupFile extends Written {
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of the encrypted file, hexadecimal. */
  readonly sha256: string;
}

/**
 * Writes a backup of one consistent state to a new file, encrypted, while the database goes on
 * being used; then reads the file again. The file has its name only when all of that went well.
 * Errors: `already-exists`, `invalid-request` (recipients), `storage-full`, `integrity-failed`.
 */
export async function writeBackupFile(
  storage: Storage,
  contents: BackupContents,
  protection: Protection,
  path: string,
): Promise<BackupFile> {
  await requireProtection(protection);
  const partial = `${path}.partial`;
  try {
    const { written, bytes, sha256 } = await storage.snapshot(async (db) => {
      const writer = new BackupWriter(db, contents);
      const tar = writeTar(writer.files(), new Date(writer.createdAt));
      const file = await writeStream(await protect(tar, protection), partial);
      return { written: writer.written, ...file };
    });
    if ((await hashFile(partial)) !== sha256) {
      const message = 'The backup on the disk is not what was written.';
      throw new KeyreeveError('integrity-failed', message, { hint: 'Check the disk.' });
    }
    await rename(partial, path);
    flushFolder(dirname(path));
    return { ...written, path, bytes, sha256 };
  } catch (error) {
    await rm(partial, { force: true });
    throw diskFault(error, path);
  }
}

/** SHA-256 of a file, hexadecimal. Error: `not-found`. */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of readFileStream(path)) hash.update(chunk);
  return hash.digest('hex');
}

/** The bytes of a file. Error: `not-found`. */
export async function* readFileStream(path: string): AsyncGenerator<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: 256 * 1024 });
  } catch (error) {
    throw diskFault(error, path);
  }
}

async function writeStream(
  chunks: AsyncIterable<Uint8Array>,
  path: string,
): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(path, 'wx', privateFileMode);
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
      for (let done = 0; done < chunk.length; ) {
        done += (await file.write(chunk, done)).bytesWritten;
      }
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

function diskFault(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (code === 'EEXIST') {
    return new KeyreeveError('already-exists', `${path} is there already.`, {
      hint: 'Choose another name, or move the file away.',
    });
  }
  if (code === 'ENOENT') {
    return new KeyreeveError('not-found', `There is no ${path}.`, { hint: 'Check the path.' });
  }
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new KeyreeveError('storage-full', `The disk of ${path} is full.`, {
      hint: 'Make room, then do it again.',
      cause: error,
    });
  }
  return error;
}
