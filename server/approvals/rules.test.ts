import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ApprovalRule } from '../../api/routes/approvals.ts';
import { approvalRule } from '../../api/routes/approvals.ts';
import { destroyRule, openStaffed, openWorld, pending, refusal } from './approvals.fixture.ts';
import { isWeaker } from './weakening.ts';

const rule = approvalRule.parse({
  name: 'one',
  actions: ['key.destroy', 'key.state'],
  folders: ['prod'],
  approvals: 2,
  roles: ['security-reviewer'],
  ttlSeconds: 3600,
});

test('every way to weaken a rule is known as one, and strengthening is none', () => {
  const weaker: Partial<ApprovalRule>[] = [
    { approvals: 1 },
    { roles: ['security-reviewer', 'operator'] },
    { roles: ['operator'] },
    { actions: ['key.destroy'] },
    { folders: ['prod/a'] },
    { folders: ['products'] },
    { labels: { stage: 'one' } },
    { purposes: ['sign'] },
    { keystores: ['wrapped'] },
    { ttlSeconds: 3601 },
    { breakGlass: true },
  ];
  for (const change of weaker) {
    assert.ok(isWeaker(rule, { ...rule, ...change }), JSON.stringify(change));
  }
  const { folders: _, ...everywhere } = rule;
  const stronger: ApprovalRule[] = [
    rule,
    { ...everywhere, actions: [...rule.actions, 'key.update'] },
    { ...rule, approvals: 3 },
    { ...rule, actions: ['key.destroy', 'key.state', 'key.rotate'] },
    { ...rule, folders: ['prod', 'test'] },
    { ...rule, ttlSeconds: 60 },
  ];
  for (const next of stronger) assert.ok(!isWeaker(rule, next), JSON.stringify(next));
  assert.ok(isWeaker(everywhere, rule));
  // It held changes of the keys in its folders, too.
  assert.ok(isWeaker(rule, everywhere));
});

test('a weaker document needs the quorum of what it weakens; a stronger one does not', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex } = world;
  await world.rules(ada, [{ ...destroyRule, actions: ['key.destroy', 'key.rotate'] }]);
  const without = () => world.rules(ada, []);
  const view = await pending(without());
  assert.equal(view.requirements[0]!.why, 'weakening');
  await world.approve(rex, view);
  assert.equal((await without()).version, 3);
  await world.destroy(ada);
});

test('an approval of new rules is for the change that was seen, of one version into another', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex } = world;
  const view = await pending(world.rules(ada, []));
  await world.approve(rex, view);
  await world.rules(ada, [{ ...destroyRule, actions: ['key.destroy', 'key.rotate'] }]);
  await assert.rejects(world.rules(ada, [], { approvalId: view.id }), refusal('approval-mismatch'));
});

test('what waited under other rules is void', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada));
  await world.approve(rex, view);
  await world.rules(ada, [{ ...destroyRule, approvals: 2 }]);
  const next = await pending(destroy(ada));
  assert.notEqual(next.id, view.id);
  const old = await world.ask(rex, 'approval.show', { params: { approval: view.id } });
  assert.equal(old.state, 'void');
  await assert.rejects(destroy(ada, { approvalId: view.id }), refusal('approval-ended'));
});

test('a quorum that nobody could meet is refused, and so is making one impossible', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada } = world;
  const impossible = refusal('quorum-impossible');
  await assert.rejects(world.rules(ada, [{ ...destroyRule, approvals: 3 }]), impossible);
  // Whoever asks does not count.
  await assert.rejects(
    world.rules(ada, [{ ...destroyRule, roles: ['administrator'] }]),
    impossible,
  );
  await world.person(ada, 'robot', ['operator'], 'service');
  await assert.rejects(world.rules(ada, [{ ...destroyRule, roles: ['operator'] }]), impossible);
  await world.rules(ada, [{ ...destroyRule, approvals: 2 }]);
  const change = (body: object) =>
    world.ask(ada, 'principal.update', { params: { principal: 'rex' }, body });
  await assert.rejects(change({ state: 'disabled' }), impossible);
  await assert.rejects(change({ roles: [] }), impossible);
  await world.rules(ada, [
    { ...destroyRule, name: 'more' },
    { ...destroyRule, approvals: 2 },
  ]);
  await assert.rejects(change({ state: 'disabled' }), impossible);
  await assert.rejects(
    world.ask(ada, 'key.create', {
      body: {
        name: 'own/key',
        algorithm: 'p-256',
        purpose: 'sign',
        policy: {
          dualControl: { actions: ['key.destroy'], approvals: 3, roles: ['security-reviewer'] },
        },
      },
    }),
    impossible,
  );
});

