/** Public things in PEM files, which are replaced when they are renewed. */
import { open } from 'node:fs/promises';
import { onFile, refuseOccupied } from '../../client/encrypted-file-output.ts';
import { KeyreeveError } from '../../server/base/errors.ts';
import type { Tools } from '../act.ts';
import { refuseMixedOutput, writeOutput } from '../files.ts';

const lookedAtBytes = 65_536;

/**
 * Refuses, before anything is made, an output that cannot be written or that holds something else
 * than PEM of this label: a renewed certificate replaces the old one, but never a private key
 * whose name was typed by mistake. Throws `already-exists`, `invalid-request`.
 */
export async function checkPublicOutput(
  tools: Tools,
  path: string | undefined,
  label: string,
): Promise<void> {
  if (path === undefined) return;
  refuseMixedOutput(path, tools.output.json);
  if (path === '-') return;
  await refuseOccupied(path, true);
  const text = await startOf(path);
  if (text === '') return;
  if (text.includes(`-----BEGIN ${label}-----`) && !text.includes('PRIVATE KEY-----')) return;
  throw new KeyreeveError('already-exists', `${path} exists already and is something else`, {
    hint: 'Name another output, or move that file away.',
  });
}

/** Writes PEM that everybody may read. */
export async function writePublic(tools: Tools, path: string, pem: string): Promise<void> {
  await writeOutput(tools.context, path, Buffer.from(pemLines(pem), 'utf8'), {
    private: false,
    force: true,
  });
}

/** PEM that ends with its line, so that the next can follow. */
export function pemLines(pem: string): string {
  return pem === '' || pem.endsWith('\n') ? pem : `${pem}\n`;
}

async function startOf(path: string): Promise<string> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    // Said by the code that says it of every file.
    return await onFile(path, Promise.reject(error));
  }
  try {
    const buffer = Buffer.alloc(lookedAtBytes);
    const { bytesRead } = await onFile(path, handle.read(buffer, 0, buffer.length, 0));
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await handle.close();
  }
}
