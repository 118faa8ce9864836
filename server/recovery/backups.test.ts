import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { requireProgram, run, skip, tryRun } from '../../test/tools.ts';
import { decodeOpening } from '../audit/leaf.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { type TableName, tableNames } from '../storage/storage.ts';
import { backupTables, decodeRow, encodeRow } from './backup-format.ts';
import {
  collect,
  type Installation,
  openInstallation,
  passphrase,
  passphraseText,
  placeIn,
  saveAnswer,
  temporaryFolder,
} from './recovery.fixture.ts';
import { restoreBackup } from './restore-backup.ts';
import { verifyBackup } from './verify-backup.ts';

const secretKey = { name: 'data/orders', algorithm: 'aes-256', purpose: 'encrypt' };
const leftOut: readonly TableName[] = [
  'schema_version',
  'epoch',
  'lease',
  'node',
  'job',
  'rate_bucket',
  'idempotency',
];

/** Action, kind and outcome of the entries that wait for a place, oldest first. */
async function entries(installation: Installation): Promise<string[]> {
  const { db } = installation.storage;
  const tail = await db.selectFrom('entry_tail').select('opening').orderBy('id').execute();
  return tail.map(({ opening }) => {
    const fields = new Map(decodeOpening(opening).map(({ field, value }) => [field, value]));
    return `${fields.get(4)} ${fields.get(3)} ${fields.get(5)}`;
  });
}

test('gpg alone opens a backup made for a passphrase, and finds plain files of rows in it', async (t) => {
  const gpg = requireProgram(t, 'gpg');
  if (gpg === undefined) return;
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  t.after(() => installation.close());
  await installation.createKey(secretKey);
  const file = join(host, 'backup.gpg');
  await saveAnswer(await installation.backup({ passphrase: passphraseText }), file);
  const home = join(host, 'gnupg');
  mkdirSync(home, { mode: 0o700 });
  const open = ['--homedir', home, '--batch', '--pinentry-mode', 'loopback'];
  const tar = run(gpg, [...open, '--passphrase-fd', '0', '--decrypt', file], passphraseText);
  const names = run('tar', ['t'], tar).toString().trim().split('\n');
  assert.equal(names[0], 'manifest.json');
  assert.deepEqual(names.slice(-2), ['sums.json', 'sums.seal']);
  assert.ok(names.includes('tables/key/000001.ndjson'));
  const rows = run('tar', ['xO', 'tables/key/000001.ndjson'], tar).toString();
  assert.equal(decodeRow(rows.trim()).name, 'data/orders');
  const packets = run(
    gpg,
    [...open, '--passphrase-fd', '0', '--list-packets', file],
    passphraseText,
  );
  // Every gpg there is opens it: AES-256, the most rounds, and the packet with a check of integrity.
  assert.match(packets.toString(), /cipher 9.*s2k 3.*hash \d+/s);
  assert.match(packets.toString(), /65011712/);
  assert.match(packets.toString(), /mdc_method: 2/);
});

test('age alone opens a backup made for a recipient', async (t) => {
  const age = requireProgram(t, 'age');
  const keygen = requireProgram(t, 'age-keygen');
  if (age === undefined || keygen === undefined) return;
  const host = temporaryFolder(t);
  const identityFile = join(host, 'identity');
  writeFileSync(identityFile, run(keygen, []), { mode: 0o600 });
  const recipient = run(keygen, ['-y', identityFile]).toString().trim();
  const installation = await openInstallation(placeIn(host, 'data'));
  await installation.createKey(secretKey);
  const file = join(host, 'backup.age');
  const answer = await installation.backup({ recipients: [recipient] });
  await saveAnswer(answer, file);
  await installation.close();
  const names = run('tar', ['t'], run(age, ['-d', '-i', identityFile, file])).toString();
  assert.match(names, /^manifest\.json\n/);
  const digest = createHash('sha256').update(readFileSync(file)).digest();
  assert.equal(answer.headers?.['Repr-Digest'], `sha-256=:${digest.toString('base64')}:`);
  assert.equal(answer.headers?.['Content-Length'], String(statSync(file).size));
  // One who holds the recipient alone compares the bytes.
  await verifyBackup({ file, sha256: digest.toString('hex') });
  await assert.rejects(verifyBackup({ file, sha256: '0'.repeat(64) }), (error) =>
    isKeyreeveError(error, 'backup-invalid'),
  );
  await assert.rejects(verifyBackup({ file }), (error) =>
    isKeyreeveError(error, 'invalid-request'),
  );

  const identity = readFileSync(identityFile, 'utf8');
  const restored = await restoreBackup({ file, identity, config: placeIn(host, 'new') });
  assert.equal(restored.keys, 1);
  const stranger = run(keygen, []).toString();
  await assert.rejects(verifyBackup({ file, identity: stranger }), (error) =>
    isKeyreeveError(error, 'wrong-passphrase'),
  );
});