test('documents that contradict themselves are refused', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada } = world;
  await assert.rejects(
    world.rules(ada, [destroyRule, destroyRule]),
    refusal('invalid-policy', /twice/),
  );
  await assert.rejects(
    world.rules(ada, [{ ...destroyRule, actions: ['key.destroy', 'principal.create'] }]),
    refusal('invalid-policy', /narrows principal.create/),
  );
  await assert.rejects(
    world.ask(ada, 'approval.rules.apply', { body: { rules: [destroyRule], sawVersion: 7 } }),
    refusal('conflict'),
  );
  for (const wrong of [
    { actions: ['key.sign'] },
    { roles: ['auditor'] },
    { roles: ['nobody'] },
    { approvals: 0 },
    { approvals: 11 },
    { ttlSeconds: 31 * 86_400 },
  ]) {
    assert.ok(!approvalRule.safeParse({ ...destroyRule, ...wrong }).success, JSON.stringify(wrong));
  }
});

test('an administrator makes no approvers out of thin air', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, rex } = world;
  await world.ask(ada, 'principal.create', { body: { name: 'puppet', kind: 'person' } });
  await world.rules(ada, [destroyRule]);
  const roles = ['security-reviewer'];
  const tries = [
    () => world.ask(ada, 'principal.create', { body: { name: 'new', kind: 'person', roles } }),
    () => world.ask(ada, 'principal.update', { params: { principal: 'puppet' }, body: { roles } }),
    () => world.ask(ada, 'principal.enrol', { params: { principal: 'rex' } }),
    () =>
      world.ask(ada, 'access.apply', {
        body: { policies: 'permit(principal, action, resource);' },
      }),
  ];
  for (const attempt of tries) {
    const view = await pending(attempt());
    assert.deepEqual(view.requirements[0]!.roles, roles, view.action);
  }
  // What makes nobody an approver needs nobody.
  await world.ask(ada, 'principal.update', {
    params: { principal: 'puppet' },
    body: { roles: ['operator'] },
  });
  await world.ask(ada, 'principal.enrol', { params: { principal: 'puppet' } });
  await world.ask(ada, 'principal.create', { body: { name: 'bot', kind: 'service', roles } });
  await world.token(rex);
  // A person who is enabled again has its roles again.
  await world.person(ada, 'third', ['operator']);
  const view = await pending(tries[1]!());
  await world.approve(rex, view);
  await tries[1]!();
});

test('an approver who was disabled does not come back without the quorum', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const state = (value: string) =>
    world.ask(world.ada, 'principal.update', {
      params: { principal: 'rex' },
      body: { state: value },
    });
  await state('disabled');
  assert.equal((await pending(state('active'))).requirements[0]!.why, 'approver-given');
});

test('the policy of a key asks for its own quorum, and is not changed without it', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, rex } = world;
  const dualControl = { actions: ['key.rotate'], approvals: 1, roles: ['security-reviewer'] };
  await world.ask(ada, 'key.create', {
    body: { name: 'own/key', algorithm: 'p-256', purpose: 'sign', policy: { dualControl } },
  });
  const params = { key: 'own/key' };
  await pending(world.ask(ada, 'key.rotate', { params }));
  const end = () =>
    world.ask(ada, 'key.update', { params, body: { policy: { dualControl: null } } });
  const view = await pending(end());
  assert.equal(view.requirements[0]!.rule, 'policy of own/key');
  await world.approve(rex, view);
  assert.equal('dualControl' in (await end()).policy, false);
  await world.ask(ada, 'key.rotate', { params });
});

test('leaving dual control out of a change does not end it', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, rex } = world;
  const dualControl = { actions: ['key.rotate'], approvals: 1, roles: ['security-reviewer'] };
  await world.ask(ada, 'key.create', {
    body: { name: 'own/key', algorithm: 'p-256', purpose: 'sign', policy: { dualControl } },
  });
  const change = () =>
    world.ask(ada, 'key.update', { params: { key: 'own/key' }, body: { policy: {} } });
  await world.approve(rex, await pending(change()));
  assert.deepEqual((await change()).policy.dualControl, dualControl);
});

