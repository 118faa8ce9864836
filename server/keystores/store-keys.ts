import { createSecretKey, type KeyObject, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { openSealed, sealBytes } from '../crypto/crypto.ts';
import type { Step, Storage } from '../storage/storage.ts';
import { formatSealLocation, nameSealLocation } from './root-key.ts';
import type { RootKey } from './root-key-kinds.ts';

const storeKeyBytes = 32;
const fingerprintName = 'root-key-fingerprint';
/** Where the root key was last seen: a later start that is sent elsewhere can say so. */
const placeName = 'root-key-place';

/**
 * The keys between the root key and everything sealed in the database. Moving the root key means
 * wrapping these few again, and nothing else.
 */
export class StoreKeys {
  readonly #keys: ReadonlyMap<string, KeyObject>;
  readonly currentId: string;

  constructor(keys: ReadonlyMap<string, KeyObject>, currentId: string) {
    this.#keys = keys;
    this.currentId = currentId;
  }

  /** Seals under the current store key; the result begins with that key's id. */
  seal(label: string, bytes: Uint8Array): Uint8Array {
    const id = Buffer.from(this.currentId, 'latin1');
    const sealed = sealBytes(this.#keys.get(this.currentId)!, bytes, Buffer.from(label, 'utf8'));
    return Buffer.concat([Buffer.of(id.length), id, sealed]);
  }

  /** Whether the store keys that are stored are these, wrapped by this root key. */
  async areWrappedBy(rootKey: RootKey, { db }: Pick<Storage, 'db'>): Promise<boolean> {
    const rows = await db.selectFrom('store_key').select(['id', 'wrapped']).execute();
    for (const { id, wrapped } of rows) {
      const known = this.#keys.get(id)?.export();
      const bytes = await rootKey.unwrap(storeKeyLabel(id), wrapped).catch(() => undefined);
      const isSame = known !== undefined && bytes !== undefined && isEqual(known, bytes);
      known?.fill(0);
      bytes?.fill(0);
      if (!isSame) return false;
    }
    return rows.length > 0;
  }

  /** Opens what `seal` made with the same label. */
  unseal(label: string, sealed: Uint8Array): Buffer {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    const idLength = bytes[0] ?? 0;
    const id = bytes.toString('latin1', 1, 1 + idLength);
    const key = this.#keys.get(id);
    if (key === undefined) {
      throw new KeyreeveError('integrity-failed', `Sealed data names an unknown store key.`, {
        hint: 'Run: keyreeve audit verify, and restore a backup if the database is damaged.',
      });
    }
    try {
      return openSealed(key, bytes.subarray(1 + idLength), Buffer.from(label, 'utf8'));
    } catch (cause) {
      throw new KeyreeveError('integrity-failed', 'Sealed data in the database is damaged.', {
        cause,
        hint: 'Restore the last backup beside it and compare.',
      });
    }
  }
}

/** Sealing of secrets that stay secrets when opened: the seeds of the log keys. */
export function secretSealer(storeKeys: StoreKeys) {
  return {
    seal: (secret: SecretBytes, context: string): Uint8Array =>
      storeKeys.seal(context, secret.reveal()),
    unseal: (sealed: Uint8Array, context: string): SecretBytes =>
      new SecretBytes(storeKeys.unseal(context, sealed)),
  };
}

/**
 * Opens the store keys, or makes the first one. A database that was sealed by another root key is
 * refused before anything is read from it.
 */
export async function openStoreKeys(
  storage: Storage,
  rootKey: RootKey,
  clock: Clock,
): Promise<StoreKeys> {
  await requireFingerprint(storage, rootKey);
  let rows = await storage.db
    .selectFrom('store_key')
    .select(['id', 'wrapped', 'root_fingerprint', 'is_current'])
    .execute();
  if (rows.length === 0) {
    await makeStoreKey(storage, rootKey, clock).catch((error: unknown) => {
      // Another node may have made it, under the same root key.
      if (!isKeyreeveError(error, 'conflict')) throw error;
    });
    await requireFingerprint(storage, rootKey);
    rows = await storage.db
      .selectFrom('store_key')
      .select(['id', 'wrapped', 'root_fingerprint', 'is_current'])
      .execute();
  }
  const keys = new Map<string, KeyObject>();
  for (const row of rows) {
    const bytes = await rootKey.unwrap(storeKeyLabel(row.id), row.wrapped);
    keys.set(row.id, createSecretKey(bytes));
    bytes.fill(0);
  }
  const current = rows.find((row) => row.is_current === 1);
  if (current === undefined) {
    throw new KeyreeveError('integrity-failed', 'No store key is marked as the current one.');
  }
  await notePlace(storage, rootKey);
  return new StoreKeys(keys, current.id);
}

/** The fingerprint of the root key that this database was sealed with; undefined when new. */
export function sealedFingerprint(storage: Pick<Storage, 'db'>): Promise<string | undefined> {
  return readMeta(storage, fingerprintName);
}

/** Where the root key was last, as `KEYREEVE_SEAL` says it; undefined when new. */
export function rootKeyPlace(storage: Pick<Storage, 'db'>): Promise<string | undefined> {
  return readMeta(storage, placeName);
}

/** What to do where the root key in force is not where it was looked for. */
export async function whereRootKeyIs(storage: Pick<Storage, 'db'>): Promise<string> {
  const place = await rootKeyPlace(storage);
  return place === undefined
    ? 'Point KEYREEVE_SEAL at the right root key, or bring its folder back.'
    : `It was last at ${place}: bring it back there, and set KEYREEVE_SEAL to that place.`;
}

async function readMeta({ db }: Pick<Storage, 'db'>, name: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('meta')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.value;
}

async function requireFingerprint(storage: Storage, rootKey: RootKey): Promise<void> {
  const expected = await sealedFingerprint(storage);
  if (expected === undefined || expected === rootKey.fingerprint) return;
  throw new KeyreeveError(
    'root-key-mismatch',
    `The root key at ${nameSealLocation(rootKey.location)} (${rootKey.fingerprint}) is not the one that sealed this database (${expected}).`,
    { hint: await whereRootKeyIs(storage) },
  );
}

async function notePlace(storage: Storage, rootKey: RootKey): Promise<void> {
  if ((await readMeta(storage, placeName)) === formatSealLocation(rootKey.location)) return;
  await storage.commit({ steps: [placeStep(storage, rootKey)], entries: [] });
}

function placeStep({ db }: Storage, rootKey: RootKey): Step {
  const value = formatSealLocation(rootKey.location);
  return {
    query: db
      .insertInto('meta')
      .values({ name: placeName, value })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ value }))
      .compile(),
  };
}

