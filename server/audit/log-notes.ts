import type { Kysely } from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import type { Schema } from '../storage/storage.ts';
import { loadLog, type Sealer } from './log-key.ts';
import { parseNote, parseVerifier, parseVerifiers, signNote, verifyNote } from './note.ts';
import { readTree } from './record-store.ts';

/**
 * Signs a text (whole lines, the last one ended) with the key of a log: the one of this origin, or
 * the one that is written to. Refuses a text that begins with the origin: it could pass for a
 * checkpoint.
 */
export async function signLogNote(
  db: Kysely<Schema>,
  sealer: Sealer,
  text: string,
  origin?: string,
): Promise<string> {
  const current = origin ?? (await readTree(db))?.origin ?? '';
  const log = await loadLog(db, sealer, current);
  if (text.startsWith(`${log.origin}\n`)) {
    throw new KeyreeveError('internal', 'A note must not begin as a checkpoint does.');
  }
  return signNote(text, log.signer);
}

/** A note that a log key signed: its text, and the key line of the signer. */
export interface LogNote {
  readonly text: string;
  readonly keyLine: string;
}

/** Opens a note signed by one of these keys. Throws `record-corrupt`. */
export function openLogNote(note: string, keyLines: readonly string[]): LogNote {
  const parsed = parseNote(note);
  const verifier = verifyNote(parsed, parseVerifiers(keyLines.join('\n')));
  return { text: parsed.text, keyLine: verifier.line };
}

/** Whether the text is the key line of a log. */
export function isLogKeyLine(line: string): boolean {
  try {
    return parseVerifier(line).line === line;
  } catch {
    return false;
  }
}
