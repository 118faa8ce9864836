import { type Insertable, type Selectable, sql } from 'kysely';
import { z } from 'zod';
import { type AssuranceLevel, assuranceNames } from '../../api/assurance.ts';
import { deadlineSecondsDefault, type KeystoreDrill } from '../../api/routes/keystores.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Schema, Step, Storage } from '../storage/storage.ts';

/** A keystore that was added by command, as stored. */
export type KeystoreRecord = TokenRecord | GroupRecord;

interface CommonRecord {
  readonly name: string;
  /** Whether the record says that it answers. */
  readonly isAvailable: boolean;
  readonly lastDrill: KeystoreDrill | null;
  /** As it was added; `readReviews` tells what is in force. */
  readonly reviewEveryDays?: number | undefined;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly revision: number;
}

export interface TokenRecord extends CommonRecord {
  readonly kind: 'pkcs11';
  readonly uri: string;
  readonly assurance: AssuranceLevel | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** What tells the token from all others: two keystores of one token are reviewed as one. */
  readonly tokenId?: string | undefined;
  readonly refusedPin: string | undefined;
}

export interface GroupRecord extends CommonRecord {
  readonly kind: 'group';
  readonly primary: string;
  readonly secondary: string;
  readonly deadlineSeconds: number;
}

const tokenSettings = z.object({
  assurance: z.enum(assuranceNames).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  tokenId: z.string().optional(),
  reviewEveryDays: z.number().optional(),
});
const groupSettings = z.object({
  primary: z.string(),
  secondary: z.string(),
  deadlineSeconds: z.number().default(deadlineSecondsDefault),
  reviewEveryDays: z.number().optional(),
});

const columns = [
  'name',
  'kind',
  'uri',
  'settings_json',
  'state',
  'refused_pin',
  'drill_json',
  'created_at',
  'created_by',
  'revision',
] as const;

/** Tokens first: groups are made of them. */
export async function readKeystores(storage: Storage): Promise<KeystoreRecord[]> {
  const rows = await storage.db.selectFrom('keystore').select(columns).orderBy('name').execute();
  const records = rows.map(fromRow);
  const isToken = (record: KeystoreRecord) => record.kind === 'pkcs11';
  return [...records.filter(isToken), ...records.filter((one) => !isToken(one))];
}

export function insertKeystore(storage: Storage, record: KeystoreRecord): Step {
  return {
    query: storage.db.insertInto('keystore').values(toRow(record)).compile(),
    expect: {
      rows: 1,
      code: 'already-exists',
      message: `There is a keystore "${record.name}" already.`,
      hint: 'Choose another name: keyreeve keystore list',
    },
  };
}

/** Fails where a keystore was removed: no key is made in one that is gone. */
export function keystoreStands({ db }: Storage, name: string): Step {
  return {
    query: db.selectFrom('keystore').select('name').where('name', '=', name).compile(),
    expect: {
      rows: 1,
      code: 'conflict',
      message: `The keystore "${name}" was removed meanwhile.`,
      hint: 'List those there are: keyreeve keystore list',
    },
  };
}

/** Fails unless the groups are those that were looked at: one may have been made meanwhile. */
export function sameGroups({ db }: Storage, groups: number): Step {
  return {
    query: db.selectFrom('keystore').select('name').where('kind', '=', 'group').compile(),
    expect: {
      rows: groups,
      code: 'conflict',
      message: 'Groups of keystores were changed meanwhile.',
      hint: 'Repeat the command.',
    },
  };
}

/** The PIN file that the token of this keystore refused last, on whichever node. */
export async function refusedPinOf({ db }: Storage, name: string): Promise<string | undefined> {
  const row = await db
    .selectFrom('keystore')
    .select('refused_pin')
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.refused_pin ?? undefined;
}

/** Removes the row, where no key lies in the keystore and no group is made of it. */
export function deleteKeystore(storage: Storage, name: string, revision: number): Step {
  const { db } = storage;
  return {
    query: db
      .deleteFrom('keystore')
      .where('name', '=', name)
      .where('revision', '=', revision)
      .where(({ not, exists, selectFrom }) =>
        not(
          exists(
            selectFrom('key')
              .innerJoin('key_version', 'key_version.key_id', 'key.id')
              .select('key.id')
              .where('key.keystore', '=', name)
              .where('key_version.state', '!=', 'destroyed'),
          ),
        ),
      )
      .compile(),
    expect: {
      rows: 1,
      code: 'conflict',
      message: `The keystore "${name}" holds keys, or was changed meanwhile.`,
      hint: `Destroy its keys first, or rotate them into another keystore: keyreeve keystore show ${name}`,
    },
  };
}

export function updateKeystore(
  storage: Storage,
  name: string,
  change: { isAvailable?: boolean; refusedPin?: string | undefined; lastDrill?: KeystoreDrill },
): Step {
  const { db } = storage;
  const values = {
    ...('isAvailable' in change ? { state: stateOf(change.isAvailable === true) } : {}),
    ...('refusedPin' in change ? { refused_pin: change.refusedPin ?? null } : {}),
    ...(change.lastDrill === undefined ? {} : { drill_json: canonicalJson(change.lastDrill) }),
  };
  return { query: db.updateTable('keystore').set(values).where('name', '=', name).compile() };
}