async function makeStoreKey(storage: Storage, rootKey: RootKey, clock: Clock): Promise<void> {
  const id = newId('sto');
  const bytes = randomBytes(storeKeyBytes);
  const wrapped = await wrapProven(rootKey, storeKeyLabel(id), bytes);
  bytes.fill(0);
  await storage.commit({
    steps: [
      {
        query: storage.db
          .insertInto('store_key')
          .values({
            id,
            wrapped,
            root_fingerprint: rootKey.fingerprint,
            created_at: clock.now(),
            is_current: 1,
          })
          .compile(),
      },
      {
        query: storage.db
          .insertInto('meta')
          .values({ name: fingerprintName, value: rootKey.fingerprint })
          .compile(),
      },
    ],
    entries: [],
  });
}

/**
 * The steps that wrap every store key under another root key: all in one write, so that a crash
 * leaves the old root key or the new one in force, never half of each.
 */
export async function rewrapSteps(
  storage: Storage,
  from: RootKey,
  to: RootKey,
): Promise<readonly Step[]> {
  await requireFingerprint(storage, from);
  const rows = await storage.db.selectFrom('store_key').select(['id', 'wrapped']).execute();
  const steps: Step[] = [];
  for (const row of rows) {
    const bytes = await from.unwrap(storeKeyLabel(row.id), row.wrapped);
    const wrapped = await wrapProven(to, storeKeyLabel(row.id), bytes);
    bytes.fill(0);
    steps.push({
      query: storage.db
        .updateTable('store_key')
        .set({ wrapped, root_fingerprint: to.fingerprint })
        .where('id', '=', row.id)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'The store keys changed meanwhile.' },
    });
  }
  steps.push({
    query: storage.db
      .updateTable('meta')
      .set({ value: to.fingerprint })
      .where('name', '=', fingerprintName)
      .where('value', '=', from.fingerprint)
      .compile(),
    expect: { rows: 1, code: 'conflict', message: 'The root key was moved meanwhile.' },
  });
  steps.push(placeStep(storage, to), notManaged(storage, to));
  return steps;
}

/** A key with a row can be used, and destroyed, by whoever has the right: none to rest all others on. */
function notManaged({ db }: Storage, { fingerprint }: RootKey): Step {
  return {
    query: db
      .selectFrom('key_version')
      .select('key_id')
      .where('fingerprint', 'like', `${fingerprint}%`)
      .where('state', '!=', 'destroyed')
      .compile(),
    expect: {
      rows: 0,
      code: 'conflict',
      message: 'What lies there is a key of the service already, and cannot be the root key too.',
      hint: 'Name another object: one that is not there is made.',
    },
  };
}

/** Wrapped, and opened again before anything rests on it: a token could do one and not the other. */
async function wrapProven(rootKey: RootKey, label: string, bytes: Buffer): Promise<Uint8Array> {
  const wrapped = await rootKey.wrap(label, bytes);
  const opened = await rootKey.unwrap(label, wrapped);
  const isSame = isEqual(opened, bytes);
  opened.fill(0);
  if (isSame) return wrapped;
  throw new KeyreeveError(
    'integrity-failed',
    'The root key opens something else than it wrapped.',
    {
      hint: `Look at the token or the disk at ${nameSealLocation(rootKey.location)}; nothing was changed.`,
    },
  );
}

function isEqual(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function storeKeyLabel(id: string): string {
  return `store key\n${id}`;
}
