import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { emptyEdge, place } from './placement.ts';
import { TreeProver } from './proofs.ts';
import { encodeIndex, parseResource, tilePath } from './tiles.ts';
import { emptyRoot, Frontier, hashLeaf, verifyConsistency, verifyInclusion } from './tree.ts';

interface Vectors {
  leaves: string[];
  roots: string[];
  inclusion: { leaf: number; size: number; proof: string[] }[];
  consistency: { first: number; second: number; proof: string[] }[];
}

const vectors = JSON.parse(
  readFileSync(new URL('../../test/vectors/rfc6962.json', import.meta.url), 'utf8'),
) as Vectors;
const leaves = vectors.leaves.map(hex);
const roots = vectors.roots.map(hex);

function hex(text: string): Buffer {
  return Buffer.from(text, 'hex');
}

/** A tree of these leaves, kept as tiles in memory, built in steps of some length. */
function growTree(entries: readonly Buffer[], step: number) {
  let edge = emptyEdge();
  const tiles = new Map<string, Buffer>();
  const rootsBySize = [emptyRoot()];
  for (let start = 0; start < entries.length; start += step) {
    const some = entries.slice(start, start + step);
    const placement = place(
      edge,
      some.map((leaf) => ({ leaf, opening: Buffer.of(0) })),
      0,
    );
    for (const row of placement.tiles) tiles.set(`${row.level}/${row.number}`, row.hashes);
    edge = placement.edge;
    rootsBySize[edge.frontier.size] = edge.frontier.root();
  }
  const read = async (level: number, number: number, width: number) => {
    const hashes = tiles.get(`${level}/${number}`);
    return hashes && hashes.length >= width * 32 ? hashes.subarray(0, width * 32) : undefined;
  };
  return { prover: new TreeProver(entries.length, read), rootsBySize, edge };
}

test('the roots of the known trees are right', () => {
  const frontier = new Frontier();
  assert.equal(frontier.root().toString('hex'), emptyRoot().toString('hex'));
  for (const [index, leaf] of leaves.entries()) {
    frontier.append(hashLeaf(leaf));
    assert.equal(frontier.root().toString('hex'), vectors.roots[index]);
  }
});

test('proofs made from tiles are those of the known trees', async () => {
  const { prover } = growTree(leaves, 3);
  for (const { leaf, size, proof } of vectors.inclusion) {
    assert.deepEqual((await prover.inclusion(leaf, size)).map(toHex), proof);
  }
  for (const { first, second, proof } of vectors.consistency) {
    assert.deepEqual((await prover.consistency(first, second)).map(toHex), proof);
  }
});

test('a known inclusion proof verifies, and none that was altered', () => {
  for (const { leaf, size, proof } of vectors.inclusion) {
    const steps = proof.map(hex);
    const hash = hashLeaf(leaves[leaf]!);
    const root = roots[size - 1]!;
    assert.ok(verifyInclusion(leaf, size, hash, steps, root));
    assert.ok(!verifyInclusion(leaf + 1, size, hash, steps, root));
    assert.ok(!verifyInclusion(leaf, size, flipped(hash), steps, root));
    assert.ok(!verifyInclusion(leaf, size, hash, steps, flipped(root)));
    assert.ok(!verifyInclusion(leaf, size, hash, [...steps, root], root));
    assert.ok(!verifyInclusion(leaf, size, hash, [root, ...steps], root));
    assert.ok(!verifyInclusion(leaf, size, hash.subarray(1), steps, root));
    if (steps.length > 0) assert.ok(!verifyInclusion(leaf, size, hash, steps.slice(1), root));
    if (steps.length > 0) assert.ok(!verifyInclusion(leaf, size, hash, steps.slice(0, -1), root));
    for (const index of steps.keys()) {
      assert.ok(
        !verifyInclusion(leaf, size, hash, steps.with(index, flipped(steps[index]!)), root),
      );
    }
  }
  assert.ok(!verifyInclusion(0, 0, roots[0]!, [], roots[0]!));
  assert.ok(!verifyInclusion(-1, 1, roots[0]!, [], roots[0]!));
  assert.ok(!verifyInclusion(0.5, 1, roots[0]!, [], roots[0]!));
});

