import { entryFields } from '../../api/entry.ts';
import {
  callField,
  emptyCallTerms,
  firstCallTerms,
  searchTerm,
  type TermField,
  termFields,
  writeCallTerm,
} from './index-terms.ts';
import { asBuffer, scanOpening } from './leaf.ts';
import {
  joinLeaves,
  joinOpenings,
  splitHashes,
  splitLeaves,
  splitOpenings,
  tileWidth,
} from './tiles.ts';
import { Frontier, hashLeaf } from './tree.ts';

const timeField = entryFields.time;
const termFieldsByNumber = new Map<number, TermField>(
  (Object.entries(termFields) as [TermField, number][]).map(([name, number]) => [number, name]),
);

/** An entry that has no place yet. */
export interface Unplaced {
  readonly leaf: Uint8Array;
  readonly opening: Uint8Array;
}

/** The last, partial bundle. */
interface OpenBundle {
  readonly leaves: readonly Buffer[];
  readonly openings: readonly Buffer[];
  readonly firstTime: number;
  readonly lastTime: number;
  /** Of each entry what stands for its correlation id, with room for all of a full bundle. */
  readonly callTerms: Buffer;
  /** Index rows that are known to be stored, as `field value`. */
  readonly terms: ReadonlySet<string>;
}

/** All that is needed to add to a tree. A value: adding makes a new one. */
export interface TreeEdge {
  readonly frontier: Frontier;
  /** The hashes of the partial tile of each level. */
  readonly tiles: readonly (readonly Buffer[])[];
  readonly bundle: OpenBundle;
}

export interface BundleRow {
  readonly number: number;
  readonly width: number;
  readonly leaves: Buffer;
  readonly openings: Buffer;
  readonly first_time: number;
  readonly last_time: number;
}

export interface TileRow {
  readonly level: number;
  readonly number: number;
  readonly width: number;
  readonly hashes: Buffer;
}

export interface TermRow {
  readonly term: Buffer;
  readonly bundle: number;
}

export interface CallRow {
  readonly number: number;
  readonly terms: Buffer;
}

/** The rows that giving places to some entries writes, and the edge after it. */
export interface Placement {
  readonly edge: TreeEdge;
  readonly bundles: readonly BundleRow[];
  readonly tiles: readonly TileRow[];
  readonly terms: readonly TermRow[];
  readonly calls: readonly CallRow[];
}

const emptyBundle: OpenBundle = {
  leaves: [],
  openings: [],
  firstTime: Infinity,
  lastTime: 0,
  callTerms: emptyCallTerms(tileWidth),
  terms: new Set(),
};

export function emptyEdge(): TreeEdge {
  return { frontier: new Frontier(), tiles: [], bundle: emptyBundle };
}

/** The edge of a tree out of its partial tiles, by level from 0, and its partial bundle if it has one. */
export function edgeFromRows(
  tiles: readonly Uint8Array[],
  bundle: BundleRow | undefined,
): TreeEdge {
  const frontier = new Frontier();
  const hashes = tiles.map((tile) => splitHashes(Buffer.from(tile)));
  for (let level = hashes.length - 1; level >= 0; level--) {
    for (const hash of hashes[level]!) frontier.append(hash, undefined, level * 8);
  }
  return {
    frontier,
    tiles: hashes,
    bundle: bundle === undefined ? emptyBundle : openBundle(bundle),
  };
}

/** Gives the entries the next places, in order. `now` stands in for a time that cannot be read. */
export function place(edge: TreeEdge, entries: readonly Unplaced[], now: number): Placement {
  const builder = new Builder(edge);
  for (const entry of entries) builder.add(entry, now);
  return builder.finish();
}

function openBundle(row: BundleRow): OpenBundle {
  const openings = splitOpenings(row.openings);
  const callTerms = emptyCallTerms(tileWidth);
  openings.forEach((opening, index) => {
    scanOpening(
      opening,
      (field) => field === callField,
      (_, value) => writeCallTerm(callTerms, index, value),
    );
  });
  return {
    leaves: splitLeaves(row.leaves),
    openings,
    firstTime: row.first_time,
    lastTime: row.last_time,
    callTerms,
    terms: new Set(),
  };
}