test('the root key is in no backup, and the private keys in it open with it alone', async (t) => {
  const gpg = requireProgram(t, 'gpg');
  if (gpg === undefined) return;
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data', { keyFiles: 'files' }));
  t.after(() => installation.close());
  await installation.createKey(secretKey);
  const file = join(host, 'backup.gpg');
  await saveAnswer(await installation.backup({ passphrase: passphraseText }), file);
  const home = join(host, 'gnupg');
  mkdirSync(home, { mode: 0o700 });
  const parameters = ['--homedir', home, '--batch', '--pinentry-mode', 'loopback'];
  const tar = run(gpg, [...parameters, '--passphrase-fd', '0', '-d', file], passphraseText);
  const text = readFileSync(join(host, 'seal', 'root.key'), 'utf8')
    .trim()
    .split('\n')[1]!;
  const raw = Buffer.from(text, 'base64');
  assert.equal(raw.length, 32);
  const forms = [raw, Buffer.from(text), Buffer.from(raw.toString('hex'))];
  for (const form of forms) assert.equal(tar.includes(form), false);
  // The blocks of base64 inside longer base64, at each of the three places they can begin.
  for (const offset of [0, 1, 2]) {
    const inside = Buffer.concat([Buffer.alloc(offset), raw])
      .toString('base64')
      .slice(4, 40);
    assert.equal(tar.includes(inside), false);
  }
  // The test itself can fail: what is in the backup is found by the same search.
  assert.equal(tar.includes(Buffer.from('data/orders')), true);
});

test('a backup begun, made, sent or broken off is on the record', async (t) => {
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  t.after(() => installation.close());
  const folder = join(installation.config.data, 'tmp');
  await installation.record.stop();

  await collect((await installation.backup({ passphrase: passphraseText })).body);
  assert.deepEqual((await entries(installation)).slice(-2), [
    'backup.create outcome ok',
    'backup.sent event ok',
  ]);
  const answer = await installation.backup({ passphrase: passphraseText });
  for await (const _chunk of answer.body) break;
  assert.equal((await entries(installation)).at(-1), 'backup.sent event unreachable');
  assert.deepEqual(readdirSync(folder), []);

  installation.rights.authorise = () => {
    throw new KeyreeveError('forbidden', 'not this one');
  };
  await assert.rejects(installation.backup({ passphrase: passphraseText }), (error) =>
    isKeyreeveError(error, 'forbidden'),
  );
  assert.equal((await entries(installation)).at(-1), 'backup.create outcome forbidden');
  const { db } = installation.storage;
  assert.equal((await db.selectFrom('backup').selectAll().execute()).length, 2);
  assert.equal((await db.selectFrom('intent').selectAll().execute()).length, 0);
});

test('what a crash left of a backup is removed at the next start, and told', async (t) => {
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  t.after(() => installation.close());
  const { storage } = installation;
  const folder = join(installation.config.data, 'tmp');
  mkdirSync(folder, { mode: 0o700 });
  writeFileSync(join(folder, 'backup-bak_a.age.partial'), 'half');
  const intent = {
    id: 'int_a',
    kind: 'backup.create',
    payload_json: '{"id":"bak_a","label":""}',
    entry_id: 'ent_a',
    created_at: 1,
  };
  await storage.commit({
    steps: [{ query: storage.db.insertInto('intent').values(intent).compile() }],
    entries: [],
  });
  installation.backups.clear();
  assert.equal(await installation.backups.settle(), 1);
  assert.deepEqual(readdirSync(folder), []);
  assert.equal((await entries(installation)).at(-1), 'intent.settled event conflict');
  assert.equal(await installation.backups.settle(), 0);
});

