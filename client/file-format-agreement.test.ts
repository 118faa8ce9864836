import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isKeyreeveError } from '../server/base/errors.ts';
import {
  collect,
  contentOf,
  damagedFiles,
  dataKeyHex,
  decryptBytes,
  encryptBytes,
  pieceBytes,
  streamOf,
  testDataKey,
} from '../test/file-format-cases.ts';
import { requirePythonCryptography, run, tryRun } from '../test/tools.ts';
import { decodeHeader, encryptStream } from './file-format.ts';

interface Vectors {
  dataKey: string;
  opened: {
    file: string;
    fileSha256: string;
    keyId: string;
    keyVersion: number;
    wrappedDataKey: string;
    salt: string;
    contentBytes: number;
    contentSha256: string;
  }[];
  refused: { file: string; reason: string; change: string }[];
}

const vectorFolder = join(import.meta.dirname, '../test/vectors/file-format');
const reader = join(import.meta.dirname, '../test/read-encrypted-file.py');
const vectors: Vectors = JSON.parse(readFileSync(join(vectorFolder, 'vectors.json'), 'utf8'));
const fuzzSeed = 20_260_801;
const fuzzRounds = 1500;
const fuzzRoundsForBoth = 150;

let folder = '';
let dataKeyFile = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyreeve-file-format-'));
  dataKeyFile = join(folder, 'data-key.hex');
  writeFileSync(dataKeyFile, `${dataKeyHex}\n`);
});
after(() => rmSync(folder, { recursive: true }));

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What our reader says of a file, in the words of the Python reader. Throws for any other error. */
async function ourVerdict(file: Buffer): Promise<string> {
  try {
    return `ok ${sha256(await decryptBytes(file))}`;
  } catch (error) {
    if (isKeyreeveError(error, 'invalid-ciphertext')) return `refused ${error.data.reason}`;
    throw error;
  }
}

/** What the Python reader says of each file. */
function theirVerdicts(python: string, files: readonly Buffer[]): string[] {
  const paths = files.map((bytes, index) => {
    const path = join(folder, `${index}.keyreeve`);
    writeFileSync(path, bytes);
    return path;
  });
  const output = run(python, [reader, '--data-key-file', dataKeyFile, '--verdicts', ...paths]);
  return output.toString().trimEnd().split('\n');
}

describe('the committed vectors', () => {
  test('are under the data key of these tests', () => assert.equal(vectors.dataKey, dataKeyHex));

  for (const vector of vectors.opened) {
    test(`${vector.file} opens, and is written again byte for byte`, async () => {
      const file = readFileSync(join(vectorFolder, vector.file));
      assert.equal(sha256(file), vector.fileSha256);
      const content = await decryptBytes(file);
      assert.equal(sha256(content), vector.contentSha256);
      assert.ok(content.equals(contentOf(vector.contentBytes)));
      const wrappedDataKey = Buffer.from(vector.wrappedDataKey, 'hex');
      const salt = Buffer.from(vector.salt, 'hex');
      const { keyId, keyVersion } = vector;
      assert.deepEqual(decodeHeader(file).header, { keyId, keyVersion, wrappedDataKey, salt });
      const key = { keyId, keyVersion, wrappedDataKey, dataKey: testDataKey() };
      const again = await collect(encryptStream(key, streamOf(content), () => salt));
      assert.ok(again.equals(file));
    });
  }

  for (const { file, reason, change } of vectors.refused) {
    test(`${file} (${change}) is refused: ${reason}`, async () => {
      const bytes = readFileSync(join(vectorFolder, file));
      assert.equal(await ourVerdict(bytes), `refused ${reason}`);
    });
  }
});

