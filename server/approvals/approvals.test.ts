import assert from 'node:assert/strict';
import { test } from 'node:test';
import { approvalView } from '../../api/routes/approvals.ts';
import { destroyRule, openStaffed, pending, refusal } from './approvals.fixture.ts';

test('a command under a rule waits, and runs once when somebody else has agreed', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada));
  assert.deepEqual(approvalView.parse(view), view);
  assert.equal(view.state, 'pending');
  assert.equal(view.subject, 'prod/key');
  assert.equal((await pending(destroy(ada))).id, view.id, 'a repetition makes no second approval');
  assert.equal((await world.approve(rex, view)).state, 'approved');
  const done = await destroy(ada);
  assert.notEqual(done.key.destroyAt, null);
  const shown = await world.ask(rex, 'approval.show', { params: { approval: view.id } });
  assert.equal(shown.state, 'executed');
  const actions = (await world.entries()).map(({ action, outcome }) => `${action} ${outcome}`);
  for (const expected of [
    'approval.request ok',
    'key.destroy approval-pending',
    'approval.decide ok',
    'approval.execute ok',
    'key.destroy ok',
  ]) {
    assert.ok(actions.includes(expected), expected);
  }
});

test('what no rule names runs at once', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  await world.ask(world.ada, 'key.create', {
    body: { name: 'test/key', algorithm: 'p-256', purpose: 'sign' },
  });
  await world.ask(world.ada, 'key.destroy', { params: { key: 'test/key' } });
  await world.ask(world.ada, 'key.rotate', { params: { key: 'prod/key' } });
});

test('a key of a guarded folder is not changed without the quorum either', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const view = await pending(
    world.ask(world.ada, 'key.update', {
      params: { key: 'prod/key' },
      body: { labels: { a: 'b' } },
    }),
  );
  assert.equal(view.action, 'key.update');
});

test('nobody approves an own request, whatever token', async (t) => {
  const staffed = await openStaffed([
    { ...destroyRule, roles: ['administrator', 'security-reviewer'] },
  ]);
  t.after(staffed.close);
  const { ada, destroy } = staffed;
  const view = await pending(destroy(ada));
  await assert.rejects(staffed.approve(ada, view), refusal('forbidden', /its own/));
  const other = await staffed.caller(await staffed.token(ada));
  await assert.rejects(staffed.approve(other, view), refusal('forbidden', /its own/));
  const refused = (await staffed.entries()).filter(
    ({ action, outcome }) => action === 'approval.decide' && outcome === 'forbidden',
  );
  assert.equal(refused.length, 2);
  assert.equal(refused[0]!.resource, view.id);
});

test('the maker of a token does not approve what was asked with it', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, rex } = world;
  await world.ask(ada, 'principal.create', {
    body: { name: 'amy', kind: 'person', roles: ['administrator'] },
  });
  const made = await world.caller(await world.token(ada, { principal: 'amy' }));
  const rule = { ...destroyRule, roles: ['administrator', 'security-reviewer'] };
  await world.rules(ada, [rule as never]);
  const view = await pending(world.destroy(made));
  await assert.rejects(world.approve(ada, view), refusal('forbidden', /its own/));
  await world.approve(rex, view);
});

test('a service is nobody else than who made it and let it in', async (t) => {
  const world = await openStaffed([
    { ...destroyRule, roles: ['administrator', 'security-reviewer'] },
  ]);
  t.after(world.close);
  const machine = await world.person(world.ada, 'robot', ['administrator'], 'service');
  const view = await pending(world.destroy(machine));
  await assert.rejects(world.approve(world.ada, view), refusal('forbidden', /its own/));
  await assert.rejects(
    world.approve(machine, await pending(world.destroy(world.rex))),
    refusal('forbidden', /Only people/),
  );
});

test('one altered byte of the digest is refused', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  const first = view.digest[0] === '0' ? '1' : '0';
  await assert.rejects(
    world.approve(world.rex, { ...view, digest: first + view.digest.slice(1) }),
    refusal('approval-mismatch'),
  );
});

test('an approved command that is altered is another command', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada, { body: { afterSeconds: 604_800 } }));
  await world.approve(rex, view);
  const altered = { body: { afterSeconds: 604_801 } };
  await assert.rejects(
    destroy(ada, { ...altered, approvalId: view.id }),
    refusal('approval-mismatch'),
  );
  assert.notEqual((await pending(destroy(ada, altered))).id, view.id);
  await destroy(ada, { body: { afterSeconds: 604_800 }, approvalId: view.id });
});

