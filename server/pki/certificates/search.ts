import { type RawBuilder, type SelectQueryBuilder, sql } from 'kysely';
import type { Schema, Storage } from '../../storage/storage.ts';
import type { CertificateState } from './certificate-view.ts';
import type { TermRange } from './search-names.ts';

/** Rows looked at for one page, where no index finds them: the page may come back short. */
export const searchScanMax = 10_000;

/** What a search asks for, with every name resolved. */
export interface Search {
  /** The CAs whose certificates may be seen, by the id of their key. */
  readonly owners: readonly string[];
  /** True where that is every CA: then no row has to be held against the list. */
  readonly isEveryOwner: boolean;
  readonly ca?: string | undefined;
  readonly subject?: string | undefined;
  readonly terms?: TermRange | undefined;
  readonly serial?: string | undefined;
  /** SHA-256 of public keys, one of which the certificate holds. */
  readonly keys?: readonly string[] | undefined;
  readonly profile?: string | undefined;
  readonly state?: CertificateState | undefined;
  readonly expiresBefore?: number | undefined;
  readonly expiresAfter?: number | undefined;
}

type Query = SelectQueryBuilder<Schema, 'certificate', object>;

/**
 * A page of ids, newest first, and where to go on. One index leads, the most telling one of what
 * is asked for, and the other conditions are held against what it finds. Where none leads (a part
 * of a subject, a profile), rows are looked at from the newest on, `searchScanMax` for a page: the
 * page may come back short, or empty, and the next one goes on.
 */
export async function searchIds(
  storage: Storage,
  search: Search,
  page: { readonly after: string | undefined; readonly limit: number },
  now: number,
): Promise<{ readonly ids: readonly string[]; readonly next: string | undefined }> {
  const narrowed = narrowedQuery(storage, search, page.after, now);
  const floor = narrowed === undefined ? await scanFloor(storage, search, page.after) : undefined;
  const query = narrowed ?? walkQuery(storage, search, page.after, floor, now);
  const rows = await query.limit(page.limit).execute();
  const ids = rows.map(({ id }) => id);
  return { ids, next: ids.length === page.limit ? ids.at(-1) : floor };
}

/** The ids that an index of few finds, sorted; undefined where none leads. */
export function narrowedQuery(
  storage: Storage,
  search: Search,
  after: string | undefined,
  now: number,
) {
  const condition = narrowing(search, now);
  if (condition === undefined) return undefined;
  const id = unindexed<string>(storage, 'id');
  let query = conditions(storage, search, now).where(condition);
  if (after !== undefined) query = query.where(id, '<', after);
  return query.select('id').orderBy(id, 'desc');
}

/** The ids from the newest on, those of one CA or of all, down to where the page has to end. */
export function walkQuery(
  storage: Storage,
  search: Search,
  after: string | undefined,
  floor: string | undefined,
  now: number,
) {
  let query = conditions(storage, search, now);
  if (after !== undefined) query = query.where('id', '<', after);
  if (floor !== undefined) query = query.where('id', '>=', floor);
  return query.select('id').orderBy('id', 'desc');
}

/** The last row that a page looks at; undefined where all that are left may be looked at. */
async function scanFloor(
  { db }: Storage,
  search: Search,
  after: string | undefined,
): Promise<string | undefined> {
  let query = db.selectFrom('certificate').select('id');
  if (after !== undefined) query = query.where('id', '<', after);
  if (search.ca !== undefined) query = query.where('ca_id', '=', search.ca);
  const rows = await query
    .orderBy('id', 'desc')
    .offset(searchScanMax - 1)
    .limit(1)
    .execute();
  return rows[0]?.id;
}

