import type { Kysely } from 'kysely';
import { type EntryField, entryFields } from '../../api/entry.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Schema } from '../storage/storage.ts';
import { callTerm, hasCallTerm, searchTerm, type TermField, termFields } from './index-terms.ts';
import { decodeOpening, fieldName, type OpenedField, scanOpening } from './leaf.ts';
import { readTailBackwards, readTree } from './record-store.ts';
import { splitOpenings, tileWidth } from './tiles.ts';

export const searchLimitDefault = 100;
export const searchLimit = 1000;
/** Bundles that one search looks into; `next` goes on from there. */
const scanLimitBundles = 400;
const bundlesPerRead = 16;
/** Bundles whose correlation ids one search looks through: two million entries, 16 MiB. */
const callScanLimitBundles = 8192;
/** A mebibyte, so that neither thread is held up for long. */
const callsPerRead = 512;
const tailScanLimit = 2000;

/** All conditions must hold; values are compared whole. */
export interface SearchQuery {
  readonly keyId?: string;
  readonly keyName?: string;
  readonly principalId?: string;
  readonly correlationId?: string;
  readonly kind?: string;
  readonly action?: string;
  readonly outcome?: string;
  /** Milliseconds since 1970, inclusive. */
  readonly since?: number;
  /** Milliseconds since 1970, exclusive. */
  readonly until?: number;
  readonly limit?: number;
  /** The `next` of the answer before. */
  readonly after?: string;
}

export interface RecordEntry {
  /** Null for an entry that was written within the last second. */
  readonly place: number | null;
  readonly fields: { readonly [field in EntryField]?: string };
}

export interface SearchResult {
  /** Newest first. */
  readonly entries: readonly RecordEntry[];
  /** Where to go on, if there may be more. An answer may have fewer than `limit` and still go on. */
  readonly next: string | undefined;
  /** Bundles that may hold matching entries, but whose values were moved to an archive. */
  readonly archivedBundles: number;
}

const plainConditions = ['correlationId', 'kind', 'action', 'outcome'] as const;

/** Some of the bundles that are still to be searched. */
interface Stretch {
  /** Those that may hold what is looked for, newest first. */
  readonly candidates: readonly number[];
  /** How many the index was asked about one by one. */
  readonly scanned: number;
  /** The next bundle to search; undefined at the beginning of the record. */
  readonly next: number | undefined;
}

/** Finds entries, newest first. Throws `invalid-request` for a wrong limit or cursor. */
export async function searchRecord(db: Kysely<Schema>, query: SearchQuery): Promise<SearchResult> {
  const limit = query.limit ?? searchLimitDefault;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > searchLimit) {
    throw new KeyreeveError('invalid-request', `The limit is a number from 1 to ${searchLimit}.`);
  }
  const size = (await readTree(db))?.size ?? 0;
  const search = new Search(db, query, limit);
  if (query.after === undefined) await search.tail();
  await search.tree(Math.min(size, parseCursor(query.after)));
  return search.result();
}

/** The fields of an opening by name. */
export function fieldValues(opening: readonly OpenedField[]): RecordEntry['fields'] {
  return Object.fromEntries(opening.map(({ field, value }) => [fieldName(field), value]));
}

class Search {
  readonly #db: Kysely<Schema>;
  readonly #query: SearchQuery;
  readonly #limit: number;
  readonly #conditions: ReadonlyMap<number, string>;
  readonly #terms: readonly Buffer[];
  readonly #call: Buffer | undefined;
  readonly #entries: RecordEntry[] = [];
  #archivedBundles = 0;
  #next: string | undefined;

