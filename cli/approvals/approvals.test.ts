import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { json } from '../../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../../test/doubles/logged-in.ts';
import { exitCodes } from '../exit-codes.ts';
import { runCli } from '../run.ts';

const id = `apr_${'a'.repeat(26)}`;
const digest = 'ab'.repeat(32);
const time = '2030-01-01T00:00:00.000Z';

const view = {
  ...{ id, state: 'pending', kind: 'ordinary', action: 'key.destroy', subject: 'release' },
  requester: { id: 'prn_maker', name: 'maker' },
  address: '192.0.2.9',
  reason: null as string | null,
  requirements: [
    {
      ...{ rule: 'destroying', why: 'rule', approvals: 2, given: 1 },
      roles: ['security-reviewer', 'administrator'],
    },
  ],
  decisions: [] as object[],
  ...{ digest, createdAt: time, expiresAt: time, endedAt: null },
  nonce: 'cd'.repeat(16),
  command: { route: 'key.destroy', params: { key: 'release' }, body: { afterSeconds: 86_400 } },
};

const approvals = (t: TestContext, shown: object = view) =>
  loggedIn(t, ({ url }, response) =>
    json(response, url === '/api/v1/principals/me' ? me : url.includes('?') ? list : shown),
  );
const me = {
  ...{ id: 'prn_me', name: 'me', kind: 'person', state: 'active' },
  createdAt: time,
  roles: ['security-reviewer'],
};
const summary = ({ command: _c, nonce: _n, ...rest }: typeof view) => rest;
const list = {
  items: [
    { ...summary(view), subject: 'waits-for-me' },
    { ...summary(view), subject: 'mine', requester: { id: 'prn_me', name: 'me' } },
    {
      ...summary(view),
      subject: 'said-already',
      decisions: [
        {
          ...{ principal: me, decision: 'approve', roles: ['security-reviewer'] },
          ...{ reason: null, decidedAt: time },
        },
      ],
    },
    {
      ...summary(view),
      subject: 'not-for-me',
      requirements: [{ ...view.requirements[0], roles: ['change-advisory-board'] }],
    },
  ],
  next: null,
};

test('a command that others have to approve says what happens next, and ends with 8', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, view, 202));
  const ran = await cli.run(['key', 'destroy', 'release', '--yes']);
  assert.equal(ran.code, 8);
  assert.equal(ran.out, '');
  assert.match(ran.error, /^waiting: key\.destroy on release needs the approval of others\n/);
  assert.match(ran.error, /needs: +2 of security-reviewer or administrator, 1 given/);
  assert.match(ran.error, new RegExp(`keyreeve approval approve ${id}\n`));
  assert.match(ran.error, new RegExp(`repeat your command; with --approval ${id} `));
  assert.equal(service.requests.length, 1, 'it is no failure that is tried again');
  const forPrograms = await cli.run(['key', 'destroy', 'release', '--yes', '--json']);
  assert.equal(forPrograms.code, exitCodes.pending);
  const { error } = JSON.parse(forPrograms.error);
  assert.deepEqual(
    [error.code, error.data.approval, error.data.digest],
    ['approval-pending', id, digest],
  );
});

test('the approval and the reason of an emergency go along with commands, and with nothing else', async (t) => {
  const { cli, service } = await loggedIn(t, (_, response) => json(response, {}));
  const emergency = 'the key is out: ünd now';
  await cli.run(['--approval', id, 'key', 'destroy', 'k', '--yes', '--break-glass', emergency]);
  const [sent] = service.requests;
  assert.equal(sent?.headers['keyreeve-approval'], id);
  assert.equal(decodeURIComponent(String(sent?.headers['keyreeve-break-glass'])), emergency);
  await cli.run(['--approval', id, 'key', 'show', 'k']);
  assert.equal(service.requests.at(-1)?.headers['keyreeve-approval'], undefined);
});

test('an approval is shown whole: command, requester, requirements, words, digest', async (t) => {
  const { cli } = await approvals(t, { ...view, kind: 'break-glass', reason: 'the key is out' });
  const { out, code } = await cli.run(['approval', 'show', id]);
  assert.equal(code, 0);
  for (const text of [
    /"afterSeconds": 86400/,
    /kind: +BREAK-GLASS/,
    /because: +the key is out/,
    /asked by: +maker \(prn_maker\), from 192\.0\.2\.9/,
    new RegExp(`digest: +${digest}`),
  ]) {
    assert.match(out, text);
  }
});

