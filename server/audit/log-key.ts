import { randomBytes } from 'node:crypto';
import type { Kysely } from 'kysely';
import { KeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import type { Schema, Step } from '../storage/storage.ts';
import {
  type Checkpoint,
  checkpointText,
  openCheckpoint,
  parseVerifier,
  type Signer,
  signerFromSeed,
  signNote,
  type TreeHead,
  type Verifier,
} from './note.ts';
import { digest } from './tree.ts';

const seedLengthBytes = 32;
const originSuffixLength = 6;

/**
 * Seals the seed of the log's key for the database. The context belongs to the sealed bytes: opening
 * with another one must fail.
 */
export interface Sealer {
  seal(secret: SecretBytes, context: string): Promise<Uint8Array> | Uint8Array;
  unseal(sealed: Uint8Array, context: string): Promise<SecretBytes> | SecretBytes;
}

/** A log as one who may write to it knows it. */
export interface Log {
  readonly origin: string;
  readonly signer: Signer;
  /** The state of the log that this one continues after a restore. */
  readonly continues: TreeHead | undefined;
}

/**
 * A new log with a fresh key, and the step that stores it. The origin ends in random letters: the same
 * backup restored twice makes two logs.
 */
export async function makeLog(
  db: Kysely<Schema>,
  sealer: Sealer,
  options: {
    readonly installationId: string;
    readonly number: number;
    readonly now: number;
    /** The last checkpoint of the log before, and what it says. */
    readonly predecessor?: { readonly note: string; readonly head: TreeHead };
  },
): Promise<{ log: Log; step: Step }> {
  const suffix = randomBytes(originSuffixLength).toString('hex').slice(0, originSuffixLength);
  const origin = `keyreeve.local/${options.installationId}/${options.number}-${suffix}`;
  using seed = new SecretBytes(randomBytes(seedLengthBytes));
  const signer = signerFromSeed(origin, seed.reveal());
  const sealed = await sealer.seal(seed, sealContext(origin));
  const row = {
    id: digest(Buffer.from(signer.verifier.line)).toString('hex', 0, 16),
    origin,
    verifier_key: signer.verifier.line,
    sealed_seed: sealed,
    created_at: options.now,
    predecessor: options.predecessor?.note ?? null,
  };
  const query = db.insertInto('log_key').values(row).compile();
  return { log: { origin, signer, continues: options.predecessor?.head }, step: { query } };
}

/** The log of this origin. Throws `record-corrupt` if its key is not here or is another. */
export async function loadLog(db: Kysely<Schema>, sealer: Sealer, origin: string): Promise<Log> {
  const row = await db
    .selectFrom('log_key')
    .select(['verifier_key', 'sealed_seed', 'predecessor'])
    .where('origin', '=', origin)
    .executeTakeFirst();
  if (row === undefined) throw unusable(`has no key for ${origin}`);
  using seed = await sealer.unseal(row.sealed_seed, sealContext(origin));
  const signer = signerFromSeed(origin, seed.reveal());
  if (signer.verifier.line !== row.verifier_key) throw unusable(`has a wrong key for ${origin}`);
  const verifiers = await readVerifiers(db);
  const continues =
    row.predecessor === null ? undefined : openCheckpoint(row.predecessor, verifiers);
  return { origin, signer, continues };
}

/** All keys that ever signed checkpoints of this record, oldest first. */
export async function readVerifiers(db: Kysely<Schema>): Promise<Verifier[]> {
  const rows = await db
    .selectFrom('log_key')
    .select('verifier_key')
    .orderBy('created_at')
    .orderBy('id')
    .execute();
  return rows.map((row) => parseVerifier(row.verifier_key));
}

/** The signed checkpoint of this log at this size. */
export function signCheckpoint(log: Log, size: number, root: Buffer): string {
  const { origin, continues } = log;
  const checkpoint: Checkpoint = { origin, size, root, continues };
  return signNote(checkpointText(checkpoint), log.signer);
}

function sealContext(origin: string): string {
  return `log-key:${origin}`;
}

function unusable(reason: string): KeyreeveError {
  return new KeyreeveError('record-corrupt', `The record ${reason}.`, {
    hint: 'Restore from a backup.',
  });
}
