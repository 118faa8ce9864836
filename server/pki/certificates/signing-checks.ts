import { type RawBuilder, sql } from 'kysely';
import { KeyreeveError } from '../../base/errors.ts';
import { compiledOnce, type Step, type Storage } from '../../storage/storage.ts';

/** A public key that is to be certified. */
export interface CheckedKey {
  /** SHA-256 of it. */
  readonly fingerprint: string;
  /** RFC 4514. */
  readonly subject: string;
  /** No living certificate of another subject may hold the key. */
  readonly exclusive: boolean;
}

/** The key of a CA, as it was read. */
export interface CheckedIssuer {
  readonly id: string;
  readonly name: string;
  readonly revision: number;
}

/** What a signature rests on. */
export interface Checked {
  readonly issuers: readonly CheckedIssuer[];
  /** SHA-256 of the issuers' certificates and of those above them. */
  readonly chain: readonly string[];
  readonly keys: readonly CheckedKey[];
}

/**
 * Fails the write unless every key may be certified and every issuer is as it was read: at that
 * moment, and not some time before it. One statement; what was broken is found by `findFault`.
 */
export function checkStep(storage: Storage, checked: Checked, now: number): Step {
  const { issuers, chain, keys } = checked;
  const fingerprints = keys.map(({ fingerprint }) => fingerprint);
  const exclusive = keys.filter((key) => key.exclusive);
  const parameters = [
    ...issuerParameters(issuers),
    ...chain,
    ...fingerprints,
    ...fingerprints,
    ...heldParameters(exclusive, now),
  ];
  const shape = `check ${issuers.length} ${chain.length} ${keys.length} ${exclusive.length}`;
  return guard(storage, shape, parameters, () => [
    ...issuers.map(isAsRead),
    ...(chain.length === 0 ? [] : [none(revokedAmong(chain))]),
    none(blockedAmong(fingerprints)),
    none(compromisedAmong(fingerprints)),
    ...(exclusive.length === 0 ? [] : [none(heldByOthers(exclusive, now))]),
  ]);
}

/**
 * For the write of the rows: the CAs are still as they were read, and no key was blocked while its
 * certificate was signed. One process gives a key to one subject at a time (`exclusively`); where
 * there may be several, the write itself finds that another one gave it away meanwhile.
 */
export function unchangedStep(
  storage: Storage,
  issuers: readonly CheckedIssuer[],
  keys: readonly CheckedKey[],
  now: number,
): Step {
  const fingerprints = keys.map(({ fingerprint }) => fingerprint);
  const isAlone = storage.dialect === 'sqlite';
  const exclusive = isAlone ? [] : keys.filter((key) => key.exclusive);
  const parameters = [
    ...issuerParameters(issuers),
    ...fingerprints,
    ...heldParameters(exclusive, now),
  ];
  const shape = `unchanged ${issuers.length} ${keys.length} ${exclusive.length}`;
  return guard(storage, shape, parameters, () => [
    ...issuers.map(isAsRead),
    none(blockedAmong(fingerprints)),
    ...(exclusive.length === 0 ? [] : [none(heldByOthers(exclusive, now))]),
  ]);
}

/** Which keys may not be certified, and why. */
export async function findRefusals(
  { db }: Storage,
  keys: readonly CheckedKey[],
  now: number,
): Promise<ReadonlyMap<string, KeyreeveError>> {
  const refused = new Map<string, KeyreeveError>();
  if (keys.length === 0) return refused;
  const fingerprints = keys.map(({ fingerprint }) => fingerprint);
  const exclusive = keys.filter((key) => key.exclusive);
  const [blocked, compromised, inUse] = await Promise.all([
    blockedAmong(fingerprints).execute(db),
    compromisedAmong(fingerprints).execute(db),
    exclusive.length === 0 ? { rows: [] } : heldByOthers(exclusive, now).execute(db),
  ]);
  for (const { fingerprint } of inUse.rows) refused.set(fingerprint, refusal('inUse'));
  for (const { fingerprint } of compromised.rows) refused.set(fingerprint, refusal('compromised'));
  for (const { fingerprint } of blocked.rows) refused.set(fingerprint, refusal('blocked'));
  return refused;
}

