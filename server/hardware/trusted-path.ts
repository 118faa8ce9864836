import type { Stats } from 'node:fs';
import { lstat, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, sep } from 'node:path';
import { KeyreeveError } from '../base/errors.ts';

const sticky = 0o1000;
const writableByOthers = 0o022;

/**
 * The real place of a file or folder that the service acts upon as if it were its own code or
 * configuration: nobody but root and the user of the service may be able to change it, or to put
 * another in its place. Error: `invalid-request`; `what` begins the message.
 */
export async function requireTrustedPath(
  what: string,
  path: string,
  kind: 'file' | 'file or folder' | 'socket',
): Promise<string> {
  if (!isAbsolute(path))
    throw refused(`${what} is not an absolute path.`, 'Begin it with a slash.');
  const real = await realpath(path).catch(() => undefined);
  const facts = real === undefined ? undefined : await lstat(real).catch(() => undefined);
  if (real === undefined || facts === undefined) {
    throw refused(`${what}, ${path}, is not there.`, 'Install it, or correct the path.');
  }
  const isRight =
    kind === 'socket'
      ? facts.isSocket()
      : facts.isFile() || (kind !== 'file' && facts.isDirectory());
  if (!isRight) throw refused(`${what}, ${path}, is not a ${kind}.`, `Name the ${kind} itself.`);
  // Who may write to a socket may speak to it, and not take its place.
  requireOwn(what, real, facts, kind === 'socket');
  for (let folder = dirname(real); ; folder = dirname(folder)) {
    const above = await stat(folder);
    // In a folder such as /tmp everybody may add, but nobody replace what is another's.
    // But whoever owns the folder can.
    requireOwn(what, folder, above, (above.mode & sticky) !== 0);
    if (folder === dirname(folder)) return real;
  }
}

/** Whether a path is this folder, or in it. Both are real paths. */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

function requireOwn(what: string, path: string, facts: Stats, mayBeWritten = false): void {
  const isOwn = facts.uid === 0 || facts.uid === process.getuid?.();
  if (isOwn && (mayBeWritten || (facts.mode & writableByOthers) === 0)) return;
  const mode = (facts.mode & 0o7777).toString(8);
  throw refused(
    `${what} could be changed by others: ${path} ${isOwn ? `has mode ${mode}` : 'belongs to another user'}.`,
    isOwn ? `Run: chmod go-w ${path}` : `Run: chown root ${path}`,
  );
}

function refused(message: string, hint: string): KeyreeveError {
  return new KeyreeveError('invalid-request', message, { hint });
}
