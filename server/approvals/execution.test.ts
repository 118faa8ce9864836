import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { startPostgres } from '../../test/postgres.ts';
import { openStaffed, pending, refusal } from './approvals.fixture.ts';

const importRule = {
  name: 'import',
  actions: ['key.import', 'backup.create'],
  approvals: 1,
  roles: ['security-reviewer'],
} as never;

test('an idempotency key answers again what ran, and nothing before that', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const idempotencyKey = 'once';
  const view = await pending(destroy(ada, { idempotencyKey }));
  assert.equal((await pending(destroy(ada, { idempotencyKey }))).id, view.id);
  await world.approve(rex, view);
  const done = await destroy(ada, { idempotencyKey });
  assert.deepEqual(await destroy(ada, { idempotencyKey }), done);
});

test('the answer goes to a token with all the rights of the one that asked', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  const narrow = await world.caller(await world.token(ada, { folders: ['prod'] }));
  await assert.rejects(
    destroy(narrow, { approvalId: view.id }),
    refusal('forbidden', /more rights/),
  );
  await assert.rejects(destroy(rex, { approvalId: view.id }), refusal('not-found'));
  await destroy(await world.caller(await world.token(ada)));
});

test('whoever lost the right to ask does not run what was approved', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const amy = await world.person(world.ada, 'amy', ['administrator']);
  const view = await pending(world.destroy(amy));
  await world.approve(world.rex, view);
  await world.ask(world.ada, 'principal.update', {
    params: { principal: 'amy' },
    body: { roles: ['operator'] },
  });
  await assert.rejects(world.destroy({ ...amy, roles: ['operator'] }), refusal('forbidden'));
});

test('several commands of one request use one approval, once', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, commands, destroy } = world;
  const rule = { action: 'key.destroy', resource: { type: 'folder', folder: 'prod' } } as const;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  const request = { route: 'key.destroy', params: { key: 'prod/key' }, body: {} } as const;
  await world.ask(ada, 'key.destroy', { ...request, request });
  const further = { ...rule, input: null, act: async () => ({ result: 'done', steps: [] }) };
  assert.equal(await commands.run({ ...ada, request }, further), 'done');
  // The same in a request of its own waits again.
  await pending(commands.run({ ...ada, request: { ...request } }, further));
  const executed = (await world.entries()).filter(({ action }) => action === 'approval.execute');
  assert.equal(executed.length, 1);
});

test('an approval is used up with the intent: a crash after that executes nothing again', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, commands } = world;
  const request = { route: 'key.destroy', params: { key: 'prod/key' }, body: {} } as const;
  const run = (act: () => Promise<never>) =>
    commands.run(
      { ...ada, request: { ...request } },
      {
        action: 'key.destroy',
        resource: { type: 'folder', folder: 'prod' },
        input: null,
        intent: { kind: 'test', payload: {} },
        act,
      },
    );
  const never = () => Promise.reject(new Error('never reached'));
  const view = await pending(run(never));
  await world.approve(rex, view);
  await assert.rejects(
    run(() => Promise.reject(new Error('the process is killed'))),
    /killed/,
  );
  const shown = await world.ask(rex, 'approval.show', { params: { approval: view.id } });
  assert.equal(shown.state, 'executed');
  assert.notEqual((await pending(run(never))).id, view.id);
});

test('a commit that fails uses nothing up', async (t) => {
  let isBroken = false;
  const world = await openStaffed(undefined, {
    intercept: async ({ entries }) => {
      if (isBroken && entries.some(({ action }) => action === 'approval.execute')) {
        throw new Error('the disk is full');
      }
    },
  });
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  await world.approve(world.rex, view);
  isBroken = true;
  await assert.rejects(world.destroy(world.ada), /full/);
  isBroken = false;
  await world.destroy(world.ada);
});