class Builder {
  readonly #frontier: Frontier;
  readonly #open: Buffer[][];
  readonly #touched = new Set<number>();
  readonly #tiles: TileRow[] = [];
  readonly #bundles: BundleRow[] = [];
  readonly #terms: TermRow[] = [];
  readonly #calls: CallRow[] = [];
  #leaves: Buffer[];
  #openings: Buffer[];
  #firstTime: number;
  #lastTime: number;
  #callTerms: Buffer;
  #known: Set<string>;
  #bundleTouched = false;

  constructor(edge: TreeEdge) {
    this.#frontier = new Frontier(edge.frontier);
    this.#open = edge.tiles.map((tile) => [...tile]);
    this.#leaves = [...edge.bundle.leaves];
    this.#openings = [...edge.bundle.openings];
    this.#firstTime = edge.bundle.firstTime;
    this.#lastTime = edge.bundle.lastTime;
    this.#callTerms = Buffer.from(edge.bundle.callTerms);
    this.#known = new Set(edge.bundle.terms);
  }

  add(entry: Unplaced, now: number): void {
    const number = Math.floor(this.#frontier.size / tileWidth);
    this.#leaves.push(asBuffer(entry.leaf));
    this.#openings.push(asBuffer(entry.opening));
    this.#bundleTouched = true;
    this.#index(entry.opening, number, now);
    this.#frontier.append(hashLeaf(entry.leaf), (height, hash) => {
      if (height % 8 === 0) this.#node(height / 8, hash);
    });
    if (this.#leaves.length === tileWidth) this.#closeBundle();
  }

  finish(): Placement {
    const edge = {
      frontier: this.#frontier,
      tiles: this.#open,
      bundle: {
        leaves: this.#leaves,
        openings: this.#openings,
        firstTime: this.#firstTime,
        lastTime: this.#lastTime,
        callTerms: this.#callTerms,
        terms: this.#known,
      },
    };
    if (this.#bundleTouched) this.#pushBundle();
    for (const level of this.#touched) {
      const tile = this.#open[level]!;
      const number = Math.floor(this.#frontier.size / tileWidth ** (level + 1));
      if (tile.length > 0) this.#tiles.push(tileRow(level, number, tile));
    }
    const bundles = this.#bundles;
    return { edge, bundles, tiles: this.#tiles, terms: this.#terms, calls: this.#calls };
  }

  /** Called before the frontier counts the leaf that makes the node. */
  #node(level: number, hash: Buffer): void {
    this.#open[level] ??= [];
    const tile = this.#open[level];
    tile.push(hash);
    this.#touched.add(level);
    if (tile.length < tileWidth) return;
    const number = (this.#frontier.size + 1) / tileWidth ** (level + 1) - 1;
    this.#tiles.push(tileRow(level, number, tile));
    this.#open[level] = [];
  }

  #closeBundle(): void {
    this.#pushBundle();
    this.#leaves = [];
    this.#openings = [];
    this.#firstTime = Infinity;
    this.#lastTime = 0;
    this.#callTerms = emptyCallTerms(tileWidth);
    this.#known = new Set();
    this.#bundleTouched = false;
  }

  #pushBundle(): void {
    const number = Math.floor((this.#frontier.size - 1) / tileWidth);
    const width = this.#leaves.length;
    this.#bundles.push({
      number,
      width,
      leaves: joinLeaves(this.#leaves),
      openings: joinOpenings(this.#openings),
      first_time: this.#firstTime,
      last_time: this.#lastTime,
    });
    this.#calls.push({ number, terms: firstCallTerms(this.#callTerms, width) });
  }

  /** An opening that was damaged in the tail gets its place all the same: verifying names it. */
  #index(opening: Uint8Array, bundle: number, now: number): void {
    let time = Number.NaN;
    scanOpening(opening, isIndexed, (field, value) => {
      if (field === timeField) time = Date.parse(value);
      else if (field === callField) writeCallTerm(this.#callTerms, this.#leaves.length - 1, value);
      else this.#term(termFieldsByNumber.get(field)!, value, bundle);
    });
    const known = Number.isNaN(time) ? now : time;
    this.#firstTime = Math.min(this.#firstTime, known);
    this.#lastTime = Math.max(this.#lastTime, known);
  }

  #term(field: TermField, value: string, bundle: number): void {
    const key = `${field} ${value}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.#terms.push({ term: searchTerm(field, value), bundle });
  }
}

function isIndexed(field: number): boolean {
  return field === timeField || field === callField || termFieldsByNumber.has(field);
}

function tileRow(level: number, number: number, hashes: readonly Buffer[]): TileRow {
  return { level, number, width: hashes.length, hashes: Buffer.concat(hashes) };
}
