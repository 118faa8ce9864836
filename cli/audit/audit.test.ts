import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pack } from 'tar-stream';
import { signerFromSeed, signNote } from '../../server/audit/note.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { testCli } from '../../test/doubles/command-line.ts';
import { json, startHttpsService } from '../../test/doubles/https-service.ts';
import { readProfile, writeProfile } from '../profile.ts';
import { prepareEmptyFolder, unpack } from './export.ts';

type Entry = { name: string; content?: string; type?: 'file' | 'symlink' | 'directory' };

function tar(entries: readonly Entry[]): AsyncIterable<Buffer> {
  const packer = pack();
  for (const { name, content = '', type = 'file' } of entries) {
    packer.entry({ name, type, ...(type === 'symlink' ? { linkname: '/etc' } : {}) }, content);
  }
  packer.finalize();
  return packer as AsyncIterable<Buffer>;
}

test('an export is unpacked into private files', async (t) => {
  const { folder } = testCli(t);
  const target = join(folder, 'export');
  prepareEmptyFolder(target);
  const count = await unpack(
    tar([
      { name: 'checkpoint', content: 'c' },
      { name: 'tile/0/x001/234.p/5', content: 'tile' },
      { name: 'openings/000.ndjson', content: '{}' },
    ]),
    target,
  );
  assert.equal(count, 3);
  assert.equal(readFileSync(join(target, 'tile/0/x001/234.p/5'), 'utf8'), 'tile');
  assert.equal(statSync(join(target, 'checkpoint')).mode & 0o777, 0o600);
  assert.equal(statSync(join(target, 'tile')).mode & 0o777, 0o700);
});

const hostile: readonly (readonly Entry[])[] = [
  [{ name: '../outside' }],
  [{ name: 'tile/../../outside' }],
  [{ name: '/tmp/keyreeve-outside' }],
  [{ name: 'a//b' }],
  [{ name: '.hidden' }],
  [{ name: 'link', type: 'symlink' }],
  [{ name: 'a\u0007b' }],
  [{ name: Array(20).fill('a').join('/') }],
  [
    { name: 'twice', content: '1' },
    { name: 'twice', content: '2' },
  ],
];

for (const entries of hostile) {
  test(`an export with ${JSON.stringify(entries.map((one) => one.name))} is refused`, async (t) => {
    const { folder } = testCli(t);
    const target = join(folder, 'in', 'export');
    prepareEmptyFolder(target);
    await assert.rejects(unpack(tar(entries), target), (error) => isKeyreeveError(error));
    assert.equal(existsSync(join(folder, 'in', 'outside')), false);
    assert.equal(existsSync('/tmp/keyreeve-outside'), false);
  });
}

test('an export that is cut or empty is refused', async (t) => {
  const { folder } = testCli(t);
  const pieces: Buffer[] = [];
  for await (const piece of tar([{ name: 'a', content: 'x'.repeat(5000) }])) pieces.push(piece);
  const whole = Buffer.concat(pieces);
  for (const [index, bytes] of [whole.subarray(0, 2000), Buffer.alloc(1024)].entries()) {
    const target = join(folder, String(index));
    prepareEmptyFolder(target);
    const source = (async function* () {
      yield bytes;
    })();
    await assert.rejects(unpack(source, target), (error) =>
      isKeyreeveError(error, 'integrity-failed'),
    );
  }
});

test('only an empty folder is taken', (t) => {
  const { folder } = testCli(t);
  writeFileSync(join(folder, 'x'), '');
  assert.throws(
    () => prepareEmptyFolder(folder),
    (error) => isKeyreeveError(error, 'not-empty'),
  );
});

const origin = 'keyreeve.local/ins_x/1-aaaaaa';
const signer = signerFromSeed(origin, Buffer.alloc(32, 1));
const root = Buffer.alloc(32, 2).toString('base64');

function reportOf(size: number, by = signer) {
  const name = by.verifier.name;
  return {
    ok: true,
    origin: name,
    size,
    withoutOpening: 0,
    checkpoint: signNote(`${name}\n${size}\n${root}\n`, by),
    logKey: by.verifier.line,
    problems: [],
  };
}

async function remembering(t: TestContext) {
  const cli = testCli(t);
  const state = { report: reportOf(10) as Record<string, unknown> };
  const service = await startHttpsService(t, (_, response) => json(response, state.report));
  writeProfile(cli.context(), {
    url: service.url,
    caPem: service.ca.pem,
    token: 'x',
    records: {},
  });
  const remembered = () => Object.values(readProfile(cli.context())?.records ?? {})[0];
  return { cli, service, state, remembered };
}

