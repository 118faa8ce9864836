import { setImmediate } from 'node:timers/promises';
import { continuedHead, diagnose, entryId, readableLeaves, shortList } from './diagnose.ts';
import {
  type BundleOpenings,
  type HeadToCheck,
  type Problem,
  problemLimit,
  type TreeSource,
  type VerifyOptions,
} from './findings.ts';
import { checkOpening, decodeLeaf, fieldName, hashLengthBytes, type OpenedField } from './leaf.ts';
import type { TreeHead } from './note.ts';
import {
  entriesPath,
  openingsPath,
  splitHashes,
  tilePath,
  tileRoot,
  tilesInLevel,
  tileWidth,
  widthInTree,
} from './tiles.ts';
import { Frontier, hashLeaf } from './tree.ts';

/** How long the verifier works before it lets others have a turn. */
const turnMilliseconds = 5;
const entriesPerTurn = 32;
/** One change contradicts every checkpoint after it: naming some is enough. */
const headsNamed = 8;

interface Tile {
  readonly level: number;
  readonly number: number;
  readonly width: number;
  /** Empty if it could not be read. */
  readonly stored: Buffer[];
  computed: Buffer[];
}

/** One walk over a tree from its root downwards; see `verifyTree`. */
export class Walk {
  readonly problems: Problem[] = [];
  withoutOpening = 0;
  redactedFields = 0;
  readonly #source: TreeSource;
  readonly #head: TreeHead;
  readonly #heads: HeadToCheck[];
  readonly #progress: VerifyOptions['progress'];
  /** The tree as proven, or as the entries say where nothing is proven. */
  readonly #frontier = new Frontier();
  #wrongHeads = 0;
  #turnEnds = performance.now() + turnMilliseconds;

  constructor(source: TreeSource, options: VerifyOptions) {
    this.#source = source;
    this.#head = options.head;
    this.#heads = [...(options.heads ?? [])].sort((a, b) => a.head.size - b.head.size);
    this.#progress = options.progress;
  }