describe('the second reader', () => {
  test('says the same of every committed vector', (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const expected = [
      ...vectors.opened.map(({ file, contentSha256 }) => ({
        file,
        verdict: `ok ${contentSha256}`,
      })),
      ...vectors.refused.map(({ file, reason }) => ({ file, verdict: `refused ${reason}` })),
    ];
    const files = expected.map(({ file }) => readFileSync(join(vectorFolder, file)));
    const found = theirVerdicts(python, files);
    const named = expected.map(({ file }, index) => ({ file, verdict: found[index] }));
    assert.deepEqual(named, expected);
  });

  test('opens what we write, at every length that matters', async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const lengths = [0, 1, 16, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3 * pieceBytes, 300_000];
    const contents = lengths.map(contentOf);
    const files: Buffer[] = [];
    for (const content of contents) files.push(await encryptBytes(content));
    const expected = contents.map((content) => `ok ${sha256(content)}`);
    assert.deepEqual(theirVerdicts(python, files), expected);
  });

  test('gives the same reason for each damage', async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const damaged = await damagedFiles();
    const files = damaged.map(({ bytes }) => bytes);
    const found = theirVerdicts(python, files);
    const named = damaged.map(({ name }, index) => ({ name, verdict: found[index] }));
    const expected = damaged.map(({ name, reason }) => ({ name, verdict: `refused ${reason}` }));
    assert.deepEqual(named, expected);
  });

  test('decrypts to a file, and on damage exits with a reason and leaves none', async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const content = contentOf(100_000);
    const file = await encryptBytes(content);
    const [whole, cut, out] = ['whole', 'cut', 'out'].map((name) => join(folder, name));
    writeFileSync(whole!, file);
    writeFileSync(cut!, file.subarray(0, file.length - 5));
    const refused = tryRun(python, [reader, '--data-key-file', dataKeyFile, cut!, out!]);
    assert.equal(refused.status, 1);
    assert.equal(refused.stderr.toString(), 'refused: final-chunk\n');
    assert.ok(!existsSync(out!) && !existsSync(`${out}.part`));
    run(python, [reader, '--data-key-file', dataKeyFile, whole!, out!]);
    assert.ok(readFileSync(out!).equals(content));
  });
});

describe(`random damage, seed ${fuzzSeed}`, () => {
  test('never opens, and never fails in another way than with a reason', async () => {
    const random = seededNumbers(fuzzSeed);
    const bases = await fuzzBases();
    for (let round = 0; round < fuzzRounds; round++) {
      const { base, mutant } = mutation(random, bases);
      const verdict = await ourVerdict(mutant);
      const expected = mutant.equals(base) ? 'ok' : 'refused';
      assert.equal(verdict.split(' ')[0], expected, `round ${round}: ${verdict}`);
    }
  });

  test('gets the same verdict from both readers', async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const random = seededNumbers(fuzzSeed + 1);
    const bases = await fuzzBases();
    const files: Buffer[] = [];
    for (let round = 0; round < fuzzRoundsForBoth; round++) {
      files.push(mutation(random, bases).mutant);
    }
    const ours: string[] = [];
    for (const file of files) ours.push(await ourVerdict(file));
    assert.deepEqual(theirVerdicts(python, files), ours);
  });
});

type Numbers = (below: number) => number;

/** Repeatable numbers from a seed (a linear congruential generator: nothing here is secret). */
function seededNumbers(seed: number): Numbers {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

async function fuzzBases(): Promise<Buffer[]> {
  const bases: Buffer[] = [];
  for (const length of [0, 100, 2 * pieceBytes + 77]) {
    bases.push(await encryptBytes(contentOf(length), Buffer.alloc(32, length)));
  }
  return bases;
}

function mutation(random: Numbers, bases: Buffer[]): { base: Buffer; mutant: Buffer } {
  const base = bases[random(bases.length)]!;
  let mutant: Buffer = Buffer.from(base);
  const changes = 1 + random(3);
  for (let change = 0; change < changes; change++) mutant = mutate(random, mutant);
  return { base, mutant };
}

function mutate(random: Numbers, bytes: Buffer): Buffer {
  // Half of all changes hit the header, where the fields are.
  const reach = random(2) === 0 ? Math.min(bytes.length, 190) : bytes.length;
  const at = random(reach + 1);
  const length = random(2) === 0 ? 1 + random(40) : random(bytes.length + 1);
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)];
  const noise = Buffer.from(Array.from({ length: 1 + random(40) }, () => random(256)));
  switch (random(6)) {
    case 0:
      return head;
    case 1:
      return Buffer.concat([head, tail.subarray(length)]);
    case 2:
      return Buffer.concat([head, noise, tail]);
    case 3:
      return Buffer.concat([head, noise, tail.subarray(noise.length)]);
    case 4:
      return Buffer.concat([head, tail.subarray(0, length), tail]);
    default: {
      const flipped = Buffer.from(bytes);
      if (at < flipped.length) flipped[at]! ^= 1 << random(8);
      return flipped;
    }
  }
}