test('what a stranger wrote moves no cursor and hides nothing', async (t) => {
  const nasty = 'release\u001b[2K\u001b[1Aharmless\u202egnp.exe\r';
  const { cli } = await approvals(t, {
    ...view,
    subject: nasty,
    requester: { id: 'prn_x', name: nasty },
    command: { route: 'key.destroy', body: { [nasty]: nasty, lines: 'one\ntwo' } },
  });
  for (const words of [
    ['approval', 'show', id],
    ['approval', 'show', id, '--json'],
  ]) {
    const { out } = await cli.run(words);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there.
    assert.doesNotMatch(out, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    assert.match(out, /"lines": "one\\ntwo"/, 'no line of its own');
  }
});

test('a script agrees to the digest that it was given, and to no other', async (t) => {
  const { cli, service } = await approvals(t);
  const approve = ['approval', 'approve', id, '--yes'];
  const blind = await cli.run(approve);
  assert.deepEqual([blind.code, service.requests.length], [exitCodes.usage, 0]);
  const other = await cli.run([...approve, '--digest', 'cd'.repeat(32)]);
  assert.equal(other.code, exitCodes.conflict);
  assert.match(other.error, /has another digest/);
  assert.ok(service.requests.every(({ method }) => method === 'GET'));
  const done = await cli.run([...approve, '--digest', digest.toUpperCase(), '--reason', 'seen']);
  assert.equal(done.code, 0);
  assert.deepEqual(sentBody(service), { digest, reason: 'seen' });
  assert.match(done.error, /it is pending, missing: 1 more of security-reviewer/);
});

test('a person agrees by typing what it is about, and to what was shown', async (t) => {
  const { cli, service } = await approvals(t);
  const answer = async (typed: string) => {
    const world = cli.context(`${typed}\n`, { terminal: true });
    const code = await runCli(['approval', 'approve', id], world);
    await setTimeout(1);
    return { code, ...world.seen() };
  };
  const refused = await answer('releases');
  assert.equal(refused.code, exitCodes.usage);
  assert.ok(service.requests.every(({ method }) => method === 'GET'));
  const agreed = await answer('release');
  assert.equal(agreed.code, 0, agreed.error);
  assert.match(agreed.error, /maker wants key\.destroy on release/);
  assert.deepEqual(sentBody(service), { digest });
  const without = await cli.run(['approval', 'approve', id]);
  assert.match(without.error, /no terminal to ask/);
});

test('a list is narrowed to what is mine, or waits for my word', async (t) => {
  const { cli } = await approvals(t);
  const subjects = async (...words: string[]) => {
    const { out } = await cli.run(['approval', 'list', ...words, '--json']);
    return (JSON.parse(out).items as { subject: string }[]).map(({ subject }) => subject);
  };
  assert.equal((await subjects()).length, 4);
  assert.deepEqual(await subjects('--mine'), ['mine']);
  assert.deepEqual(await subjects('--waiting'), ['waits-for-me']);
  const { out } = await cli.run(['approval', 'list']);
  assert.match(out, /1\/2/);
  const wrong = await cli.run(['approval', 'list', '--state', 'lost']);
  assert.equal(wrong.code, exitCodes.usage);
});

test('rules are applied as they are shown, and a file without any is refused', async (t) => {
  const rule = {
    ...{ name: 'destroying', actions: ['key.destroy'], approvals: 2 },
    ...{ roles: ['security-reviewer'], ttlSeconds: 3600, breakGlass: false },
  };
  const shown = { version: 3, digest, appliedAt: time, appliedBy: 'ada', rules: [rule] };
  const { cli, service, file } = await loggedIn(t, (_, response) => json(response, shown));
  const { out } = await cli.run(['approval', 'rules', 'show', '--json']);
  writeFileSync(file('rules.json'), out);
  const apply = ['approval', 'rules', 'apply', file('rules.json')];
  assert.equal((await cli.run([...apply, '--saw-version', '3'])).code, 0);
  assert.deepEqual(sentBody(service), { rules: [rule], sawVersion: 3 });
  const table = await cli.run(['approval', 'rules', 'show']);
  assert.match(table.out, /destroying +key\.destroy +everywhere +2 +security-reviewer +1h/);
  for (const text of ['{}', 'rules', '"a"', 'null']) {
    writeFileSync(file('rules.json'), text);
    const refused = await cli.run(apply);
    assert.equal(refused.code, exitCodes.usage, text);
    assert.match(refused.error, /no list of rules/);
  }
});
