import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requireProgram, tryRun } from '../../test/tools.ts';
import { makeBench } from './audit.fixture.ts';
import { type ExportOptions, type VerifyResult, verifyExport, writeExport } from './audit.ts';
import { signerFromSeed } from './note.ts';
import { readPublished } from './publish.ts';
import { joinLeaves, splitLeaves } from './tiles.ts';

const script = fileURLToPath(new URL('../../test/verify-record.py', import.meta.url));

interface Exported {
  readonly folder: string;
  readonly checkpoint: string;
  readonly logKey: string;
}

interface Summary {
  readonly ok: boolean;
  readonly size: number;
  /** Codes, with place where there is one. */
  readonly problems: readonly string[];
}

/** A record of 600 entries, exported, with a checkpoint from when it had 301. */
async function exportedRecord(t: TestContext, options: ExportOptions = {}) {
  const bench = await makeBench(t);
  await bench.add(300);
  await bench.record.sequenceNow();
  const early = await bench.record.checkpoint();
  await bench.add(299);
  await bench.record.sequenceNow();
  const folder = join(bench.folder, 'export');
  await writeExport(bench.record.export(options), folder);
  const logKey = (await bench.record.keyLines()).join('\n');
  return { bench, early, folder, checkpoint: await bench.record.checkpoint(), logKey };
}

/** A copy of the export with one file changed. */
async function damagedCopy(
  from: Exported,
  name: string,
  path: string,
  change: (bytes: Buffer) => Uint8Array | undefined,
): Promise<Exported> {
  const folder = `${from.folder}-${name.replaceAll(' ', '-')}`;
  await cp(from.folder, folder, { recursive: true });
  const changed = change(await readFile(join(folder, path)));
  if (changed === undefined) await rm(join(folder, path));
  else await writeFile(join(folder, path), changed);
  return { ...from, folder };
}

function flip(offset: number): (bytes: Buffer) => Buffer {
  return (bytes) => {
    bytes[offset]! ^= 1;
    return bytes;
  };
}

async function ours(exported: Exported): Promise<Summary> {
  return summary(await verifyExport(exported.folder, exported));
}

function summary(result: Pick<VerifyResult, 'ok' | 'size' | 'problems'>): Summary {
  const problems = result.problems.map(({ code, place }) =>
    place === undefined ? code : `${code} ${place}`,
  );
  return { ok: result.ok, size: result.size, problems };
}

/** What the second verifier says; the same codes, so that the two can be compared. */
async function theirs(python: string, exported: Exported): Promise<Summary> {
  const checkpoint = `${exported.folder}.note`;
  const key = `${exported.folder}.pub`;
  await writeFile(checkpoint, exported.checkpoint);
  await writeFile(key, exported.logKey);
  const args = [script, exported.folder, '--checkpoint', checkpoint, '--log-key', key];
  const { stdout, stderr, status } = tryRun(python, args);
  assert.equal(stderr.toString(), '');
  const result = JSON.parse(stdout.toString()) as VerifyResult;
  assert.equal(status, result.ok ? 0 : 1);
  return summary(result);
}

test('a good export is whole, also with a checkpoint from before', async (t) => {
  const exported = await exportedRecord(t);
  const good = { ok: true, size: 600, problems: [] };
  assert.deepEqual(await ours(exported), good);
  assert.deepEqual(await ours({ ...exported, checkpoint: exported.early }), good);
  const python = requireProgram(t, 'python3');
  if (python === undefined || requireProgram(t, 'openssl') === undefined) return;
  assert.deepEqual(await theirs(python, exported), good);
  assert.deepEqual(await theirs(python, { ...exported, checkpoint: exported.early }), good);
});

