import { hash } from 'node:crypto';
import { asBuffer, hashLengthBytes } from './leaf.ts';

/** Receives each complete subtree as it comes to be: its height (0 for a leaf) and its hash. */
export type NodeListener = (height: number, hash: Buffer) => void;

interface Subtree {
  readonly height: number;
  readonly hash: Buffer;
}

const nodeInput = Buffer.alloc(1 + 2 * hashLengthBytes);
// The input of a leaf's hash is put together here; larger than any leaf.
const leafInput = Buffer.alloc(64 * 1024 + 1);

/** SHA-256(0x00 || leaf): RFC 6962 section 2.1. */
export function hashLeaf(leaf: Uint8Array): Buffer {
  leafInput[0] = 0x00;
  leafInput.set(leaf, 1);
  return digest(leafInput.subarray(0, leaf.length + 1));
}

/** SHA-256(0x01 || left || right): RFC 6962 section 2.1. */
export function hashChildren(left: Uint8Array, right: Uint8Array): Buffer {
  nodeInput[0] = 0x01;
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + hashLengthBytes);
  return digest(nodeInput);
}

/** The root of the tree without leaves: SHA-256 of nothing. */
export function emptyRoot(): Buffer {
  return digest(Buffer.alloc(0));
}

export function digest(bytes: Uint8Array): Buffer {
  return Buffer.from(hash('sha256', bytes, 'binary'), 'latin1');
}

/**
 * The right edge of a growing tree: its complete subtrees, the largest first. Memory grows with the
 * logarithm of the size.
 */
export class Frontier {
  readonly #subtrees: Subtree[];
  #size: number;

  constructor(other?: Frontier) {
    this.#subtrees = other === undefined ? [] : [...other.#subtrees];
    this.#size = other === undefined ? 0 : other.#size;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds the hash of a leaf, or of a complete subtree that comes next; the smallest are added last. */
  append(node: Uint8Array, listener?: NodeListener, height = 0): void {
    let subtree: Subtree = { height, hash: asBuffer(node) };
    listener?.(height, subtree.hash);
    while (this.#subtrees.at(-1)?.height === subtree.height) {
      const left = this.#subtrees.pop()!;
      subtree = { height: left.height + 1, hash: hashChildren(left.hash, subtree.hash) };
      listener?.(subtree.height, subtree.hash);
    }
    this.#subtrees.push(subtree);
    this.#size += 2 ** height;
  }

  root(): Buffer {
    let root = this.#subtrees.at(-1)?.hash;
    if (root === undefined) return emptyRoot();
    for (let index = this.#subtrees.length - 2; index >= 0; index--) {
      root = hashChildren(this.#subtrees[index]!.hash, root);
    }
    return root;
  }
}

/** Whether the proof shows that the leaf is in the tree: RFC 9162 section 2.1.3.2. */
export function verifyInclusion(
  index: number,
  size: number,
  leafHash: Uint8Array,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isCount(index) || !isCount(size) || index >= size) return false;
  if (![leafHash, root, ...proof].every(isHash)) return false;
  let place = index;
  let last = size - 1;
  let node = asBuffer(leafHash);
  for (const step of proof) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      node = hashChildren(step, node);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      node = hashChildren(node, step);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && node.equals(root);
}

/** Whether the proof shows that the second tree continues the first: RFC 9162 section 2.1.4.2. */
export function verifyConsistency(
  firstSize: number,
  secondSize: number,
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isCount(firstSize) || !isCount(secondSize) || firstSize > secondSize) return false;
  if (![firstRoot, secondRoot, ...proof].every(isHash)) return false;
  if (firstSize === secondSize) return proof.length === 0 && asBuffer(firstRoot).equals(secondRoot);
  // Every tree continues the empty one.
  if (firstSize === 0) return proof.length === 0 && emptyRoot().equals(firstRoot);
  if (proof.length === 0) return false;
  const steps = isPowerOfTwo(firstSize) ? [firstRoot, ...proof] : proof;
  let place = firstSize - 1;
  let last = secondSize - 1;
  while (place % 2 === 1) [place, last] = [half(place), half(last)];
  let first = asBuffer(steps[0]!);
  let second = first;
  for (const step of steps.slice(1)) {
    if (last === 0) return false;
    if (place % 2 === 1 || place === last) {
      first = hashChildren(step, first);
      second = hashChildren(step, second);
      while (place % 2 === 0 && place !== 0) [place, last] = [half(place), half(last)];
    } else {
      second = hashChildren(second, step);
    }
    [place, last] = [half(place), half(last)];
  }
  return last === 0 && first.equals(firstRoot) && second.equals(secondRoot);
}

/** The largest power of two below `size`, which is 2 at least: where RFC 6962 splits a tree. */
export function splitPoint(size: number): number {
  let power = 1;
  while (power * 2 < size) power *= 2;
  return power;
}

export function isPowerOfTwo(value: number): boolean {
  return value === 1 || (value > 1 && splitPoint(value) * 2 === value);
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function isHash(bytes: Uint8Array): boolean {
  return bytes.length === hashLengthBytes;
}
