/** Files that commands take and make; `-` is standard input and output. */
import { open } from 'node:fs/promises';
import {
  onFile,
  readHandle,
  writeStream,
  writeWholeFile,
} from '../client/encrypted-file-output.ts';
import { KeyreeveError } from '../server/base/errors.ts';
import { readPrivateFile } from '../server/base/files.ts';
import { SecretBytes } from '../server/base/secret-bytes.ts';
import type { CliContext } from './context.ts';

export interface ReadOptions {
  readonly bytesMax: number;
  /** What to do with a file that is larger. */
  readonly tooLargeHint?: string;
}

/** Reads a file or standard input whole. Throws `too-large`, `not-found` and the like. */
export async function readInput(
  context: CliContext,
  path: string,
  options: ReadOptions,
): Promise<Buffer> {
  if (path === '-') return await collect(context.standardInput, path, options);
  const handle = await onFile(path, open(path, 'r'));
  try {
    return await collect(readHandle(handle, path), path, options);
  } finally {
    await handle.close();
  }
}

/** Reads text, without the newline at its end. */
export async function readText(
  context: CliContext,
  path: string,
  bytesMax: number,
): Promise<string> {
  return (await readInput(context, path, { bytesMax })).toString('utf8').replace(/\r?\n$/, '');
}

const passphraseBytesMax = 1024;

/**
 * Reads a passphrase from a file that only its owner may read, or from standard input, without the
 * newline at its end.
 */
export async function readPassphrase(context: CliContext, path: string): Promise<SecretBytes> {
  const bytes =
    path === '-'
      ? await readInput(context, path, { bytesMax: passphraseBytesMax + 2 })
      : readPrivateFile(path);
  let length = bytes.length;
  if (bytes[length - 1] === 0x0a) length -= 1;
  if (bytes[length - 1] === 0x0d) length -= 1;
  if (length === 0 || length > passphraseBytesMax) {
    bytes.fill(0);
    throw new KeyreeveError(
      'invalid-request',
      `the passphrase in ${nameOf(path)} has ${length} bytes`,
      {
        hint: `Write a passphrase of 1 to ${passphraseBytesMax} bytes there, and nothing else.`,
      },
    );
  }
  return new SecretBytes(bytes.subarray(0, length));
}

export interface WriteOptions {
  /** Readable by the owner alone; else as the umask says. */
  readonly private: boolean;
  /** Replace an existing file. */
  readonly force: boolean;
}

/** Writes a file whole or not at all, or to standard output. */
export async function writeOutput(
  context: CliContext,
  path: string,
  content: Uint8Array | AsyncIterable<Buffer>,
  options: WriteOptions,
): Promise<void> {
  const pieces = content instanceof Uint8Array ? once(Buffer.from(content)) : content;
  if (path === '-') {
    await writeStream(context.standardOutput, pieces);
    return;
  }
  const mode = options.private ? 0o600 : 0o666 & ~process.umask();
  await writeWholeFile(path, options.force, pieces, mode);
}

/** Standard output carries one thing: the file or the answer for programs. */
export function refuseMixedOutput(outPath: string | undefined, json: boolean): void {
  if (json && outPath === '-') {
    throw new KeyreeveError('invalid-request', '--json and --out - both want standard output', {
      hint: 'Name a file for --out, or leave --json out.',
    });
  }
}

/** Standard input can be read once: two files that are `-` cannot both come from there. */
export function refuseSharedInput(...paths: readonly (string | undefined)[]): void {
  if (paths.filter((path) => path === '-').length < 2) return;
  throw new KeyreeveError('invalid-request', 'only one file can come from standard input', {
    hint: 'Name a file for the other.',
  });
}

async function collect(
  source: AsyncIterable<Buffer>,
  path: string,
  options: ReadOptions,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of source) {
    length += piece.length;
    if (length > options.bytesMax) {
      throw new KeyreeveError(
        'too-large',
        `${nameOf(path)} is larger than ${options.bytesMax} bytes`,
        options.tooLargeHint === undefined ? {} : { hint: options.tooLargeHint },
      );
    }
    // The source may use its memory again.
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

function nameOf(path: string): string {
  return path === '-' ? 'standard input' : path;
}