test('a keystore that a rule names is not led around', async (t) => {
  const world = await openStaffed([
    { ...destroyRule, folders: undefined as never, keystores: ['wrapped'] },
  ]);
  t.after(world.close);
  const add = world.ask(world.ada, 'key.update', {
    params: { key: 'prod/key' },
    body: { labels: { a: 'b' } },
  });
  assert.equal((await pending(add)).requirements[0]!.rule, 'destroy');
  await world.ask(world.ada, 'key.create', {
    body: { name: 'in/file', algorithm: 'p-256', purpose: 'sign', keystore: 'file' },
  });
  await world.ask(world.ada, 'key.destroy', { params: { key: 'in/file' } });
});

test('a request without a way to ask is refused', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const handler = world.handlers['key.destroy']!;
  await assert.rejects(
    handler({ caller: world.ada, params: { key: 'prod/key' }, query: {}, body: {} }),
    refusal('forbidden', /cannot be asked for here/),
  );
});

test('strangers see no approvals; auditors, approvers and whoever asked do', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex } = world;
  const audrey = await world.person(ada, 'audrey', ['auditor']);
  const otto = await world.person(ada, 'otto', ['operator']);
  const view = await pending(world.destroy(ada));
  for (const by of [ada, rex, audrey]) {
    const { items } = await world.ask(by, 'approval.list', {});
    assert.deepEqual(
      items.map(({ id }) => id),
      [view.id],
    );
  }
  assert.deepEqual((await world.ask(otto, 'approval.list', {})).items, []);
  const show = world.ask(otto, 'approval.show', { params: { approval: view.id } });
  await assert.rejects(show, refusal('not-found'));
  await assert.rejects(world.approve(otto, view), refusal('not-found'));
  await assert.rejects(world.approve(audrey, view), refusal('forbidden', /takes one of the roles/));
  await assert.rejects(world.ask(otto, 'approval.rules.show'), refusal('forbidden'));
  assert.equal((await world.ask(rex, 'approval.rules.show')).rules.length, 1);
  const none = await world.ask(rex, 'approval.list', { query: { state: 'executed' } });
  assert.deepEqual(none.items, []);
});

test('a rejected or withdrawn request runs no more, and is not anybody’s to take back', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { ada, rex, rita, destroy } = world;
  const first = await pending(destroy(ada));
  const params = { approval: first.id };
  await assert.rejects(world.ask(rex, 'approval.withdraw', { params }), refusal('forbidden'));
  const { state } = await world.ask(rex, 'approval.reject', { params, body: { reason: 'no' } });
  assert.equal(state, 'rejected');
  await assert.rejects(world.approve(rita, first), refusal('approval-ended'));
  await assert.rejects(destroy(ada, { approvalId: first.id }), refusal('approval-ended'));
  const second = await pending(destroy(ada));
  await world.ask(ada, 'approval.withdraw', { params: { approval: second.id } });
  await assert.rejects(world.approve(rita, second), refusal('approval-ended'));
});

test('requests of one principal that wait are limited', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  for (let seconds = 0; seconds < 50; seconds++) {
    await pending(world.destroy(world.ada, { body: { afterSeconds: 604_800 + seconds } }));
  }
  await assert.rejects(world.destroy(world.ada), refusal('conflict', /waiting already/));
});

test('a first document needs nobody, and rules are empty before it', async (t) => {
  const world = await openWorld();
  t.after(world.close);
  const ada = await world.administrator();
  const shown = await world.ask(ada, 'approval.rules.show');
  assert.deepEqual([shown.version, shown.rules], [0, []]);
});

test('the rules of the operator’s guide can be applied', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const page = readFileSync(new URL('../../docs/approvals.md', import.meta.url), 'utf8');
  const example = /```json\n([\s\S]*?)```/.exec(page)![1]!;
  await world.rules(world.ada, JSON.parse(example).rules);
  await pending(
    world.ask(world.ada, 'principal.create', { body: { name: 'somebody', kind: 'person' } }),
  );
});