test('an export without names and addresses is whole, and holds none of them', async (t) => {
  const redact = ['principalName', 'address', 'agent'] as const;
  const exported = await exportedRecord(t, { redact });
  const result = await verifyExport(exported.folder, exported);
  assert.ok(result.ok);
  // digestKey is kept back as well; no entry here has an agent.
  assert.equal(result.redactedFields, 3 * 599);
  const text = await readFile(join(exported.folder, 'openings/000.ndjson'), 'utf8');
  for (const secret of ['Build server', '192.0.2.17', 'cd'.repeat(32)]) {
    assert.ok(!text.includes(secret));
  }
  assert.ok(text.includes('key.sign'));
  const python = requireProgram(t, 'python3');
  if (python === undefined || requireProgram(t, 'openssl') === undefined) return;
  assert.equal((await theirs(python, exported)).ok, true);
});

test('an unknown field to keep back is refused', async (t) => {
  const { record } = await makeBench(t);
  const files = record.export({ redact: ['adress' as 'address'] });
  await assert.rejects(files.next(), { code: 'invalid-request' });
});

interface Damage {
  readonly path: string;
  readonly change: (bytes: Buffer) => Uint8Array | undefined;
  readonly expected: readonly string[];
}

const damages: Record<string, Damage> = {
  'one byte of an entry': {
    path: 'tile/entries/001',
    change: (bytes) => withLeaves(bytes, (leaves) => leaves.with(7, leaves[7]!.with(40, 1))),
    expected: ['entry-damaged 263'],
  },
  'one byte of an entry of the last bundle': {
    path: 'tile/entries/002.p/88',
    change: (bytes) => withLeaves(bytes, (leaves) => leaves.with(87, leaves[87]!.with(40, 1))),
    expected: ['entry-damaged 599'],
  },
  'one entry dropped': {
    path: 'tile/entries/001',
    change: (bytes) => withLeaves(bytes, (leaves) => leaves.toSpliced(9, 1)),
    expected: ['entry-missing 265'],
  },
  'the last entry dropped': {
    path: 'tile/entries/002.p/88',
    change: (bytes) => withLeaves(bytes, (leaves) => leaves.slice(0, -1)),
    expected: ['entry-missing 599'],
  },
  'two entries swapped': {
    path: 'tile/entries/000',
    change: (bytes) =>
      withLeaves(bytes, (leaves) => leaves.with(3, leaves[5]!).with(5, leaves[3]!)),
    expected: ['entry-moved 3', 'entry-moved 5'],
  },
  'one byte of a tile of entries': {
    path: 'tile/0/001',
    change: flip(32 * 9),
    expected: ['tile-damaged'],
  },
  'one byte of the last tile': {
    path: 'tile/0/002.p/88',
    change: flip(32 * 9),
    expected: ['tile-damaged'],
  },
  'one byte of an upper tile': {
    path: 'tile/1/000.p/2',
    change: flip(33),
    expected: ['tile-damaged'],
  },
  'a tile cut short': {
    path: 'tile/0/000',
    change: (bytes) => bytes.subarray(0, 8000),
    expected: ['tile-missing'],
  },
  'a tile gone': { path: 'tile/0/001', change: () => undefined, expected: ['tile-missing'] },
  'one value changed': {
    path: 'openings/001.ndjson',
    change: (bytes) => replaceInLine(bytes, 4, '"value":"key.sign"', '"value":"key.show"'),
    expected: ['opening-mismatch 260'],
  },
  'one salt changed': {
    path: 'openings/002.ndjson',
    change: (bytes) => replaceInLine(bytes, 4, /"id":\{"salt":"../, '"id":{"salt":"zz'),
    expected: ['opening-damaged 516'],
  },
  'a checkpoint with another root': {
    path: 'checkpoint',
    change: (bytes) => {
      const lines = bytes.toString().split('\n');
      const root = Buffer.from(lines[2]!, 'base64');
      lines[2] = Buffer.from(root.with(0, root[0]! ^ 1)).toString('base64');
      return Buffer.from(lines.join('\n'));
    },
    expected: ['checkpoint-invalid'],
  },
  'no checkpoint': {
    path: 'checkpoint',
    change: () => undefined,
    expected: ['checkpoint-invalid'],
  },
};

function withLeaves(bytes: Buffer, change: (leaves: Uint8Array[]) => Uint8Array[]): Buffer {
  return joinLeaves(change(splitLeaves(bytes)));
}

function replaceInLine(bytes: Buffer, line: number, from: string | RegExp, to: string): Buffer {
  const lines = bytes.toString('utf8').split('\n');
  const changed = lines[line]!.replace(from, to);
  assert.notEqual(changed, lines[line]);
  return Buffer.from(lines.with(line, changed).join('\n'));
}

test('each damage to an export is found and named, by both verifiers', async (t) => {
  const exported = await exportedRecord(t);
  const python = requireProgram(t, 'python3');
  const openssl = requireProgram(t, 'openssl');
  for (const [name, { path, change, expected }] of Object.entries(damages)) {
    const damaged = await damagedCopy(exported, name, path, change);
    const result = await ours(damaged);
    assert.deepEqual([result.ok, result.problems], [false, expected], name);
    if (python === undefined || openssl === undefined) continue;
    const second = await theirs(python, damaged);
    assert.equal(second.ok, false, `${name}, second verifier`);
    const places = (problems: readonly string[]) =>
      problems.map((problem) => problem.split(' ')[1]).filter((place) => place !== undefined);
    if (!name.includes('salt')) {
      assert.deepEqual(
        places(second.problems),
        places(result.problems),
        `${name}, second verifier`,
      );
    }
  }
});

test('the entry that was damaged is named with its id', async (t) => {
  const exported = await exportedRecord(t);
  const { change } = damages['one byte of an entry']!;
  const damaged = await damagedCopy(exported, 'id', 'tile/entries/001', change);
  const [problem] = (await verifyExport(damaged.folder, damaged)).problems;
  const { fields } = await exported.bench.record.entry(263);
  assert.equal(problem?.id, fields?.id);
  assert.equal(problem?.path, 'tile/entries/001');
});

test('an entry and its tile changed together are found', async (t) => {
  const exported = await exportedRecord(t);
  const other = await exportedRecord(t);
  for (const path of ['tile/entries/001', 'tile/0/001', 'openings/001.ndjson']) {
    await cp(join(other.folder, path), join(exported.folder, path));
  }
  const result = await ours(exported);
  // Both checkpoints, that of the verifier and that of the export, contradict what is there.
  const inconsistent = 'checkpoint-inconsistent';
  assert.deepEqual(result.problems, ['entry-damaged 256', inconsistent, inconsistent]);
});

test('a whole export of another log is found, though all in it agrees', async (t) => {
  const mine = await exportedRecord(t);
  const forged = await exportedRecord(t);
  const result = await ours({ ...forged, checkpoint: mine.checkpoint, logKey: mine.logKey });
  assert.equal(result.ok, false);
  assert.ok(result.problems.includes('checkpoint-invalid'));
  const both = `${mine.logKey}\n${forged.logKey}`;
  const second = await ours({ ...forged, checkpoint: mine.checkpoint, logKey: both });
  assert.deepEqual(second.problems, ['checkpoint-inconsistent']);
});

test('an export older than the checkpoint of the verifier is refused', async (t) => {
  const { bench, folder, logKey } = await exportedRecord(t);
  await bench.add(1);
  await bench.record.sequenceNow();
  const result = await ours({ folder, logKey, checkpoint: await bench.record.checkpoint() });
  assert.deepEqual(result.problems, ['checkpoint-newer']);
});

test('a key of the same name that is not the log’s is refused', async (t) => {
  const exported = await exportedRecord(t);
  const name = exported.logKey.split('+')[0]!;
  const stranger = signerFromSeed(name, Buffer.alloc(32, 1)).verifier.line;
  const result = await ours({ ...exported, logKey: stranger });
  assert.deepEqual(result.problems, ['checkpoint-invalid', 'checkpoint-invalid']);
  await assert.rejects(ours({ ...exported, logKey: '' }), { code: 'invalid-key-material' });
  await assert.rejects(ours({ ...exported, folder: `${exported.folder}x`, logKey: stranger }), {
    code: 'not-found',
  });
});

test('published checkpoints are checked against an export', async (t) => {
  const exported = await exportedRecord(t);
  const { bench } = exported;
  await bench.record.publishNow();
  const options = { ...exported, published: bench.checkpoints };
  assert.ok((await verifyExport(exported.folder, options)).ok);
});

type Change = (database: DatabaseSync) => void;

function changeBlob(table: string, column: string, where: string, offset: number): Change {
  return (database) => {
    const row = database.prepare(`SELECT ${column} AS bytes FROM ${table} WHERE ${where}`).get();
    const { bytes } = row as { bytes: Uint8Array };
    bytes[offset < 0 ? bytes.length + offset : offset]! ^= 1;
    database.prepare(`UPDATE ${table} SET ${column} = ? WHERE ${where}`).run(bytes);
  };
}

function runSql(sql: string): Change {
  return (database) => database.exec(sql);
}

/** Damage to the database itself, as one who can write to its file would do it. */
const databaseDamages: Record<string, { change: Change; expected: string[] }> = {
  'a byte of an entry': {
    change: changeBlob('bundle', 'leaves', 'number = 0', 3000),
    expected: ['entry-damaged 7'],
  },
  'a byte of a value': {
    change: changeBlob('bundle', 'openings', 'number = 2', -20),
    expected: ['opening-mismatch 599'],
  },
  'a byte of a length': {
    change: changeBlob('bundle', 'openings', 'number = 0', 0),
    expected: ['opening-damaged 0', 'opening-damaged 1'],
  },
  'a byte of a tile': {
    change: changeBlob('tile', 'hashes', 'level = 0 AND number = 1', 100),
    expected: ['tile-damaged'],
  },
  'a tile gone': {
    change: runSql('DELETE FROM tile WHERE level = 0 AND number = 0'),
    expected: ['tile-missing'],
  },
  'a bundle gone': {
    change: runSql('DELETE FROM bundle WHERE number = 0'),
    expected: ['bundle-missing', 'entry-missing 0'],
  },
};

test('each damage to the database is found and named', async (t) => {
  let { bench } = await exportedRecord(t);
  for (const [name, { change, expected }] of Object.entries(databaseDamages)) {
    assert.deepEqual(summary(await bench.record.verify()).problems, [], name);
    const good = join(bench.folder, 'good.db');
    bench = await bench.reopen((database) => {
      database.exec(`VACUUM INTO '${good}'`);
      change(database);
    });
    const result = summary(await bench.record.verify());
    assert.equal(result.ok, false, name);
    assert.deepEqual(result.problems.slice(0, expected.length), expected, name);
    bench = await bench.reopen(putBack(good));
    await rm(good);
  }
});

/** Undoes the damage out of the copy that was made before it. */
function putBack(copy: string): Change {
  return (database) => {
    database.exec(`ATTACH '${copy}' AS good`);
    for (const table of ['bundle', 'tile']) {
      database.exec(`DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM good.${table}`);
    }
  };
}

test('a checkpoint that the caller kept is checked against the database', async (t) => {
  const { bench, early, logKey } = await exportedRecord(t);
  const { record } = bench;
  assert.ok((await record.verify({ checkpoint: early, logKey })).ok);
  const other = await exportedRecord(t);
  const result = await record.verify({ checkpoint: other.early, logKey: other.logKey });
  assert.deepEqual(summary(result).problems, ['checkpoint-inconsistent']);
  const changed = await record.verify({ checkpoint: early.replace('\n301\n', '\n300\n'), logKey });
  assert.deepEqual(summary(changed).problems, ['checkpoint-invalid']);
});

test('a published checkpoint that was replaced is found', async (t) => {
  const { bench } = await exportedRecord(t);
  await bench.record.publishNow();
  const name = (await bench.record.keyLines())[0]!.split('+')[0]!;
  const [first] = await readPublished(bench.checkpoints, name);
  await writeFile(first!.path, first!.note.replace('\n1\n', '\n2\n'));
  const result = await bench.record.verify();
  assert.deepEqual(summary(result).problems, ['checkpoint-invalid']);
});
