/** What `login` leaves for the next command: where the service is, its CA, the token. */
import { lstatSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { KeyreeveError } from '../server/base/errors.ts';
import {
  ensurePrivateFolder,
  exists,
  readPrivateFile,
  requirePrivate,
  writeFileDurably,
} from '../server/base/files.ts';
import type { CliContext } from './context.ts';

const rememberedRecord = z.strictObject({
  origin: z.string(),
  size: z.number(),
  checkpoint: z.string(),
  logKey: z.string(),
});
/** What this client saw of a record when it last verified it. */
export type RememberedRecord = z.output<typeof rememberedRecord>;

const profile = z.strictObject({
  url: z.string(),
  caPem: z.string().optional(),
  token: z.string().optional(),
  principal: z.string().optional(),
  expiresAt: z.string().optional(),
  /** By the SHA-256 of the CA certificate's key, or the address where the CA is the system's. */
  records: z.record(z.string(), rememberedRecord).default({}),
});
export type Profile = z.output<typeof profile>;

/** Path of the profile, after the XDG base directory specification. */
export function profilePath(context: CliContext): string {
  const configured = context.env.XDG_CONFIG_HOME;
  // A relative path there is to be ignored, says the specification.
  const base = configured?.startsWith('/') ? configured : join(context.homeFolder, '.config');
  return join(base, 'keyreeve', 'profile.json');
}

/** The profile, or undefined where there is none. A file open to others is refused. */
export function readProfile(context: CliContext): Profile | undefined {
  const path = profilePath(context);
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
  requirePrivate(dirname(path), 'folder');
  const bytes = readPrivateFile(path);
  try {
    return profile.parse(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    throw new KeyreeveError('invalid-request', `${path} is not a profile`, {
      hint: 'Move it away and log in again.',
      cause: error,
    });
  }
}

/** Makes the folder of the profile; `lax-mode` where it, or a profile in it, is open to others. */
export function prepareProfile(context: CliContext): void {
  const path = profilePath(context);
  ensurePrivateFolder(dirname(path));
  if (exists(path)) requirePrivate(path, 'file');
}

/** Writes the profile, 0600 in a folder of 0700. */
export function writeProfile(context: CliContext, content: Profile): void {
  prepareProfile(context);
  const path = profilePath(context);
  writeFileDurably(path, `${JSON.stringify(content, null, 2)}\n`);
}