test('a backup needs one kind of protection, a valid one, and waits for the one before', async (t) => {
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  t.after(() => installation.close());
  const refused = async (body: object) => {
    await assert.rejects(installation.backup(body), (error) =>
      isKeyreeveError(error, 'invalid-request'),
    );
  };
  await refused({});
  await refused({ recipients: [] });
  await refused({ recipients: ['age1nonsense'] });
  await refused({ passphrase: 'short' });
  await refused({ recipients: ['age1nonsense'], passphrase: passphraseText });
  const first = installation.backup({ passphrase: passphraseText });
  await assert.rejects(installation.backup({ passphrase: passphraseText }), (error) =>
    isKeyreeveError(error, 'overloaded'),
  );
  await collect((await first).body);
});

test('a backup shows one moment while writes go on', async (t) => {
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  const { storage } = installation;
  const { db } = storage;
  const pair = (number: number) => [
    {
      query: db
        .insertInto('meta')
        .values({ name: `n${number}`, value: 'x' })
        .compile(),
    },
    {
      query: db
        .insertInto('used_login_code')
        .values({ code_hash: `n${number}`, used_at: 1 })
        .compile(),
    },
  ];
  let written = 0;
  const writeSome = async (count: number) => {
    const writes: Promise<unknown>[] = [];
    for (let index = 0; index < count; index++) {
      writes.push(storage.commit({ steps: pair(written++), entries: [] }));
    }
    await Promise.all(writes);
  };
  await writeSome(3000);
  let isDone = false;
  const file = join(host, 'backup.gpg');
  const writer = (async () => {
    while (!isDone) {
      await writeSome(20);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  const answer = await installation.backup({ passphrase: passphraseText });
  const writtenMeanwhile = written;
  isDone = true;
  await writer;
  await saveAnswer(answer, file);
  await installation.close();
  const config = placeIn(host, 'new');
  await restoreBackup({ file, passphrase: passphrase(), config });
  const fresh = await openInstallation(config, { clock: installation.clock });
  t.after(() => fresh.close());
  const names = await fresh.storage.db
    .selectFrom('meta')
    .select('name')
    .where('name', 'like', 'n%')
    .execute();
  const codes = await fresh.storage.db.selectFrom('used_login_code').selectAll().execute();
  assert.ok(names.length >= 3000 && writtenMeanwhile > 3000);
  assert.deepEqual(
    new Set(codes.map((row) => row.code_hash)),
    new Set(names.map((row) => row.name)),
  );
});

test('every table of the schema is in a backup or left out with a reason', () => {
  assert.deepEqual([...backupTables, ...leftOut].sort(), [...tableNames].sort());
});

test('rows keep every kind of value, and refuse all others', () => {
  const row = { a: 'x\n"\u2028', b: -1, c: null, d: Buffer.from([0, 255]), e: 2 ** 52 };
  assert.deepEqual(decodeRow(encodeRow(row)), row);
  for (const value of [1.5, 2 ** 53, true, [], { $b: 'x' }, { $b: '', c: 1 }, {}]) {
    assert.throws(
      () => decodeRow(JSON.stringify({ a: value })),
      (error) => isKeyreeveError(error, 'backup-invalid'),
    );
  }
  assert.throws(
    () => encodeRow({ a: 2 ** 53 }),
    (error) => isKeyreeveError(error, 'integrity-failed'),
  );
});

test('a full disk refuses the backup and leaves nothing', async (t) => {
  const host = temporaryFolder(t);
  const installation = await openInstallation(placeIn(host, 'data'));
  t.after(() => installation.close());
  const folder = join(installation.config.data, 'tmp');
  mkdirSync(folder, { mode: 0o700 });
  if (tryRun('mount', ['-t', 'tmpfs', '-o', 'size=64k,mode=700', 'tmpfs', folder]).status !== 0) {
    skip(t, 'the right to mount is not here');
    return;
  }
  try {
    const { storage } = installation;
    const value = {
      name: 'large',
      value: createHash('sha512').update('x').digest('hex').repeat(2000),
    };
    await storage.commit({
      steps: [{ query: storage.db.insertInto('meta').values(value).compile() }],
      entries: [],
    });
    await assert.rejects(installation.backup({ passphrase: passphraseText }), (error) =>
      isKeyreeveError(error, 'storage-full'),
    );
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    run('umount', [folder]);
  }
  assert.equal(existsSync(folder), true);
});
