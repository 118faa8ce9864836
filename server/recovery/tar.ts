import { type Extract, extract, pack } from 'tar-stream';
import { invalidBackup } from './backup-format.ts';

const fileMode = 0o600;

export interface TarFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** A tar archive of the files, as a stream; a file is held in memory while it is written. */
export function writeTar(files: AsyncIterable<TarFile>, modified: Date): AsyncIterable<Uint8Array> {
  const archive = pack();
  const add = ({ path, bytes }: TarFile) =>
    new Promise<void>((resolve, reject) => {
      const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const header = { name: path, mode: fileMode, mtime: modified };
      archive.entry(header, buffer, (error) => (error ? reject(error) : resolve()));
    });
  const fill = async () => {
    for await (const file of files) await add(file);
    archive.finalize();
  };
  fill().catch((error: Error) => archive.destroy(error));
  return archive as AsyncIterable<Uint8Array>;
}

/**
 * The files of a tar archive in order, each whole. `limit` says how large a file may be; what is
 * not a plain file is refused. The stream is read to its very end. Throws `backup-invalid`.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  limit: (path: string) => number,
): AsyncGenerator<TarFile> {
  const archive = extract();
  let failure: unknown;
  const feed = async () => {
    try {
      for await (const chunk of source) {
        if (!archive.write(chunk)) await drained(archive);
        if (archive.destroyed) return;
      }
      archive.end(undefined);
    } catch (error) {
      failure ??= error;
      archive.destroy(error as Error);
    }
  };
  const fed = feed();
  try {
    for await (const entry of archive) {
      const { name: path, type, size = 0 } = entry.header;
      if (type !== 'file') throw invalidBackup(`${path} is not a plain file`);
      if (size > limit(path)) throw invalidBackup(`${path} is too large`);
      const chunks: Buffer[] = [];
      for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
      yield { path, bytes: chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks) };
    }
  } catch (error) {
    throw failure ?? (isOurs(error) ? error : invalidBackup('its archive is damaged', error));
  } finally {
    archive.destroy(undefined);
  }
  await fed;
  if (failure !== undefined) throw failure;
}

/** Ends too when the archive is given up, since nothing drains then. */
function drained(archive: Extract): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      archive.off('drain', done);
      archive.off('close', done);
      resolve();
    };
    archive.on('drain', done);
    archive.on('close', done);
  });
}

function isOurs(error: unknown): boolean {
  return error instanceof Error && error.name === 'KeyreeveError';
}