/** The condition whose index leads, where there is one that finds few. */
function narrowing(search: Search, now: number): RawBuilder<boolean> | undefined {
  const { serial, keys, terms, state } = search;
  if (serial !== undefined) return sql<boolean>`"serial" = ${serial}`;
  if (keys !== undefined) return sql<boolean>`"key_fingerprint" IN (${list(keys)})`;
  if (terms !== undefined) return sql<boolean>`"id" IN (${namedIds(terms)})`;
  if (state === 'revoked' || state === 'on-hold') {
    return sql<boolean>`"ca_id" IN (${list(owners(search))}) AND "revoked_at" IS NOT NULL`;
  }
  const { from, to } = endRange(search, now);
  // Everything that lives is much: only what ends by some time is few.
  if (to === undefined) return undefined;
  const range = sql`"not_after" < ${to} AND "not_after" >= ${from ?? 0}`;
  const ours = sql<boolean>`("ca_id" IN (${list(owners(search))}) AND ${range})`;
  return search.ca === undefined ? sql<boolean>`(${ours} OR ("ca_id" IS NULL AND ${range}))` : ours;
}

/** The bounds of `not_after` that expiry and state set together. */
function endRange(search: Search, now: number): { from?: number; to?: number } {
  const { state, expiresAfter, expiresBefore } = search;
  const isLiving = state === 'valid' || state === 'on-hold';
  const from = Math.max(expiresAfter ?? -Infinity, isLiving ? now + 1 : -Infinity);
  const to = Math.min(expiresBefore ?? Infinity, state === 'expired' ? now + 1 : Infinity);
  return {
    ...(from === -Infinity ? {} : { from }),
    ...(to === Infinity ? {} : { to }),
  };
}

/** What is held against the rows that an index finds. */
function conditions(storage: Storage, search: Search, now: number): Query {
  const { from, to } = endRange(search, now);
  const end = unindexed<number>(storage, 'not_after');
  let query: Query = storage.db.selectFrom('certificate');
  if (search.ca !== undefined) query = query.where('ca_id', '=', search.ca);
  else if (!search.isEveryOwner) query = query.where(ownedBy(search.owners));
  if (search.profile !== undefined) query = query.where('profile', '=', search.profile);
  if (search.subject !== undefined) {
    query = query.where(
      sql<boolean>`lower("subject") LIKE lower(${`%${escaped(search.subject)}%`}) ESCAPE '!'`,
    );
  }
  if (from !== undefined) query = query.where(end, '>=', from);
  if (to !== undefined) query = query.where(end, '<', to);
  return stateCondition(query, search.state);
}

function stateCondition(query: Query, state: CertificateState | undefined): Query {
  switch (state) {
    case undefined:
      return query;
    case 'valid':
      return query.where('revoked_at', 'is', null);
    case 'on-hold':
      return query.where('reason', '=', 'certificateHold');
    case 'revoked':
      return query.where('revoked_at', 'is not', null).where('reason', '<>', 'certificateHold');
    case 'expired':
      return query.where((expression) =>
        expression.or([
          expression('revoked_at', 'is', null),
          expression('reason', '=', 'certificateHold'),
        ]),
      );
  }
}

/** A certificate that none of our CAs issued belongs to whom the certified key belongs to. */
function ownedBy(ids: readonly string[]): RawBuilder<boolean> {
  if (ids.length === 0) return sql<boolean>`1 = 0`;
  return sql<boolean>`coalesce("ca_id", "key_id") IN (${list(ids)})`;
}

function owners(search: Search): readonly string[] {
  return search.ca === undefined ? search.owners : [search.ca];
}

function list(values: readonly string[]): RawBuilder<unknown> {
  return values.length === 0 ? sql`NULL` : sql.join(values.map((value) => sql`${value}`));
}

function namedIds({ first, end }: TermRange): RawBuilder<unknown> {
  const range =
    end === undefined ? sql`"term" = ${first}` : sql`"term" >= ${first} AND "term" < ${end}`;
  return sql`SELECT "certificate_id" FROM "certificate_name" WHERE ${range}`;
}

/**
 * A column as an expression that SQLite answers by no index of it: for a few sorted rows it would
 * rather walk all of them in the order of ids, and for the newest rows sort all that live.
 */
function unindexed<Value>({ dialect }: Storage, column: 'id' | 'not_after'): RawBuilder<Value> {
  const reference = sql.ref(`certificate.${column}`);
  return dialect === 'sqlite' ? sql<Value>`+${reference}` : sql<Value>`${reference}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[!%_]/g, (character) => `!${character}`);
}