  constructor(db: Kysely<Schema>, query: SearchQuery, limit: number) {
    this.#db = db;
    this.#query = query;
    this.#limit = limit;
    const terms = Object.keys(termFields) as TermField[];
    this.#terms = terms.flatMap((name) => {
      const value = query[name];
      return value === undefined ? [] : [searchTerm(name, value)];
    });
    this.#call = query.correlationId === undefined ? undefined : callTerm(query.correlationId);
    this.#conditions = new Map(
      [...terms, ...plainConditions].flatMap((name) => {
        const value = query[name];
        return value === undefined ? [] : [[entryFields[name], value] as const];
      }),
    );
  }

  result(): SearchResult {
    const { length } = this.#entries;
    const full = length >= this.#limit;
    const last = this.#entries.findLast((entry) => entry.place !== null)?.place;
    const next = full && last !== undefined && last !== null ? String(last) : this.#next;
    return { entries: this.#entries, next, archivedBundles: this.#archivedBundles };
  }

  async tail(): Promise<void> {
    for (const { opening } of await readTailBackwards(this.#db, tailScanLimit)) {
      if (this.#entries.length < this.#limit) this.#take(null, opening);
    }
    // Entries with a place come after those without: the next page begins with all of them.
    if (this.#entries.length >= this.#limit) this.#next = String(Number.MAX_SAFE_INTEGER);
  }

  /** Looks at the entries before this place. */
  async tree(before: number): Promise<void> {
    let bundle: number | undefined = Math.floor((before - 1) / tileWidth);
    let opened = 0;
    let scanned = 0;
    while (bundle !== undefined && bundle >= 0 && this.#entries.length < this.#limit) {
      if (opened >= scanLimitBundles || scanned >= callScanLimitBundles) return this.#stop(bundle);
      const stretch = await this.#stretch(bundle);
      for (const number of stretch.candidates) {
        if (this.#entries.length >= this.#limit) return;
        if (opened >= scanLimitBundles) return this.#stop(number);
        await this.#bundle(number, before);
        opened++;
      }
      scanned += stretch.scanned;
      bundle = stretch.next;
    }
  }

  /** The next page begins with this bundle. */
  #stop(bundle: number): void {
    this.#next = String((bundle + 1) * tileWidth);
  }

  async #bundle(number: number, before: number): Promise<void> {
    const row = await this.#db
      .selectFrom('bundle')
      .select('openings')
      .where('number', '=', number)
      .executeTakeFirst();
    if (row === undefined) return;
    if (row.openings === null) {
      this.#archivedBundles++;
      return;
    }
    const openings = readableOpenings(row.openings);
    for (let index = openings.length - 1; index >= 0; index--) {
      const place = number * tileWidth + index;
      if (place < before && this.#entries.length < this.#limit) this.#take(place, openings[index]!);
    }
  }

  /** The newest bundles up to this one that may hold what is looked for. */
  async #stretch(bundle: number): Promise<Stretch> {
    if (this.#call !== undefined) return this.#callStretch(bundle, this.#call);
    let query = this.#inTimeBundles().where('number', '<=', bundle);
    for (const bundles of this.#termBundles()) query = query.where('number', 'in', bundles);
    const rows = await query.orderBy('number', 'desc').limit(bundlesPerRead).execute();
    const numbers = rows.map((row) => Number(row.number));
    return { candidates: numbers, scanned: 0, next: nextOf(numbers, bundlesPerRead) };
  }

  /** The other conditions choose the bundles whose terms are read, and no bundle itself is. */
  async #callStretch(bundle: number, term: Buffer): Promise<Stretch> {
    const { since, until } = this.#query;
    let query = this.#db
      .selectFrom('bundle_call')
      .select(['number', 'terms'])
      .where('number', '<=', bundle);
    for (const bundles of this.#termBundles()) query = query.where('number', 'in', bundles);
    if (since !== undefined || until !== undefined) {
      query = query.where('number', 'in', this.#inTimeBundles());
    }
    const rows = await query.orderBy('number', 'desc').limit(callsPerRead).execute();
    const numbers = rows.map((row) => Number(row.number));
    return {
      candidates: numbers.filter((_, index) => hasCallTerm(rows[index]!.terms, term)),
      scanned: numbers.length,
      next: nextOf(numbers, callsPerRead),
    };
  }

  #inTimeBundles() {
    const { since, until } = this.#query;
    let query = this.#db.selectFrom('bundle').select('number');
    if (since !== undefined) query = query.where('last_time', '>=', since);
    if (until !== undefined) query = query.where('first_time', '<', until);
    return query;
  }

  /** For each of the fields of few values, the bundles that have the value looked for. */
  #termBundles() {
    const rows = this.#db.selectFrom('bundle_term').select('bundle');
    return this.#terms.map((term) => rows.where('term', '=', term));
  }

  #take(place: number | null, opening: Uint8Array): void {
    if (!this.#matches(opening)) return;
    try {
      this.#entries.push({ place, fields: fieldValues(decodeOpening(opening)) });
    } catch {
      // A damaged entry is named by verifying; the others are still to be found.
    }
  }

  #matches(opening: Uint8Array): boolean {
    let met = 0;
    let inTime = true;
    scanOpening(
      opening,
      (field) => field === entryFields.time || this.#conditions.has(field),
      (field, value) => {
        if (field === entryFields.time) inTime = this.#inTime(value);
        else if (this.#conditions.get(field) === value) met++;
      },
    );
    return inTime && met === this.#conditions.size;
  }

  #inTime(text: string): boolean {
    const { since, until } = this.#query;
    if (since === undefined && until === undefined) return true;
    const time = Date.parse(text);
    return time >= (since ?? Number.NEGATIVE_INFINITY) && time < (until ?? Infinity);
  }
}

/** The bundle after those of a read, or undefined where the read found all there are. */
function nextOf(numbers: readonly number[], asked: number): number | undefined {
  return numbers.length < asked ? undefined : numbers.at(-1)! - 1;
}

function readableOpenings(bytes: Uint8Array): Buffer[] {
  try {
    return splitOpenings(bytes);
  } catch {
    return [];
  }
}

function parseCursor(after: string | undefined): number {
  if (after === undefined) return Number.MAX_SAFE_INTEGER;
  const place = /^[0-9]{1,16}$/.test(after) ? Number(after) : Number.NaN;
  if (!Number.isSafeInteger(place)) {
    throw new KeyreeveError('invalid-request', 'The cursor is not one of this search.');
  }
  return place;
}