test('the first verification is remembered, and the next must continue it', async (t) => {
  const { cli, service, state, remembered } = await remembering(t);
  const first = await cli.run(['audit', 'verify']);
  assert.equal(first.code, 0, first.error);
  assert.deepEqual(JSON.parse(service.requests[0]?.body ?? ''), {});
  assert.equal(remembered()?.size, 10);
  state.report = reportOf(25);
  const second = await cli.run(['audit', 'verify']);
  assert.equal(second.code, 0, second.error);
  assert.equal(second.out, 'ok: the record verifies, 25 entries\n');
  const sent = JSON.parse(service.requests[1]?.body ?? '');
  assert.equal(sent.checkpoint, reportOf(10).checkpoint);
  assert.equal(sent.logKey, signer.verifier.line);
  assert.equal(remembered()?.size, 25);
});

const stranger = signerFromSeed('keyreeve.local/ins_x/2-bbbbbb', Buffer.alloc(32, 3));
const sameName = signerFromSeed(origin, Buffer.alloc(32, 4));

const alarms = {
  'a record that became shorter': reportOf(9),
  'another log': reportOf(30, stranger),
  'a log of the same name with another key': reportOf(30, sameName),
  'a checkpoint without a good signature': {
    ...reportOf(30),
    checkpoint: reportOf(30).checkpoint.replace('\n30\n', '\n31\n'),
  },
  'a record that does not verify': {
    ...reportOf(30),
    ok: false,
    problems: [{ code: 'entry-damaged', message: 'not the one that was recorded', place: 4 }],
  },
};

for (const [what, report] of Object.entries(alarms)) {
  test(`${what} is an alarm, and what is remembered stays`, async (t) => {
    const { cli, state, remembered } = await remembering(t);
    await cli.run(['audit', 'verify']);
    state.report = report;
    const ran = await cli.run(['audit', 'verify']);
    assert.equal(ran.code, 7, ran.error);
    assert.match(ran.error, /^error: .*\nhint: /);
    assert.equal(remembered()?.size, 10);
  });
}

test('the log of a restored service is taken over only when told to', async (t) => {
  const { cli, state, remembered } = await remembering(t);
  await cli.run(['audit', 'verify']);
  state.report = reportOf(30, stranger);
  const ran = await cli.run(['audit', 'verify', '--trust-new-log']);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(remembered()?.origin, stranger.verifier.name);
});

test('an export is not verified with what lies beside it', async (t) => {
  const cli = testCli(t);
  mkdirSync(join(cli.folder, 'export'));
  const ran = await cli.run(['audit', 'verify', join(cli.folder, 'export')]);
  assert.equal(ran.code, 2);
  assert.match(ran.error, /prove nothing/);
});

test('what another command changed meanwhile in the profile stays', async (t) => {
  const { cli, service, remembered } = await remembering(t);
  service.answer = (_, response) => {
    // While the service verifies, somebody logs in anew and another verification gets further.
    const profile = readProfile(cli.context())!;
    const [id = 'x'] = Object.keys(profile.records);
    const { checkpoint, logKey } = reportOf(40);
    const records = { [id]: { origin, size: 40, checkpoint, logKey } };
    writeProfile(cli.context(), {
      ...profile,
      token: 'newer',
      records: id === 'x' ? {} : records,
    });
    json(response, reportOf(10));
  };
  for (const size of [10, 40]) {
    const ran = await cli.run(['audit', 'verify']);
    assert.equal(ran.code, 0, ran.error);
    assert.equal(remembered()?.size, size);
    assert.equal(readProfile(cli.context())?.token, 'newer');
  }
});

test('a checkpoint is written with the key of the log, for keeping', async (t) => {
  const { cli, state } = await remembering(t);
  const file = (name: string) => join(cli.folder, name);
  const words = ['audit', 'checkpoint', '--out', file('c'), '--log-key-out', file('k')];
  const ran = await cli.run(words);
  assert.equal(ran.code, 0, ran.error);
  assert.equal(readFileSync(file('c'), 'utf8'), reportOf(10).checkpoint);
  assert.equal(readFileSync(file('k'), 'utf8'), `${signer.verifier.line}\n`);
  await cli.run(['audit', 'verify']);
  // The service answers with a key of its own choice: the one remembered counts.
  state.report = reportOf(30, sameName);
  const alarm = await cli.run(words);
  assert.equal(alarm.code, 7);
  assert.match(alarm.error, /^error: the checkpoint is not signed by a key that you hold\nhint: /);
  assert.equal(readFileSync(file('c'), 'utf8'), reportOf(10).checkpoint);
});
