import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { json } from '../../test/doubles/https-service.ts';
import { loggedIn, sentBody } from '../../test/doubles/logged-in.ts';
import { exitCodes } from '../exit-codes.ts';
import { runCli } from '../run.ts';

const digest = 'ab'.repeat(32);
const access = {
  ...{ keystore: 'hsm', keys: 2, folders: ['', 'ca', 'h'], isComplete: false, digest },
  principals: [
    {
      ...{ id: 'prn_1', name: 'ada\u001b[2J', kind: 'person', roles: ['key-maker'] },
      rights: [
        { actions: ['key.create', 'key.import'], folders: ['', 'ca', 'h'] },
        { actions: ['key.destroy'], folders: ['h'] },
        { actions: ['keystore.add'], folders: [] },
      ],
    },
  ],
};
const review = {
  ...{ everyDays: 90, dueAt: '2030-04-01T00:00:00.000Z', isOverdue: false },
  ...{ lastAt: '2030-01-01T00:00:00.000Z', lastBy: 'ada' },
};

const keystores = (t: TestContext) =>
  loggedIn(t, ({ url }, response) =>
    json(response, url.endsWith('/access') ? access : { review, access }),
  );

test('a review shows who may do what, asks, and vouches for what was shown', async (t) => {
  const { cli, service } = await keystores(t);
  const answer = async (typed: string) => {
    const world = cli.context(`${typed}\n`, { terminal: true });
    const code = await runCli(['keystore', 'review', 'hsm', '--note', 'as it should be'], world);
    return { code, ...world.seen() };
  };
  assert.equal((await answer('no')).code, exitCodes.usage);
  assert.ok(service.requests.every(({ method }) => method === 'GET'));
  const done = await answer('hsm');
  assert.equal(done.code, 0, done.error);
  assert.deepEqual(sentBody(service), { digest, note: 'as it should be' });
  assert.match(done.out, /^ada\?\[2J \(person\): key-maker$/m);
  assert.match(done.out, /^ {2}all folders: key\.create, key\.import$/m);
  assert.match(done.out, /^ {2}in h: key\.destroy$/m);
  assert.match(done.error, /this is not all/);
  assert.match(done.error, /the next review is due 2030-04-01/);
});

test('on a narrow terminal all that is vouched for is shown', async (t) => {
  const { cli } = await keystores(t);
  const world = cli.context('hsm\n', { terminal: true });
  Object.assign(world.standardOutput, { columns: 20, isTTY: true });
  assert.equal(await runCli(['keystore', 'review', 'hsm'], world), 0);
  assert.match(world.seen().out, /key\.create, key\.import$/m);
  assert.match(world.seen().out, /^ {2}the service: keystore\.add$/m);
});

test('without a terminal a review needs --yes, and --look vouches for nothing', async (t) => {
  const { cli, service } = await keystores(t);
  assert.equal((await cli.run(['keystore', 'review', 'hsm'])).code, exitCodes.usage);
  const looked = await cli.run(['keystore', 'review', 'hsm', '--look', '--json']);
  assert.deepEqual(JSON.parse(looked.out), access);
  assert.ok(service.requests.every(({ method }) => method === 'GET'));
  assert.equal((await cli.run(['keystore', 'review', 'hsm', '--yes'])).code, 0);
  assert.equal(service.requests.at(-1)?.method, 'POST');
});

test('the interval is a number of days, or none', async (t) => {
  const { cli, service } = await keystores(t);
  const update = ['keystore', 'update', 'hsm', '--review-every-days'];
  assert.equal((await cli.run([...update, '30'])).code, 0);
  assert.deepEqual(sentBody(service), { reviewEveryDays: 30 });
  assert.equal((await cli.run([...update, 'none'])).code, 0);
  assert.deepEqual(sentBody(service), { reviewEveryDays: null });
  for (const wrong of ['0', '367', '-1', '1.5', 'never']) {
    assert.equal((await cli.run([...update, wrong])).code, exitCodes.usage, wrong);
  }
  const add = ['keystore', 'add', 'hsm', '--uri', 'pkcs11:token=t?module-path=/usr/lib/m.so'];
  await cli.run([...add, '--review-every-days', '90']);
  assert.equal(sentBody(service).reviewEveryDays, 90);
  const members = ['--primary', 'a', '--secondary', 'b'];
  await cli.run(['keystore', 'group', 'both', ...members, '--review-every-days', '60']);
  assert.equal(sentBody(service).reviewEveryDays, 60);
});
