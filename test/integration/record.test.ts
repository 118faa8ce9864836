import assert from 'node:assert/strict';
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ResponseOf } from '../../api/route.ts';
import type { Routes } from '../../api/routes.ts';
import { splitLeaves, splitOpenings } from '../../server/audit/tiles.ts';
import { eventually } from '../eventually.ts';
import {
  type CommandLine,
  commandLine,
  type LoggedIn,
  logIn,
  makeInstallation,
  type RunningService,
  startService,
} from '../service.ts';
import { requireProgram, tryRun } from '../tools.ts';

const script = fileURLToPath(new URL('../verify-record.py', import.meta.url));
/** More than one bundle of 256, so that there is a full tile and a partial one. */
const uses = 300;
/** The place whose entry is changed: a use in the middle of the first bundle. */
const place = 100;

const installation = makeInstallation({ after });
const { folder, data, seal } = installation;
const database = join(data, 'keyreeve.db');
const good = join(folder, 'good.db');
const goodSeal = join(folder, 'good-seal');
const checkpoint = join(folder, 'checkpoint');
const logKey = join(folder, 'log-key');
const kept = ['--checkpoint', checkpoint, '--log-key', logKey];
let login: LoggedIn;
let changedEntry: string;

before(async () => {
  const service = await startService({ after }, installation);
  login = await logIn({ after }, service);
  const { client } = login;
  const key = 'record/key';
  await client.call('key.create', { body: { name: key, algorithm: 'ed25519', purpose: 'sign' } });
  const body = { data: 'aGVsbG8=' };
  await Promise.all(
    Array.from({ length: uses }, () => client.call('key.sign', { params: { key }, body })),
  );
  await eventually(async () => (await client.call('status')).record.waiting === 0);
  const held = await client.call('audit.checkpoint');
  writeFileSync(checkpoint, held.checkpoint);
  writeFileSync(logKey, `${held.logKey}\n`);
  const { entry } = await client.call('audit.entry', { params: { place } });
  changedEntry = String(entry.id);
  assert.equal(await service.stop(), 0);
  copyFileSync(database, good);
  cpSync(seal, goodSeal, { recursive: true });
});

/** The service on the good state after one change in the database. */
async function serveChanged(change: (database: DatabaseSync) => void): Promise<{
  service: RunningService;
  command: CommandLine;
}> {
  putBack();
  const changing = new DatabaseSync(database);
  change(changing);
  changing.close();
  const service = await startService({ after }, installation);
  return { service, command: commandLine(installation, service, login) };
}

/** The database as it was, and the checkpoints beside the root key, which know how far it came. */
function putBack(): void {
  copyFileSync(good, database);
  rmSync(seal, { recursive: true });
  cpSync(goodSeal, seal, { recursive: true });
}

function flipInBundle(column: 'leaves' | 'openings', offset: (bytes: Buffer) => number) {
  return (changing: DatabaseSync) => {
    const row = changing.prepare(`SELECT "${column}" FROM "bundle" WHERE "number" = 0`).get();
    const bytes = Buffer.from(row![column] as Uint8Array);
    bytes[offset(bytes)]! ^= 1;
    changing.prepare(`UPDATE "bundle" SET "${column}" = ? WHERE "number" = 0`).run(bytes);
  };
}

/** A byte of the item of the changed place in its bundle: in its middle, where nothing else is said. */
function byteOf(
  split: (bytes: Buffer) => Buffer[],
  lengthBytes: number,
  offset = (item: Buffer) => item.length >> 1,
) {
  return (bytes: Buffer) => {
    const items = split(bytes);
    const lengths = items.slice(0, place).map((item) => item.length + lengthBytes);
    const start = lengths.reduce((sum, length) => sum + length, lengthBytes);
    return start + offset(items[place]!);
  };
}

type Report = ResponseOf<Routes['audit.verify']>;

test('a record that nobody changed verifies against the checkpoint that was kept', async () => {
  const { service, command } = await serveChanged(() => undefined);
  const { code, stdout, stderr } = await command(['audit', 'verify', ...kept]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^ok: the record verifies, \d+ entries/);
  await service.stop();
});