test('secrets are seen by nobody, and another secret is another command', async (t) => {
  const world = await openStaffed([importRule]);
  t.after(world.close);
  const { ada, rex } = world;
  const material = randomBytes(32).toString('base64');
  const passphrase = 'hunter2-hunter2';
  const take = (secret: string, more: object = {}) =>
    world.ask(ada, 'key.import', {
      body: {
        ...{ name: 'apps/taken', algorithm: 'aes-256', purpose: 'encrypt' },
        ...{ material: secret, passphrase },
      },
      ...more,
    });
  const view = await pending(take(material));
  await world.approve(rex, view);
  const rows = await world.storage.db.selectFrom('approval').selectAll().execute();
  const stored = JSON.stringify([rows, view, await world.entries()]);
  for (const secret of [material, passphrase]) assert.ok(!stored.includes(secret));
  const body = view.command.body as { material: { commitment: string } };
  assert.match(body.material.commitment, /^[0-9a-f]{64}$/);
  const other = randomBytes(32).toString('base64');
  await assert.rejects(take(other, { approvalId: view.id }), refusal('approval-mismatch'));
  await take(material, { approvalId: view.id });
});

test('the same request made twice at once is one approval', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const views = await Promise.all([1, 2, 3].map(() => pending(world.destroy(world.ada))));
  assert.equal(new Set(views.map(({ id }) => id)).size, 1);
});

test('PostgreSQL: asked, agreed and executed once, also twice at once', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const world = await openStaffed(undefined, { databaseUrl: server.createDatabase('approvals') });
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const views = await Promise.all([1, 2].map(() => pending(destroy(ada))));
  assert.equal(views[0]!.id, views[1]!.id);
  await world.approve(rex, views[0]!);
  const outcomes = await Promise.allSettled([destroy(ada), destroy(ada)]);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  const { items } = await world.ask(rex, 'approval.list', { query: { state: 'executed' } });
  assert.deepEqual(
    items.map(({ id }) => id),
    [views[0]!.id],
  );
  world.clock.advance(86_400);
  await world.approvals.expire();
  assert.equal((await world.approvals.status()).open, 0);
});

test('what a command does beside is held by its rules, too', async (t) => {
  const rule = {
    ...(importRule as object),
    name: 'certify',
    actions: ['ca.certify'],
    folders: ['ca'],
  };
  const world = await openStaffed([rule as never]);
  t.after(world.close);
  const request = { route: 'ca.create', params: {}, body: {} } as const;
  const make = (folder: string) =>
    world.commands.run(
      { ...world.ada, request: { ...request } },
      {
        action: 'ca.create',
        resource: { type: 'folder', folder: 'apps' },
        also: [{ action: 'ca.certify', resource: { type: 'folder', folder } }],
        input: null,
        act: async () => ({ result: 'done', steps: [] }),
      },
    );
  assert.equal(await make('other'), 'done');
  const view = await pending(make('ca/root'));
  assert.equal(view.requirements[0]!.rule, 'certify');
});

test('a certificate that is known by its name alone says no word', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { rex } = world;
  const certificate = { bindingId: 'bnd_by_name', certificateIds: [], authorities: [] };
  const view = await pending(world.destroy(world.ada));
  await assert.rejects(
    world.approve({ ...rex, standing: { ...rex.standing!, certificate } }, view),
    refusal('forbidden', /known by its name/),
  );
});

test('rules that come into force while a command is under way hold it, too', async (t) => {
  let strike: (() => Promise<unknown>) | undefined;
  const world = await openStaffed([], {
    intercept: async ({ entries }) => {
      if (!entries.some(({ action, outcome }) => action === 'key.rotate' && outcome === 'ok'))
        return;
      const act = strike;
      strike = undefined;
      await act?.();
    },
  });
  t.after(world.close);
  const rotate = () => world.ask(world.ada, 'key.rotate', { params: { key: 'prod/key' } });
  strike = () =>
    world.rules(world.ada, [{ ...(importRule as object), actions: ['key.rotate'] } as never]);
  await assert.rejects(rotate(), refusal('conflict', /approval rules were changed/));
  await pending(rotate());
});