/** What `checkStep` has found broken; undefined where it holds by now. */
export async function findFault(
  storage: Storage,
  { issuers, chain, keys }: Checked,
  now: number,
): Promise<KeyreeveError | undefined> {
  const refused = await findRefusals(storage, keys, now);
  const [first] = refused.values();
  if (first !== undefined) return first;
  if (chain.length === 0) return undefined;
  const { rows } = await revokedAmong(chain).execute(storage.db);
  if (rows.length === 0) return undefined;
  const names = issuers.map(({ name }) => name).join(', ');
  return new KeyreeveError(
    'state-not-allowed',
    `The certificate of ${names}, or one above it, is revoked.`,
    { hint: 'Give the CA whose certificate it is another key: keyreeve ca rekey' },
  );
}

/** The error of a key that may not be certified. */
export function refusal(reason: keyof typeof refusals): KeyreeveError {
  const { message, hint } = refusals[reason];
  return new KeyreeveError('public-key-refused', message, { hint });
}

const refusals = {
  blocked: {
    message: 'The public key is blocked.',
    hint: 'Make a new key pair. What is blocked: keyreeve cert blocked-keys',
  },
  compromised: {
    message: 'The public key is one of this installation that is compromised.',
    hint: 'Make a new key pair.',
  },
  inUse: {
    message: 'A living certificate of another subject holds the public key.',
    hint: 'Make a key pair for each subject, or revoke the other certificate.',
  },
} as const;

type Found = { readonly fingerprint: string };

function guard(
  storage: Storage,
  shape: string,
  parameters: readonly unknown[],
  conditions: () => readonly RawBuilder<unknown>[],
): Step {
  return {
    query: compiledOnce(storage, shape, parameters, () =>
      sql`SELECT 1 AS "holds" WHERE ${sql.join([...conditions()], sql` AND `)}`.compile(storage.db),
    ),
    expect: {
      rows: 1,
      code: 'conflict',
      message: 'The CA or the public key was changed meanwhile.',
      hint: 'Repeat the request.',
    },
  };
}

function issuerParameters(issuers: readonly CheckedIssuer[]): unknown[] {
  return issuers.flatMap(({ id, revision }) => [id, revision]);
}

/** In the order in which `heldByOthers` names them. */
function heldParameters(exclusive: readonly CheckedKey[], now: number): unknown[] {
  if (exclusive.length === 0) return [];
  const fingerprints = exclusive.map(({ fingerprint }) => fingerprint);
  return [...fingerprints, ...exclusive.flatMap((key) => [key.fingerprint, key.subject]), now];
}

function isAsRead({ id, revision }: CheckedIssuer): RawBuilder<unknown> {
  return sql`EXISTS (SELECT 1 FROM "key" WHERE "id" = ${id} AND "revision" = ${revision})`;
}

function none(query: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`NOT EXISTS (${query})`;
}

function blockedAmong(fingerprints: readonly string[]): RawBuilder<Found> {
  return sql`SELECT "fingerprint" FROM "blocked_key" WHERE "fingerprint" IN (${sql.join(fingerprints)})`;
}

function compromisedAmong(fingerprints: readonly string[]): RawBuilder<Found> {
  return sql`SELECT "fingerprint" FROM "key_version"
    WHERE "fingerprint" IN (${sql.join(fingerprints)}) AND "state" = 'compromised'`;
}

function revokedAmong(chain: readonly string[]): RawBuilder<Found> {
  return sql`SELECT "fingerprint" FROM "certificate"
    WHERE "fingerprint" IN (${sql.join(chain)}) AND "revoked_at" IS NOT NULL`;
}

/** On hold is living too: a certificate comes back from there. */
function heldByOthers(keys: readonly CheckedKey[], now: number): RawBuilder<Found> {
  const pairs = keys.map((key) => sql`(${key.fingerprint}, ${key.subject})`);
  return sql`SELECT "key_fingerprint" AS "fingerprint" FROM "certificate"
    WHERE "key_fingerprint" IN (${sql.join(keys.map(({ fingerprint }) => fingerprint))})
      AND ("key_fingerprint", "subject") NOT IN (VALUES ${sql.join(pairs)})
      AND "not_after" > ${now} AND ("revoked_at" IS NULL OR "reason" = 'certificateHold')`;
}