test('a known consistency proof verifies, and none that was altered', () => {
  for (const { first, second, proof } of vectors.consistency) {
    const steps = proof.map(hex);
    const [old, new_] = [roots[first - 1]!, roots[second - 1]!];
    const check = (a: number, b: number, c: Buffer, d: Buffer, e: Buffer[]) =>
      verifyConsistency(a, b, c, d, e);
    assert.ok(check(first, second, old, new_, steps));
    assert.ok(!check(first + 1, second, old, new_, steps));
    assert.ok(!check(first, second, flipped(old), new_, steps));
    assert.ok(!check(first, second, old, flipped(new_), steps));
    assert.ok(!check(first, second, old, new_, [...steps, old]));
    assert.ok(!check(first, second, old, new_, [old, ...steps]));
    if (first === second) continue;
    assert.ok(!check(first, second, new_, old, steps));
    assert.ok(!check(second, first, new_, old, steps));
    assert.ok(!check(first, second, old, new_, []));
    assert.ok(!check(first, second, old, new_, steps.slice(0, -1)));
    for (const index of steps.keys()) {
      assert.ok(!check(first, second, old, new_, steps.with(index, flipped(steps[index]!))));
    }
  }
});

test('every proof of a tree of three levels of tiles verifies, however it grew', async () => {
  const entries = Array.from({ length: 66_000 }, (_, index) => Buffer.from(`entry ${index}`));
  const { prover, rootsBySize, edge } = growTree(entries, 500);
  const root = edge.frontier.root();
  assert.deepEqual(growTree(entries, 33_000).edge.frontier.root(), root);
  const places = [0, 1, 255, 256, 257, 65_279, 65_535, 65_536, 65_999];
  for (const index of places) {
    const proof = await prover.inclusion(index, entries.length);
    assert.ok(verifyInclusion(index, entries.length, hashLeaf(entries[index]!), proof, root));
  }
  for (const size of [0, 500, 1000, 32_500, 65_500, 66_000]) {
    const proof = await prover.consistency(size, entries.length);
    assert.ok(verifyConsistency(size, entries.length, rootsBySize[size]!, root, proof), `${size}`);
    assert.deepEqual(await prover.root(size), rootsBySize[size]);
  }
});

test('a proof beyond the tree is refused', async () => {
  const { prover } = growTree(leaves, 8);
  await assert.rejects(prover.inclusion(8, 8), { code: 'record-corrupt' });
  await assert.rejects(prover.inclusion(0, 9), { code: 'record-corrupt' });
  await assert.rejects(prover.consistency(5, 4), { code: 'record-corrupt' });
});

test('paths are those of tlog-tiles, and other spellings are refused', () => {
  assert.equal(encodeIndex(1_234_067), 'x001/x234/067');
  assert.equal(encodeIndex(0), '000');
  assert.equal(tilePath(1, 5, 17), 'tile/1/005.p/17');
  assert.deepEqual(parseResource('tile/entries/x001/x234/067'), {
    kind: 'entries',
    number: 1_234_067,
    width: 256,
  });
  assert.deepEqual(parseResource('tile/63/000.p/255'), {
    kind: 'tile',
    level: 63,
    number: 0,
    width: 255,
  });
  const wrong = ['tile/0/0', 'tile/64/000', 'tile/00/000', 'tile/0/000.p/256', 'tile/0/000.p/0'];
  wrong.push('tile/0/x000/001', 'tile/0/000.p/01', 'tile/0/../000', '/checkpoint', 'tile/0/000/');
  wrong.push('tile/entries/x00/000', 'tile/0/x001', '', 'tile/0/000\n');
  for (const path of wrong) assert.equal(parseResource(path), undefined, path);
});

test('random bytes are never a proof', () => {
  for (let round = 0; round < 500; round++) {
    const proof = Array.from({ length: round % 8 }, () => randomBytes(32));
    assert.ok(!verifyInclusion(round % 7, 8, randomBytes(32), proof, roots[7]!));
    assert.ok(!verifyConsistency(1 + (round % 7), 8, randomBytes(32), roots[7]!, proof));
  }
});

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy[0]! ^= 8;
  return copy;
}
