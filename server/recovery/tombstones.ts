import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isLogKeyLine, openLogNote, type Sealer, signLogNote } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { ensurePrivateFolder, writeFileDurably } from '../base/files.ts';
import { isId } from '../base/ids.ts';
import { serviceEntry } from '../commands/commands.ts';
import { tombstoneStep } from '../keys/keys.ts';
import { type StoreKeys, secretSealer } from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';

/** What is left of a destroyed key. */
export interface Tombstone {
  readonly keyId: string;
  readonly keyName: string;
  /** RFC 3339. */
  readonly destroyedAt: string;
}

/** The folder of tombstones in the folder of checkpoints. */
export const tombstonesFolder = 'tombstones';
const tombstoneHeader = 'keyreeve tombstone v1';
const successionHeader = 'keyreeve log key succession v1';
const noteLimitBytes = 16 * 1024;

const tombstoneSchema = z.strictObject({
  keyId: z.string().refine((id) => isId(id, 'key')),
  keyName: z.string().max(1000),
  destroyedAt: z.iso.datetime({ precision: 3 }),
});

/** Signs a text as a note with the key of the log: C2SP signed-note. */
export type SignNote = (text: string) => Promise<string>;

/**
 * What buries a key: a signed note in `<folder>/tombstones/<key id>.note`, on disk when it returns.
 * Burying a key again replaces its note.
 */
export function buryIn(folder: string, sign: SignNote): (tombstone: Tombstone) => Promise<void> {
  return async ({ keyId, keyName, destroyedAt }) => {
    const text = `${tombstoneHeader}\n${canonicalJson({ keyId, keyName, destroyedAt })}\n`;
    writeNote(folder, `${keyId}.note`, await sign(text));
  };
}

/** What is read anew at each look at what other nodes have destroyed. */
const followedAgain = 600_000;

export interface Tombstones {
  bury(tombstone: Tombstone): Promise<void>;
  /**
   * Writes tombstones of keys that other nodes have destroyed into the folder of this one: a restore
   * on whichever host replays them. Returns how many there were.
   */
  follow(): Promise<number>;
}

/** Tombstones of a running service, signed by the key of its log. */
export function createTombstones(options: {
  readonly folder: string;
  readonly storage: Storage;
  readonly sealer: StoreKeys;
}): Tombstones {
  const { folder, storage } = options;
  const sealer = secretSealer(options.sealer);
  const bury = buryIn(folder, (text) => signLogNote(storage.db, sealer, text));
  let since = 0;
  const follow = async () => {
    const rows = await storage.db
      .selectFrom('tombstone')
      .select(['key_id', 'key_name', 'destroyed_at'])
      .where('destroyed_at', '>', since)
      .orderBy('destroyed_at')
      .execute();
    let kept = 0;
    for (const row of rows) {
      if (existsSync(join(folder, tombstonesFolder, `${row.key_id}.note`))) continue;
      const destroyedAt = formatTime(row.destroyed_at);
      await bury({ keyId: row.key_id, keyName: row.key_name, destroyedAt });
      kept += 1;
    }
    // Clocks of nodes differ, and one that began earlier may have written later.
    since = (rows.at(-1)?.destroyed_at ?? since + followedAgain) - followedAgain;
    return kept;
  };
  return { bury, follow };
}

/**
 * Says, signed by the key of the log before, which key the log goes on with after a restore: an
 * older backup that is restored later knows the old key alone, and must believe the tombstones that
 * the new one signs.
 */
export async function announceSuccessor(
  folder: string,
  storage: Storage,
  sealer: Sealer,
  from: string,
): Promise<void> {
  const newest = await storage.db
    .selectFrom('log_key')
    .innerJoin('tree', 'tree.origin', 'log_key.origin')
    .select(['log_key.id', 'verifier_key'])
    .executeTakeFirstOrThrow();
  const text = `${successionHeader}\n${newest.verifier_key}\n`;
  const note = await signLogNote(storage.db, sealer, text, from);
  writeNote(folder, `${newest.id}.succession.note`, note);
}

export interface Replayed {
  /** Keys that were destroyed again. */
  readonly keys: readonly Tombstone[];
  /** Notes that were not believed, and why. They changed nothing. */
  readonly refused: readonly { readonly file: string; readonly reason: string }[];
}

/**
 * Destroys, in a database that was restored, the keys that were destroyed after its backup was
 * made. A tombstone counts if it is signed by a log key of this database, or by one that a chain of
 * successions leads to from there.
 */
