/** Whole files, encrypted and decrypted safely; the format is docs/file-format.md. */
import { type FileHandle, open } from 'node:fs/promises';
import type { Writable } from 'node:stream';
import type { SecretBytes } from '../server/base/secret-bytes.ts';
import {
  onFile,
  readHandle,
  refuseOccupied,
  writeStream,
  writeWhenWhole,
  writeWholeFile,
} from './encrypted-file-output.ts';
import {
  decryptStream,
  encryptStream,
  type FileDataKey,
  type FileHeader,
  readHeader,
} from './file-format.ts';

/** Bytes of the input that were read, and its length if that is known. */
export type Progress = (bytesDone: number, bytesTotal: number | undefined) => void;

export interface FilePaths {
  /** A path, or `-` for standard input. */
  readonly inPath: string;
  /** A path, or `-` for standard output. */
  readonly outPath: string;
  /** Replace an existing plain file; else it is refused. */
  readonly force?: boolean;
  readonly onProgress?: Progress;
  /** What `-` means; those of the process if absent. */
  readonly standardInput?: AsyncIterable<Buffer>;
  readonly standardOutput?: Writable;
}

export interface EncryptFileOptions extends FilePaths {
  /** Asks the server for a data key. It serves this file alone and is disposed of here. */
  readonly obtainDataKey: () => Promise<FileDataKey>;
}

export interface DecryptFileOptions extends FilePaths {
  /** Has the server unwrap the data key that the header holds. It is disposed of here. */
  readonly obtainDataKey: (header: FileHeader) => Promise<SecretBytes>;
}

/**
 * Encrypts a file in constant memory. The output appears under its name only when it is whole and on
 * disk; standard output streams. Throws `already-exists`, `not-found`, `storage-full` and the like,
 * and what `obtainDataKey` throws; the output is then as it was.
 */
export async function encryptFile(options: EncryptFileOptions): Promise<void> {
  await withInput(options, async (source) => {
    const key = await options.obtainDataKey();
    using dataKey = key.dataKey;
    const encrypted = encryptStream({ ...key, dataKey }, source);
    if (options.outPath === '-') {
      await writeStream(options.standardOutput ?? process.stdout, encrypted);
    } else {
      await writeWholeFile(options.outPath, options.force ?? false, encrypted);
    }
  });
}

/**
 * Decrypts a file in constant memory. No byte of content leaves before its end is authenticated: the
 * output gets its name then, and standard output its bytes. Throws as `encryptFile`, and
 * `invalid-ciphertext` for a file that is not whole and genuine. Returns the header.
 */
export async function decryptFile(options: DecryptFileOptions): Promise<FileHeader> {
  return await withInput(options, async (source) => {
    const { header, rest } = await readHeader(source);
    using dataKey = await options.obtainDataKey(header);
    const content = decryptStream(header, dataKey, rest);
    if (options.outPath === '-') {
      await writeWhenWhole(options.standardOutput ?? process.stdout, content);
    } else {
      await writeWholeFile(options.outPath, options.force ?? false, content);
    }
    return header;
  });
}

async function withInput<Result>(
  options: FilePaths,
  use: (source: AsyncIterable<Buffer>) => Promise<Result>,
): Promise<Result> {
  const { inPath, outPath, onProgress } = options;
  // Before the server is asked for a key: what will be refused needs none.
  if (outPath !== '-') await refuseOccupied(outPath, options.force ?? false);
  if (inPath === '-') {
    return await use(counted(options.standardInput ?? process.stdin, undefined, onProgress));
  }
  const handle = await onFile(inPath, open(inPath, 'r'));
  try {
    const total = await lengthOf(handle, inPath);
    return await use(counted(readHandle(handle, inPath), total, onProgress));
  } finally {
    await handle.close();
  }
}

/** The length of a plain file; pipes and devices do not know theirs. */
async function lengthOf(handle: FileHandle, path: string): Promise<number | undefined> {
  const found = await onFile(path, handle.stat());
  return found.isFile() ? found.size : undefined;
}

async function* counted(
  source: AsyncIterable<Buffer>,
  total: number | undefined,
  onProgress: Progress | undefined,
): AsyncGenerator<Buffer> {
  let done = 0;
  onProgress?.(done, total);
  for await (const bytes of source) {
    done += bytes.length;
    yield bytes;
    onProgress?.(done, total);
  }
}