for (const [what, change] of [
  ['leaf', flipInBundle('leaves', byteOf(splitLeaves, 2))],
  [
    'opening',
    flipInBundle(
      'openings',
      byteOf(splitOpenings, 4, (item) => item.indexOf('key.sign')),
    ),
  ],
] as const) {
  test(`one byte of one ${what} changed in the database is found and named`, async () => {
    const { service, command } = await serveChanged(change);
    const told = await command(['audit', 'verify', ...kept]);
    assert.equal(told.code, 7, told.stderr);
    assert.match(told.stdout, new RegExp(`place ${place}: ${changedEntry}: `));
    assert.match(told.stderr, /^error: the record does not verify/m);
    const json = await command(['--json', 'audit', 'verify', ...kept]);
    const report: Report = JSON.parse(json.stdout);
    assert.equal(report.ok, false);
    assert.deepEqual(
      report.problems.map((problem) => problem.place),
      [place],
    );
    assert.equal(report.problems[0]!.entry, changedEntry);
    await service.stop();
  });
}

test('one byte of a tile changed in the database is found', async () => {
  const { service, command } = await serveChanged((changing) => {
    const where = '"level" = 0 AND "number" = 0';
    const row = changing.prepare(`SELECT "hashes" FROM "tile" WHERE ${where}`).get();
    const hashes = Buffer.from(row!.hashes as Uint8Array);
    hashes[32 * place + 5]! ^= 1;
    changing.prepare(`UPDATE "tile" SET "hashes" = ? WHERE ${where}`).run(hashes);
  });
  const { code, stdout } = await command(['audit', 'verify', ...kept]);
  assert.equal(code, 7);
  assert.match(stdout, /^tile-damaged: /m);
  await service.stop();
});

test('a record that was put back to an older state is refused, or found', async () => {
  const first = await serveChanged(() => undefined);
  const client = login.at(first.service.url);
  await client.call('random.make', { body: { length: 1 } });
  await eventually(async () => (await client.call('status')).record.waiting === 0);
  const newer = join(folder, 'newer');
  writeFileSync(newer, (await client.call('audit.checkpoint')).checkpoint);
  await first.service.stop();

  copyFileSync(good, database);
  const start = startService({ after }, installation);
  await assert.rejects(start, /a published checkpoint is of \d+ .*\(record-corrupt\)/);

  // Whoever puts the published checkpoints back as well still lacks the one that was kept.
  const { service, command } = await serveChanged(() => undefined);
  const told = await command(['audit', 'verify', '--checkpoint', newer, '--log-key', logKey]);
  assert.equal(told.code, 7, told.stdout);
  await service.stop();
});

test('a changed export is found offline, by the second verifier too', async (t) => {
  const { service, command } = await serveChanged(() => undefined);
  const whole = join(folder, 'export');
  const redacted = join(folder, 'redacted');
  assert.equal((await command(['audit', 'export', whole])).code, 0);
  const redact = ['--redact', 'address,agent,principalName'];
  assert.equal((await command(['audit', 'export', redacted, ...redact])).code, 0);
  await service.stop();
  const offline = (from: string) => command(['audit', 'verify', from, ...kept]);

  for (const from of [whole, redacted]) {
    const { code, stderr } = await offline(from);
    assert.equal(code, 0, stderr);
  }
  const openings = readFileSync(join(redacted, 'openings', '000.ndjson'), 'utf8');
  assert.doesNotMatch(openings, /127\.0\.0\.1|keyreeve-client|"administrator"/);
  assert.match(openings, /key\.sign/);

  const damages: [string, (bytes: Buffer) => number, RegExp][] = [
    ['tile/entries/000', byteOf(splitLeaves, 2), new RegExp(`entry-damaged: place ${place}: `)],
    ['tile/0/000', () => 32 * place + 5, /tile-damaged: /],
  ];
  const python = requireProgram(t, 'python3');
  const openssl = requireProgram(t, 'openssl');
  const theirs = (from: string) => tryRun(python!, [script, from, ...kept]);
  for (const [path, offset, expected] of damages) {
    const copy = join(folder, `export-${path.replaceAll('/', '-')}`);
    cpSync(whole, copy, { recursive: true });
    const bytes = readFileSync(join(copy, path));
    bytes[offset(bytes)]! ^= 1;
    writeFileSync(join(copy, path), bytes);
    const { code, stdout } = await offline(copy);
    assert.equal(code, 7);
    assert.match(stdout, expected);
    if (python === undefined || openssl === undefined) continue;
    const result = theirs(copy);
    assert.equal(result.status, 1);
    const [problem] = JSON.parse(result.stdout.toString()).problems;
    assert.equal(problem.code, expected.source.slice(0, expected.source.indexOf(':')));
    if (path.startsWith('tile/entries')) assert.equal(problem.place, place);
  }
  if (python === undefined || openssl === undefined) return;
  for (const from of [whole, redacted]) {
    const { status, stdout } = theirs(from);
    assert.equal(status, 0, stdout.toString());
  }
});