export async function replayTombstones(
  storage: Storage,
  folder: string,
  keyLines: readonly string[],
  clock: Clock,
): Promise<Replayed> {
  const { files, refused } = readNotes(join(folder, tombstonesFolder));
  const trusted = followSuccessions(files, keyLines);
  const keys: Tombstone[] = [];
  for (const { file, note } of files) {
    if (isSuccession(note)) {
      const opened = open(note, trusted);
      if (typeof opened === 'string') refused.push({ file, reason: opened });
      continue;
    }
    const tombstone = openTombstone(file, note, trusted);
    if (typeof tombstone === 'string') refused.push({ file, reason: tombstone });
    else if (await destroyAgain(storage, tombstone, clock)) keys.push(tombstone);
  }
  return { keys, refused };
}

interface NoteFile {
  readonly file: string;
  readonly note: string;
}

function readNotes(folder: string) {
  const files: NoteFile[] = [];
  const refused: { file: string; reason: string }[] = [];
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  for (const name of names.filter((one) => one.endsWith('.note'))) {
    const path = join(folder, name);
    if (!statSync(path).isFile() || statSync(path).size > noteLimitBytes) {
      refused.push({ file: name, reason: 'It is no file of a note.' });
    } else files.push({ file: name, note: readFileSync(path, 'utf8') });
  }
  return { files, refused };
}

function isSuccession(note: string): boolean {
  return note.startsWith(`${successionHeader}\n`);
}

/** The keys to believe: those given, and those that a believed key named its successor. */
function followSuccessions(files: readonly NoteFile[], keyLines: readonly string[]): string[] {
  const trusted = [...keyLines];
  const left = new Set(files.filter(({ note }) => isSuccession(note)));
  for (let grown = true; grown; ) {
    grown = false;
    for (const file of left) {
      const opened = open(file.note, trusted);
      if (typeof opened === 'string') continue;
      left.delete(file);
      const line = opened.text.split('\n')[1] ?? '';
      if (trusted.includes(line) || !isLogKeyLine(line)) continue;
      trusted.push(line);
      grown = true;
    }
  }
  return trusted;
}

/** The note as opened, or why it is not believed. */
function open(note: string, keyLines: readonly string[]) {
  try {
    return openLogNote(note, keyLines);
  } catch (error) {
    if (isKeyreeveError(error)) return error.message;
    throw error;
  }
}

function openTombstone(file: string, note: string, keyLines: readonly string[]) {
  const opened = open(note, keyLines);
  if (typeof opened === 'string') return opened;
  const [header, body, end, ...more] = opened.text.split('\n');
  if (header !== tombstoneHeader || end !== '' || more.length > 0) return 'It is no tombstone.';
  let found: unknown;
  try {
    found = JSON.parse(body ?? '');
  } catch {
    return 'It is no tombstone.';
  }
  const result = tombstoneSchema.safeParse(found);
  if (!result.success) return 'It is no tombstone.';
  if (file !== `${result.data.keyId}.note`) return 'It is the tombstone of another key.';
  return result.data;
}

/** True if the key was there and not destroyed yet. */
async function destroyAgain(
  storage: Storage,
  { keyId, keyName, destroyedAt }: Tombstone,
  clock: Clock,
): Promise<boolean> {
  const { db } = storage;
  const living = await db
    .selectFrom('key_version')
    .select('version')
    .where('key_id', '=', keyId)
    .where((where) =>
      where.or([where('state', '!=', 'destroyed'), where('private_blob', 'is not', null)]),
    )
    .execute();
  if (living.length === 0) return false;
  const versions = db
    .updateTable('key_version')
    .set({ state: 'destroyed', state_changed_at: Date.parse(destroyedAt), private_blob: null })
    .where('key_id', '=', keyId)
    .compile();
  const key = db
    .updateTable('key')
    .set(({ eb }) => ({ destroy_at: null, revision: eb('revision', '+', 1) }))
    .where('id', '=', keyId)
    .compile();
  await storage.commit({
    steps: [
      { query: versions },
      { query: key },
      tombstoneStep(storage, { keyId, keyName }, Date.parse(destroyedAt)),
    ],
    entries: [
      serviceEntry(clock, 'key.destroyed', 'ok', {
        keyId,
        keyName,
        detail: canonicalJson({ destroyedAt, replayed: true }),
      }),
    ],
    raisesEpoch: true,
  });
  return true;
}

function writeNote(folder: string, name: string, note: string): void {
  const place = join(folder, tombstonesFolder);
  ensurePrivateFolder(place);
  writeFileDurably(join(place, name), note);
}
