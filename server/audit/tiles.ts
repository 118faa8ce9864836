import { KeyreeveError } from '../base/errors.ts';
import { asBuffer, hashLengthBytes } from './leaf.ts';
import { Frontier } from './tree.ts';

export const tileHeight = 8;
/** Hashes in a full tile, and entries in a full bundle. */
export const tileWidth = 256;
const leafLengthBytes = 2;
const openingLengthBytes = 4;

/** A file of the layout of C2SP tlog-tiles. `width` is 256 for a full tile. */
export type Resource =
  | { readonly kind: 'checkpoint' }
  | {
      readonly kind: 'tile';
      readonly level: number;
      readonly number: number;
      readonly width: number;
    }
  | { readonly kind: 'entries'; readonly number: number; readonly width: number };

/** `1234067` is `x001/x234/067`. */
export function encodeIndex(number: number): string {
  const digits = String(number);
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const groups = padded.match(/.{3}/g) ?? [];
  return groups.map((group, index) => (index < groups.length - 1 ? `x${group}` : group)).join('/');
}

export function tilePath(level: number, number: number, width: number): string {
  return `tile/${level}/${encodeIndex(number)}${partialSuffix(width)}`;
}

export function entriesPath(number: number, width: number): string {
  return `tile/entries/${encodeIndex(number)}${partialSuffix(width)}`;
}

export function openingsPath(number: number): string {
  return `openings/${encodeIndex(number)}.ndjson`;
}

/** What a path of the layout names, or undefined. Only the one right spelling is taken. */
export function parseResource(path: string): Resource | undefined {
  if (path === 'checkpoint') return { kind: 'checkpoint' };
  const form =
    /^tile\/(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x[0-9]{3}\/){0,4}[0-9]{3})(?:\.p\/([1-9][0-9]{0,2}))?$/;
  const match = form.exec(path);
  if (match === null) return undefined;
  const number = Number(match[2]!.replaceAll(/[x/]/g, ''));
  const width = match[3] === undefined ? tileWidth : Number(match[3]);
  if (match[3] !== undefined && width >= tileWidth) return undefined;
  const resource: Resource =
    match[1] === 'entries'
      ? { kind: 'entries', number, width }
      : { kind: 'tile', level: Number(match[1]), number, width };
  const path2 =
    resource.kind === 'entries'
      ? entriesPath(number, width)
      : tilePath(Number(match[1]), number, width);
  return path2 === path ? resource : undefined;
}

/** How many hashes this tile has in a tree of `size` leaves: 0 where there is no such tile. */
export function widthInTree(level: number, number: number, size: number): number {
  const hashes = Math.floor(size / tileWidth ** level);
  return Math.max(0, Math.min(tileWidth, hashes - number * tileWidth));
}

/** How many tiles, full and partial, this level has in a tree of `size` leaves. */
export function tilesInLevel(level: number, size: number): number {
  return Math.ceil(Math.floor(size / tileWidth ** level) / tileWidth);
}

export function splitHashes(hashes: Uint8Array): Buffer[] {
  const bytes = asBuffer(hashes);
  const list: Buffer[] = [];
  for (let offset = 0; offset + hashLengthBytes <= bytes.length; offset += hashLengthBytes) {
    list.push(bytes.subarray(offset, offset + hashLengthBytes));
  }
  return list;
}

/** The root of the subtree that the hashes of a full tile span. */
export function tileRoot(hashes: readonly Uint8Array[]): Buffer {
  const frontier = new Frontier();
  for (const hash of hashes) frontier.append(hash);
  return frontier.root();
}

/** An entry bundle: each leaf preceded by its length, two bytes. */
export function joinLeaves(leaves: readonly Uint8Array[]): Buffer {
  return join(leaves, leafLengthBytes);
}

/** The leaves of an entry bundle. Throws `integrity-failed` if it is cut or runs over. */
export function splitLeaves(bundle: Uint8Array): Buffer[] {
  return split(bundle, leafLengthBytes, 'entry bundle');
}

/** Openings as the database holds them: each preceded by its length, four bytes. */
export function joinOpenings(openings: readonly Uint8Array[]): Buffer {
  return join(openings, openingLengthBytes);
}

/** Throws `integrity-failed` if the list is cut or runs over. */
export function splitOpenings(openings: Uint8Array): Buffer[] {
  return split(openings, openingLengthBytes, 'list of openings');
}

function join(items: readonly Uint8Array[], lengthBytes: number): Buffer {
  const total = items.reduce((sum, item) => sum + lengthBytes + item.length, 0);
  const bytes = Buffer.allocUnsafe(total);
  let offset = 0;
  for (const item of items) {
    offset = bytes.writeUIntBE(item.length, offset, lengthBytes);
    bytes.set(item, offset);
    offset += item.length;
  }
  return bytes;
}

function split(list: Uint8Array, lengthBytes: number, noun: string): Buffer[] {
  const bytes = asBuffer(list);
  const items: Buffer[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const start = offset + lengthBytes;
    const end = start <= bytes.length ? start + bytes.readUIntBE(offset, lengthBytes) : start;
    if (end > bytes.length) {
      throw new KeyreeveError(
        'integrity-failed',
        `The record is damaged: an ${noun} is cut short.`,
      );
    }
    items.push(bytes.subarray(start, end));
    offset = end;
  }
  return items;
}

function partialSuffix(width: number): string {
  return width === tileWidth ? '' : `.p/${width}`;
}
