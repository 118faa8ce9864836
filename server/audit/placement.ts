import { asBuffer, scanOpening } from './leaf.ts';
import {
  joinLeaves,
  joinOpenings,
  splitHashes,
  splitLeaves,
  splitOpenings,
  tileWidth,
} from './tiles.ts';
import { digest, Frontier, hashLeaf } from './tree.ts';

const termLengthBytes = 16;
const timeField = 2;

/** Fields by which entries are found, and their numbers. */
export const termFields = { principalId: 6, correlationId: 11, keyId: 12, keyName: 13 } as const;
export type TermField = keyof typeof termFields;
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

/** The rows that giving places to some entries writes, and the edge after it. */
export interface Placement {
  readonly edge: TreeEdge;
  readonly bundles: readonly BundleRow[];
  readonly tiles: readonly TileRow[];
  readonly terms: readonly TermRow[];
}

const emptyBundle: OpenBundle = { leaves: [], openings: [], firstTime: Infinity, lastTime: 0 };

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
    bundle:
      bundle === undefined
        ? emptyBundle
        : {
            leaves: splitLeaves(bundle.leaves),
            openings: splitOpenings(bundle.openings),
            firstTime: bundle.first_time,
            lastTime: bundle.last_time,
          },
  };
}

/** Gives the entries the next places, in order. `now` stands in for a time that cannot be read. */
export function place(edge: TreeEdge, entries: readonly Unplaced[], now: number): Placement {
  const builder = new Builder(edge);
  for (const entry of entries) builder.add(entry, now);
  return builder.finish();
}

/** The key of the search index: SHA-256 of `field:value`, cut to 16 bytes. */
export function searchTerm(field: TermField, value: string): Buffer {
  return digest(Buffer.from(`${field}:${value}`, 'utf8')).subarray(0, termLengthBytes);
}

class Builder {
  readonly #frontier: Frontier;
  readonly #open: Buffer[][];
  readonly #touched = new Set<number>();
  readonly #tiles: TileRow[] = [];
  readonly #bundles: BundleRow[] = [];
  readonly #terms = new Map<string, TermRow>();
  #leaves: Buffer[];
  #openings: Buffer[];
  #firstTime: number;
  #lastTime: number;
  #bundleTouched = false;

  constructor(edge: TreeEdge) {
    this.#frontier = new Frontier(edge.frontier);
    this.#open = edge.tiles.map((tile) => [...tile]);
    this.#leaves = [...edge.bundle.leaves];
    this.#openings = [...edge.bundle.openings];
    this.#firstTime = edge.bundle.firstTime;
    this.#lastTime = edge.bundle.lastTime;
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
      },
    };
    if (this.#bundleTouched) this.#bundles.push(this.#bundleRow());
    for (const level of this.#touched) {
      const tile = this.#open[level]!;
      const number = Math.floor(this.#frontier.size / tileWidth ** (level + 1));
      if (tile.length > 0) this.#tiles.push(tileRow(level, number, tile));
    }
    return { edge, bundles: this.#bundles, tiles: this.#tiles, terms: [...this.#terms.values()] };
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
    this.#bundles.push(this.#bundleRow());
    this.#leaves = [];
    this.#openings = [];
    this.#firstTime = Infinity;
    this.#lastTime = 0;
    this.#bundleTouched = false;
  }

  #bundleRow(): BundleRow {
    return {
      number: Math.floor((this.#frontier.size - 1) / tileWidth),
      width: this.#leaves.length,
      leaves: joinLeaves(this.#leaves),
      openings: joinOpenings(this.#openings),
      first_time: this.#firstTime,
      last_time: this.#lastTime,
    };
  }

  /** An opening that was damaged in the tail gets its place all the same: verifying names it. */
  #index(opening: Uint8Array, bundle: number, now: number): void {
    let time = Number.NaN;
    scanOpening(opening, isIndexed, (field, value) => {
      if (field === timeField) time = Date.parse(value);
      else this.#term(termFieldsByNumber.get(field)!, value, bundle);
    });
    const known = Number.isNaN(time) ? now : time;
    this.#firstTime = Math.min(this.#firstTime, known);
    this.#lastTime = Math.max(this.#lastTime, known);
  }

  #term(field: TermField, value: string, bundle: number): void {
    const key = `${bundle} ${field} ${value}`;
    if (!this.#terms.has(key)) this.#terms.set(key, { term: searchTerm(field, value), bundle });
  }
}

function isIndexed(field: number): boolean {
  return field === timeField || termFieldsByNumber.has(field);
}

function tileRow(level: number, number: number, hashes: readonly Buffer[]): TileRow {
  return { level, number, width: hashes.length, hashes: Buffer.concat(hashes) };
}
