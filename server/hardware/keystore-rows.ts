import type { Insertable, Selectable } from 'kysely';
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
  readonly createdAt: number;
  readonly createdBy: string;
  readonly revision: number;
}

export interface TokenRecord extends CommonRecord {
  readonly kind: 'pkcs11';
  readonly uri: string;
  readonly assurance: AssuranceLevel | undefined;
  readonly environment: Readonly<Record<string, string>>;
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
});
const groupSettings = z.object({
  primary: z.string(),
  secondary: z.string(),
  deadlineSeconds: z.number().default(deadlineSecondsDefault),
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

/** Keys with a living version, by the name of their keystore. */
export async function countKeys(storage: Storage): Promise<ReadonlyMap<string, number>> {
  const rows = await storage.db
    .selectFrom('key')
    .select(({ fn }) => ['keystore', fn.countAll<number>().as('count')])
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('key_version')
          .select('key_version.version')
          .whereRef('key_version.key_id', '=', 'key.id')
          .where('key_version.state', '!=', 'destroyed'),
      ),
    )
    .groupBy('keystore')
    .execute();
  return new Map(rows.map(({ keystore, count }) => [keystore, Number(count)]));
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
  const { environment, assurance } = tokenSettings.parse(settings);
  const refusedPin = row.refused_pin ?? undefined;
  const uri = row.uri ?? '';
  return { ...common, kind: 'pkcs11', uri, environment, assurance, refusedPin } as const;
}

function toRow(record: KeystoreRecord): Insertable<Schema['keystore']> {
  const settings =
    record.kind === 'group'
      ? groupSettings.parse(record)
      : tokenSettings.parse({ assurance: record.assurance, environment: record.environment });
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