test('a key that changed since is another key', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  await world.approve(world.rex, view);
  await world.ask(world.ada, 'key.rotate', { params: { key: 'prod/key' } });
  await assert.rejects(
    world.destroy(world.ada, { approvalId: view.id }),
    refusal('approval-mismatch'),
  );
});

test('a row that was altered in the database is found out', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  await world.approve(world.rex, view);
  await world.storage.commit({
    steps: [
      {
        query: world.storage.db
          .updateTable('approval')
          .set({ expires_at: world.clock.now() + 10 ** 10 })
          .where('id', '=', view.id)
          .compile(),
      },
    ],
    entries: [],
  });
  await assert.rejects(world.destroy(world.ada), refusal('integrity-failed'));
});

test('an expired approval is neither decided nor executed', async (t) => {
  const world = await openStaffed([{ ...destroyRule, ttlSeconds: 60 }]);
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const agreed = await pending(destroy(ada));
  await world.approve(rex, agreed);
  world.clock.advance(59);
  assert.equal((await world.approvals.status()).open, 1);
  world.clock.advance(1);
  await assert.rejects(world.approve(world.rita, agreed), refusal('approval-expired'));
  await assert.rejects(destroy(ada, { approvalId: agreed.id }), refusal('approval-expired'));
  assert.notEqual((await pending(destroy(ada))).id, agreed.id);
  await world.approvals.expire();
  const expired = (await world.entries()).filter(({ action }) => action === 'approval.expire');
  assert.deepEqual(
    expired.map(({ resource }) => resource),
    [agreed.id],
  );
  await world.approvals.expire();
  assert.equal((await world.approvals.status()).open, 1);
  await assert.rejects(destroy(ada, { approvalId: agreed.id }), refusal('approval-expired'));
});

test('a role that was lost meanwhile takes the word with it', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  await world.ask(ada, 'principal.update', { params: { principal: 'rex' }, body: { roles: [] } });
  assert.equal((await pending(destroy(ada))).state, 'pending');
  // The caller that rex was: his token has no role any more.
  await assert.rejects(world.approve({ ...rex, roles: [] }, view), refusal('not-found'));
  await world.approve(world.rita, view);
  await destroy(ada);
});

test('a role that is lost in the very moment of execution is noticed', async (t) => {
  let strike: (() => Promise<unknown>) | undefined;
  const world = await openStaffed([destroyRule], {
    intercept: async ({ entries }) => {
      if (!entries.some(({ action }) => action === 'approval.execute')) return;
      const act = strike;
      strike = undefined;
      await act?.();
    },
  });
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  await world.approve(world.rex, view);
  strike = () =>
    world.storage.commit({
      steps: [
        {
          query: world.storage.db
            .updateTable('principal')
            .set({ roles_json: '[]', revision: 99 })
            .where('id', '=', world.rex.principalId)
            .compile(),
        },
      ],
      entries: [],
    });
  await assert.rejects(world.destroy(world.ada), refusal('conflict', /rex/));
  assert.equal((await pending(world.destroy(world.ada))).id, view.id);
});

test('an approval is executed once: replayed, and twice at once', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  const outcomes = await Promise.allSettled([destroy(ada), destroy(ada)]);
  assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
  await assert.rejects(destroy(ada, { approvalId: view.id }), refusal('approval-ended'));
  const executed = (await world.entries()).filter(({ action }) => action === 'approval.execute');
  assert.equal(executed.length, 1);
});

test('two tokens of one person are one word', async (t) => {
  const world = await openStaffed([{ ...destroyRule, approvals: 2 }]);
  t.after(world.close);
  const { ada, rex, rita, destroy } = world;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  const other = await world.caller(await world.token(rex));
  await assert.rejects(world.approve(other, view), refusal('conflict', /already/));
  assert.equal((await pending(destroy(ada))).requirements[0]!.given, 1);
  await world.approve(rita, view);
  await destroy(ada);
});

test('a token that somebody else made says no word of its principal', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, rita } = world;
  // While there are no rules: afterwards it would take their quorum.
  await world.ask(ada, 'principal.create', { body: { name: 'amy', kind: 'person', roles: [] } });
  await world.ask(ada, 'principal.update', {
    params: { principal: 'amy' },
    body: { roles: ['administrator'] },
  });
  const puppet = await world.caller(await world.token(ada, { principal: 'amy' }));
  const rule = { ...destroyRule, roles: ['administrator', 'security-reviewer'] };
  await world.rules(ada, [rule as never]);
  const view = await pending(world.destroy(rita));
  await assert.rejects(world.approve(puppet, view), refusal('forbidden', /somebody else/));
  await world.approve(ada, view);
});
