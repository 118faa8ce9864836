import { mkdirSync, readdirSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { onFile } from '../../client/encrypted-file-output.ts';
import { isKeyreeveError, KeyreeveError } from '../../server/base/errors.ts';
import { flushFolder } from '../../server/base/files.ts';
import type { Tools } from '../act.ts';

const pathLengthMax = 200;
/** Three groups of digits, tile levels, and the folders around them: no path of an export is deeper. */
const pathPartsMax = 12;

export async function exportRecord(
  tools: Tools,
  options: { redact?: string[] },
  folder: string,
): Promise<void> {
  const redact = (options.redact ?? []).flatMap((list) => list.split(',')).filter(Boolean);
  const client = tools.client();
  prepareEmptyFolder(folder);
  const stream = await client.stream('audit.export', { body: { redact } });
  const count = await unpack(stream, folder);
  tools.output.data({ folder: resolve(folder), files: count });
  tools.output.note(`wrote ${count} files to ${folder}`);
  tools.output.note(
    `verify it with: keyreeve audit verify ${folder} --checkpoint FILE --log-key FILE, both from your own keeping`,
  );
}

/** Makes the folder, or takes an empty one. Throws `not-empty`. */
export function prepareEmptyFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (readdirSync(folder).length > 0) {
    throw new KeyreeveError('not-empty', `${folder} is not empty`, {
      hint: 'Name an empty folder, or one that does not exist yet.',
    });
  }
}

/**
 * Unpacks a tar into an empty folder: plain files under relative paths of plain names alone, none
 * twice. Anything else is refused, and what was written before stays to be looked at. Returns
 * how many files there were.
 */
export async function unpack(source: AsyncIterable<Buffer>, folder: string): Promise<number> {
  const unpacker = extract();
  let count = 0;
  const writing = (async () => {
    for await (const entry of unpacker) {
      const path = acceptedPath(entry.header);
      if (path === undefined) {
        entry.resume();
        continue;
      }
      await writeEntry(join(folder, path), entry as AsyncIterable<Buffer>);
      count += 1;
    }
  })();
  const [read, written] = await Promise.allSettled([
    pipeline(Readable.from(source), unpacker),
    writing,
  ]);
  // Where writing failed, reading failed only because of it; where reading did, the reason is there.
  for (const outcome of [written, read]) {
    if (outcome.status === 'rejected' && isKeyreeveError(outcome.reason)) throw outcome.reason;
  }
  for (const outcome of [written, read]) {
    if (outcome.status === 'rejected') throw notAnExport('is not whole', outcome.reason);
  }
  if (count === 0) throw notAnExport('is empty');
  flushFolder(folder);
  return count;
}

/** The path of a plain file; undefined for a folder, which its files bring along. */
function acceptedPath(header: Header): string | undefined {
  const { name, type } = header;
  if (type !== 'file' && type !== 'directory') throw notAnExport(`holds a ${type}`);
  const parts = name.replace(/\/$/, '').split('/');
  const isPlain = parts.every((part) => /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(part));
  if (!isPlain || name.length > pathLengthMax || parts.length > pathPartsMax) {
    throw notAnExport('holds a path that no export has');
  }
  return type === 'file' ? parts.join('/') : undefined;
}

async function writeEntry(path: string, content: AsyncIterable<Buffer>): Promise<void> {
  await onFile(path, mkdir(dirname(path), { recursive: true, mode: 0o700 }));
  const handle = await onFile(path, open(path, 'wx', 0o600));
  try {
    for await (const piece of content) await onFile(path, handle.writeFile(piece));
  } finally {
    await handle.close();
  }
}

function notAnExport(why: string, cause?: unknown): KeyreeveError {
  return new KeyreeveError('integrity-failed', `the export that the service sent ${why}`, {
    hint: 'Remove the folder and export again.',
    cause,
  });
}
