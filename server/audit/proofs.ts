import { KeyreeveError } from '../base/errors.ts';
import { splitHashes, tileHeight, tileRoot, tileWidth, widthInTree } from './tiles.ts';
import { emptyRoot, hashChildren, splitPoint } from './tree.ts';

/** Reads a tile: `width` hashes of 32 bytes, or undefined where there is none. */
export type TileReader = (
  level: number,
  number: number,
  width: number,
) => Promise<Uint8Array | undefined>;

/**
 * Roots and proofs of a tree of one size, out of its tiles. Tiles are read once each, so make a new
 * one for each question. All throw `record-corrupt` where a tile is missing.
 */
export class TreeProver {
  readonly #size: number;
  readonly #read: TileReader;
  readonly #tiles = new Map<string, Promise<Buffer[]>>();

  constructor(size: number, read: TileReader) {
    this.#size = size;
    this.#read = read;
  }

  /** The root of the tree when it had `size` leaves. */
  async root(size: number): Promise<Buffer> {
    this.#demand(size <= this.#size);
    return size === 0 ? emptyRoot() : this.#range(0, size);
  }

  /** The audit path of the leaf at `index` in the tree of `size` leaves: RFC 6962 section 2.1.1. */
  async inclusion(index: number, size: number): Promise<Buffer[]> {
    this.#demand(size <= this.#size && index < size);
    const proof: Buffer[] = [];
    let start = 0;
    let end = size;
    while (end - start > 1) {
      const middle = start + splitPoint(end - start);
      if (index < middle) {
        proof.push(await this.#range(middle, end));
        end = middle;
      } else {
        proof.push(await this.#range(start, middle));
        start = middle;
      }
    }
    return proof.reverse();
  }

  /** The consistency proof between two sizes: RFC 6962 section 2.1.2. Empty if they are equal. */
  async consistency(first: number, second: number): Promise<Buffer[]> {
    this.#demand(first <= second && second <= this.#size);
    if (first === 0 || first === second) return [];
    const proof: Buffer[] = [];
    let start = 0;
    let end = second;
    while (end !== first) {
      const middle = start + splitPoint(end - start);
      if (first <= middle) {
        proof.push(await this.#range(middle, end));
        end = middle;
      } else {
        proof.push(await this.#range(start, middle));
        start = middle;
      }
    }
    // The root of the first tree itself is known to whoever asks.
    if (start > 0) proof.push(await this.#range(start, end));
    return proof.reverse();
  }

  /** The hash of the leaves from `start` to before `end`; `start` is where RFC 6962 puts it. */
  async #range(start: number, end: number): Promise<Buffer> {
    const count = end - start;
    const split = count > 1 ? splitPoint(count) : 0;
    if (count === 1 || split * 2 === count) return this.#node(start, count);
    const left = await this.#range(start, start + split);
    return hashChildren(left, await this.#range(start + split, end));
  }

  /** The hash of a complete subtree of `count` leaves, a power of two that divides `start`. */
  async #node(start: number, count: number): Promise<Buffer> {
    const level = Math.floor(Math.log2(count) / tileHeight);
    const first = start / tileWidth ** level;
    const hashes = await this.#tile(level, Math.floor(first / tileWidth));
    const offset = first % tileWidth;
    const nodes = hashes.slice(offset, offset + count / tileWidth ** level);
    this.#demand(nodes.length === count / tileWidth ** level);
    return tileRoot(nodes);
  }

  #tile(level: number, number: number): Promise<Buffer[]> {
    const name = `${level}/${number}`;
    let tile = this.#tiles.get(name);
    if (tile === undefined) {
      const width = widthInTree(level, number, this.#size);
      tile = this.#read(level, number, width).then((hashes) =>
        splitHashes(hashes ?? Buffer.alloc(0)),
      );
      this.#tiles.set(name, tile);
    }
    return tile;
  }

  #demand(condition: boolean): void {
    if (condition) return;
    throw new KeyreeveError(
      'record-corrupt',
      'The record has no such place, or a tile is missing.',
      {
        hint: 'Run `keyreeve audit verify` to see what is damaged.',
      },
    );
  }
}