  /** The tiles of the right edge together make the root; below them every tile is full. */
  async run(): Promise<void> {
    const { size, root } = this.#head;
    const edge = await this.#readEdge();
    const edgeRoot = new Frontier();
    for (const tile of edge) {
      for (const hash of tile.stored) edgeRoot.append(hash, undefined, tile.level * 8);
    }
    const proven = edgeRoot.size === size && edgeRoot.root().equals(root);
    const computedRoot = new Frontier();
    for (const tile of edge) {
      const computed = await this.#children(tile, proven ? tile.stored : undefined);
      for (const hash of computed) computedRoot.append(hash, undefined, tile.level * 8);
      tile.computed = computed;
    }
    this.#checkHeads();
    if (proven) return;
    const entriesAreRight = computedRoot.root().equals(root);
    const before = this.problems.length;
    for (const tile of edge) this.#blame(tile, entriesAreRight);
    if (!entriesAreRight && this.problems.length === before) {
      this.#report({
        code: 'root-mismatch',
        message: `Entries and tiles agree with each other, but not with the checkpoint of size ${size}.`,
      });
    }
  }

  async #readEdge(): Promise<Tile[]> {
    const edge: Tile[] = [];
    for (let level = 0; tilesInLevel(level, this.#head.size) > 0; level++) {
      const number = Math.floor(Math.floor(this.#head.size / tileWidth ** level) / tileWidth);
      const width = widthInTree(level, number, this.#head.size);
      if (width > 0) edge.unshift(await this.#readTile(level, number, width));
    }
    return edge;
  }

  async #readTile(level: number, number: number, width: number): Promise<Tile> {
    const bytes = await this.#source.tile(level, number, width);
    const whole = bytes?.length === width * hashLengthBytes;
    if (!whole) {
      this.#report({
        code: 'tile-missing',
        path: tilePath(level, number, width),
        message: bytes === undefined ? 'The tile is not there.' : 'The tile has a wrong length.',
      });
    }
    return { level, number, width, stored: whole ? splitHashes(bytes) : [], computed: [] };
  }

  /** Checks a full tile and all below it; answers the hash that the entries below it make. */
  async #fullTile(level: number, number: number, trusted: Buffer | undefined): Promise<Buffer> {
    const tile = await this.#readTile(level, number, tileWidth);
    const proven =
      trusted !== undefined && tile.stored.length > 0 && tileRoot(tile.stored).equals(trusted);
    tile.computed = await this.#children(tile, proven ? tile.stored : undefined);
    const root = tileRoot(tile.computed);
    if (!proven && trusted !== undefined) this.#judge(tile, root.equals(trusted));
    else if (!proven) this.#blame(tile, false);
    return root;
  }

  #judge(tile: Tile, entriesAreRight: boolean): void {
    const before = this.problems.length;
    this.#blame(tile, entriesAreRight);
    if (entriesAreRight || this.problems.length > before) return;
    const first = tile.number * tileWidth ** (tile.level + 1);
    this.#report({
      code: 'entry-damaged',
      place: first,
      path: tilePath(tile.level, tile.number, tile.width),
      message: `Among the entries from ${first} to ${first + tileWidth ** (tile.level + 1) - 1} some were changed together with their tile.`,
    });
  }

  /** Names what differs in a tile that nothing above it proves. */
  #blame(tile: Tile, entriesAreRight: boolean): void {
    const { level, number, width, stored, computed } = tile;
    if (stored.length === 0) return;
    const wrong = stored.flatMap((hash, index) => (computed[index]?.equals(hash) ? [] : [index]));
    if (wrong.length === 0) return;
    const path = tilePath(level, number, width);
    if (entriesAreRight || level > 0) {
      const message = `The hashes number ${shortList(wrong)} in the tile are not those of what is below it.`;
      this.#report({ code: 'tile-damaged', path, message });
      return;
    }
    for (const index of wrong) {
      const place = number * tileWidth + index;
      const message = `Entry and tile (${path}) do not agree, and neither is proven.`;
      this.#report({ code: 'entry-damaged', place, path: entriesPath(number, width), message });
    }
  }

  /** The hashes that what is below a tile makes. */
  async #children(tile: Tile, trusted: Buffer[] | undefined): Promise<Buffer[]> {
    if (tile.level === 0) return this.#bundle(tile, trusted);
    const computed: Buffer[] = [];
    for (let index = 0; index < tile.width; index++) {
      const number = tile.number * tileWidth + index;
      computed.push(await this.#fullTile(tile.level - 1, number, trusted?.[index]));
    }
    return computed;
  }

  async #bundle(tile: Tile, trusted: Buffer[] | undefined): Promise<Buffer[]> {
    const { number, width, stored } = tile;
    const leaves = await this.#readLeaves(number, width);
    const openings = await this.#source.openings(number, width);
    const hashes = leaves.map(hashLeaf);
    const right = (index: number) =>
      index < hashes.length && (trusted === undefined || trusted[index]!.equals(hashes[index]!));
    if (trusted !== undefined) {
      for (const problem of diagnose(number, hashes, trusted, openings)) this.#report(problem);
    } else if (hashes.length < width) this.#reportShort(tile, hashes.length);
    const computed: Buffer[] = [];
    for (let index = 0; index < width; index++) {
      const hash =
        trusted?.[index] ?? hashes[index] ?? stored[index] ?? Buffer.alloc(hashLengthBytes);
      computed.push(hash);
      this.#checkHeads();
      if (right(index)) this.#entry(number, index, width, leaves[index]!, openings);
      this.#frontier.append(hash);
      if (index % entriesPerTurn === 0) await this.#turn();
    }
    if (openings === undefined) this.withoutOpening += width;
    for (const stray of openings?.slice(width) ?? []) {
      const message = 'problem' in stray ? stray.problem : 'There are more values than entries.';
      this.#report({ code: 'opening-damaged', path: openingsPath(number), message });
    }
    this.#progress?.(this.#frontier.size, this.#head.size);
    return computed;
  }

  async #readLeaves(number: number, width: number): Promise<Buffer[]> {
    const path = entriesPath(number, width);
    const bytes = await this.#source.leaves(number, width);
    if (bytes === undefined) {
      this.#report({ code: 'bundle-missing', path, message: 'The entry bundle is not there.' });
      return [];
    }
    const leaves = readableLeaves(bytes);
    const consumed = leaves.reduce((sum, leaf) => sum + 2 + leaf.length, 0);
    if (consumed !== bytes.length || leaves.length > width) {
      const place = number * tileWidth + Math.min(leaves.length, width);
      const message =
        'The entry bundle cannot be read from here on, or has more than belongs in it.';
      this.#report({ code: 'bundle-damaged', place, path, message });
    }
    return leaves.slice(0, width);
  }

  #reportShort(tile: Tile, count: number): void {
    const path = entriesPath(tile.number, tile.width);
    const message = `The entry bundle has ${count} entries of ${tile.width}.`;
    const place = tile.number * tileWidth + count;
    this.#report({ code: 'entry-missing', place, path, message });
  }

  /** Form of the leaf, its opening, and what it says of an older log. */
  #entry(
    number: number,
    index: number,
    width: number,
    leaf: Buffer,
    openings: BundleOpenings | undefined,
  ): void {
    const place = number * tileWidth + index;
    const opening = openings?.[index];
    const id = entryId(opening);
    let commitments: ReturnType<typeof decodeLeaf>;
    try {
      commitments = decodeLeaf(leaf);
    } catch (error) {
      const path = entriesPath(number, width);
      this.#report({
        code: 'entry-malformed',
        place,
        ...id,
        path,
        message: (error as Error).message,
      });
      return;
    }
    if (openings === undefined) return;
    const path = openingsPath(number);
    if (opening === undefined || 'problem' in opening) {
      const message = opening?.problem ?? 'The values of this entry are not there.';
      this.#report({ code: 'opening-damaged', place, path, message });
      return;
    }
    this.redactedFields += commitments.length - opening.length;
    const wrong = checkOpening(commitments, opening);
    for (const { field, reason } of wrong) {
      const message =
        reason === 'absent'
          ? `The entry has no field ${fieldName(field)}.`
          : `The value of the field ${fieldName(field)} is not the one that was recorded.`;
      this.#report({ code: 'opening-mismatch', place, ...id, path, message });
    }
    if (wrong.length === 0) this.#continuation(place, opening, path);
  }

  #continuation(place: number, opening: readonly OpenedField[], path: string): void {
    const head = continuedHead(opening);
    if (head === undefined) return;
    if (head !== 'invalid' && head.size === place && head.root.equals(this.#frontier.root()))
      return;
    this.#report({
      code: 'continuation-invalid',
      place,
      ...entryId(opening),
      path,
      message: 'The entry says of the log before it what the entries before it do not bear out.',
    });
  }

  /** Compares the heads whose size has been reached. */
  #checkHeads(): void {
    while (this.#heads[0] !== undefined && this.#heads[0].head.size <= this.#frontier.size) {
      const { head, label, code } = this.#heads.shift()!;
      if (head.size === this.#frontier.size && head.root.equals(this.#frontier.root())) continue;
      if (++this.#wrongHeads > headsNamed) continue;
      const message = `${label}: the first ${head.size} entries do not make the root that it names.`;
      this.#report({ code, message });
    }
  }

  #report(problem: Problem): void {
    if (this.problems.length < problemLimit) this.problems.push(problem);
  }

  async #turn(): Promise<void> {
    if (performance.now() < this.#turnEnds) return;
    await setImmediate();
    this.#turnEnds = performance.now() + turnMilliseconds;
  }
}