/** Writes that it was reviewed now who has access. Error: `not-found`. */
export function reviewKeystore(
  storage: Storage,
  name: string,
  by: { readonly now: number; readonly principalId: string },
): Step {
  const values = { reviewed_at: by.now, reviewed_by: by.principalId };
  return {
    query: storage.db.updateTable('keystore').set(values).where('name', '=', name).compile(),
    expect: {
      rows: 1,
      code: 'not-found',
      message: `The keystore "${name}" was removed meanwhile.`,
    },
  };
}

/** Changes how often the access is reviewed, as long as nobody else changes it. */
export async function changeReviewInterval(
  storage: Storage,
  name: string,
  everyDays: number | null,
): Promise<Step> {
  const { db } = storage;
  const { settings_json: before } = await db
    .selectFrom('keystore')
    .select('settings_json')
    .where('name', '=', name)
    .executeTakeFirstOrThrow();
  const { reviewEveryDays: _, ...settings } = JSON.parse(before);
  const after = { ...settings, ...(everyDays === null ? {} : { reviewEveryDays: everyDays }) };
  return {
    query: db
      .updateTable('keystore')
      .set({ settings_json: canonicalJson(after) })
      .where('name', '=', name)
      .where('settings_json', '=', before)
      .compile(),
    expect: {
      rows: 1,
      code: 'conflict',
      message: `The keystore "${name}" was changed meanwhile.`,
      hint: `Look at it: keyreeve keystore show ${name}`,
    },
  };
}

/**
 * Keys with a living version, by the name of their keystore: all keys, counted in an index, without
 * the few of which every version is destroyed.
 */
export async function countKeys(storage: Storage): Promise<ReadonlyMap<string, number>> {
  const rows = storage.db
    .selectFrom('key')
    .select(({ fn }) => ['keystore', fn.countAll<number>().as('count')])
    .groupBy('keystore');
  const dead = rows
    .where('id', 'in', ({ selectFrom }) =>
      // Written out: an index of a part of the rows is not used for a parameter.
      selectFrom('key_version').select('key_id').where('state', '=', sql.lit('destroyed')),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('key_version')
            .select('key_version.version')
            .whereRef('key_version.key_id', '=', 'key.id')
            .where('key_version.state', '!=', 'destroyed'),
        ),
      ),
    );
  const [all, gone] = await Promise.all([rows.execute(), dead.execute()]);
  const counts = new Map(all.map(({ keystore, count }) => [keystore, Number(count)]));
  for (const { keystore, count } of gone) {
    counts.set(keystore, (counts.get(keystore) ?? 0) - Number(count));
  }
  return counts;
}

/** The living versions in a keystore, with their addresses. */
export async function versionsIn(
  storage: Storage,
  keystore: string,
): Promise<{ key: string; version: number; uri: string }[]> {
  return storage.db
    .selectFrom('key')
    .innerJoin('key_version', 'key_version.key_id', 'key.id')
    .select(['key.name as key', 'key_version.version as version', 'key_version.uri as uri'])
    .where('key.keystore', '=', keystore)
    .where('key_version.state', '!=', 'destroyed')
    .orderBy('key.name')
    .orderBy('key_version.version')
    .execute();
}

function fromRow(row: Pick<Selectable<Schema['keystore']>, (typeof columns)[number]>) {
  const common: CommonRecord = {
    name: row.name,
    isAvailable: row.state === stateOf(true),
    lastDrill: row.drill_json === null ? null : (JSON.parse(row.drill_json) as KeystoreDrill),
    createdAt: row.created_at,
    createdBy: row.created_by,
    revision: row.revision,
  };
  const settings = JSON.parse(row.settings_json);
  if (row.kind === 'group') {
    return { ...common, kind: 'group', ...groupSettings.parse(settings) } as const;
  }
  const { environment, assurance, reviewEveryDays, tokenId } = tokenSettings.parse(settings);
  const refusedPin = row.refused_pin ?? undefined;
  const uri = row.uri ?? '';
  const token = { uri, environment, assurance, refusedPin, reviewEveryDays, tokenId };
  return { ...common, kind: 'pkcs11', ...token } as const;
}

function toRow(record: KeystoreRecord): Insertable<Schema['keystore']> {
  const settings =
    record.kind === 'group'
      ? groupSettings.parse(record)
      : tokenSettings.parse({
          ...{ assurance: record.assurance, environment: record.environment },
          ...{ reviewEveryDays: record.reviewEveryDays, tokenId: record.tokenId },
        });
  return {
    name: record.name,
    kind: record.kind,
    uri: record.kind === 'pkcs11' ? record.uri : null,
    settings_json: canonicalJson(settings),
    state: stateOf(record.isAvailable),
    refused_pin: null,
    drill_json: null,
    created_at: record.createdAt,
    created_by: record.createdBy,
    revision: record.revision,
  };
}

function stateOf(isAvailable: boolean): string {
  return isAvailable ? 'available' : 'unavailable';
}
