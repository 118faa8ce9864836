import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destroyRule, openStaffed, openWorld, pending, refusal } from './approvals.fixture.ts';

const emergencyRule = {
  ...destroyRule,
  actions: ['key.destroy', 'key.state'],
  approvals: 2,
  roles: ['change-advisory-board'],
  breakGlass: true,
} as never;
const reason = 'The key is out: revoke it now';

async function openEmergency() {
  const world = await openStaffed([]);
  const { ada } = world;
  for (const name of ['cab1', 'cab2']) await world.person(ada, name, ['change-advisory-board']);
  const otto = await world.person(ada, 'otto', ['key-maker']);
  await world.rules(ada, [emergencyRule]);
  return { ...world, otto };
}

test('break-glass: an administrator and a security reviewer, one of whom may ask', async (t) => {
  const world = await openEmergency();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const view = await pending(destroy(ada, { breakGlass: reason }));
  assert.equal(view.kind, 'break-glass');
  assert.equal(view.reason, reason);
  assert.deepEqual(
    view.requirements.map(({ roles, approvals }) => [roles, approvals]),
    [[['security-reviewer'], 1]],
  );
  assert.equal(Date.parse(view.expiresAt) - Date.parse(view.createdAt), 3600_000);
  assert.equal((await world.approvals.status()).breakGlass, 1);
  await world.approve(rex, view);
  await destroy(ada, { breakGlass: reason });
  const loud = (await world.entries()).filter(({ action }) => action === 'approval.break-glass');
  assert.deepEqual(
    loud.map(({ detail }) => JSON.parse(detail!).stage),
    ['request', 'execute'],
  );
  for (const { detail } of loud) assert.equal(JSON.parse(detail!).reason, reason);
});

test('break-glass that nobody of the two asks for takes both', async (t) => {
  const world = await openEmergency();
  t.after(world.close);
  const { ada, rex, rita, otto } = world;
  // Whoever may ask at all: the owner of the key.
  await world.ask(otto, 'key.create', {
    body: { name: 'prod/own', algorithm: 'p-256', purpose: 'sign' },
  });
  const destroy = () =>
    world.ask(otto, 'key.destroy', { params: { key: 'prod/own' }, breakGlass: reason });
  const view = await pending(destroy());
  assert.equal(view.requirements.length, 2);
  await world.approve(rex, view);
  await world.approve(rita, view);
  assert.equal((await pending(destroy())).state, 'pending', 'two reviewers are not both');
  await world.approve(ada, view);
  await destroy();
});

test('break-glass does not open what its rules keep closed', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  await assert.rejects(
    world.destroy(world.ada, { breakGlass: reason }),
    refusal('forbidden', /does not allow break-glass/),
  );
});

test('break-glass weakens no rules and makes no approvers', async (t) => {
  const world = await openEmergency();
  t.after(world.close);
  await assert.rejects(
    world.rules(world.ada, [], { breakGlass: reason }),
    refusal('forbidden', /does not allow break-glass/),
  );
  await assert.rejects(
    world.ask(world.ada, 'principal.create', {
      body: { name: 'new', kind: 'person', roles: ['security-reviewer'] },
      breakGlass: reason,
    }),
    refusal('forbidden', /does not allow break-glass/),
  );
});

test('an ordinary approval is none for an emergency, nor the other way round', async (t) => {
  const world = await openEmergency();
  t.after(world.close);
  const { ada, rex, destroy } = world;
  const ordinary = await pending(destroy(ada));
  const emergency = await pending(destroy(ada, { breakGlass: reason }));
  assert.notEqual(ordinary.id, emergency.id);
  await assert.rejects(world.approve(rex, ordinary), refusal('forbidden', /takes one of/));
  const other = await pending(destroy(ada, { breakGlass: `${reason}, for another reason` }));
  assert.notEqual(other.id, emergency.id);
});

test('break-glass cannot be asked for where nobody could agree', async (t) => {
  const world = await openWorld();
  t.after(world.close);
  const ada = await world.administrator();
  await world.person(ada, 'cab1', ['change-advisory-board']);
  await world.person(ada, 'cab2', ['change-advisory-board']);
  await world.ask(ada, 'key.create', {
    body: { name: 'prod/key', algorithm: 'p-256', purpose: 'sign' },
  });
  await world.rules(ada, [emergencyRule]);
  await assert.rejects(
    world.ask(ada, 'key.destroy', { params: { key: 'prod/key' }, breakGlass: reason }),
    refusal('quorum-impossible'),
  );
});

test('a certificate that is known by its name alone brings no role into an emergency', async (t) => {
  const world = await openEmergency();
  t.after(world.close);
  const { rex, destroy } = world;
  const certificate = { bindingId: 'bnd_by_name', certificateIds: [], authorities: [] };
  const byName = { ...rex, standing: { ...rex.standing!, certificate } };
  const view = await pending(destroy(byName, { breakGlass: reason }));
  assert.deepEqual(view.requirements.map(({ roles }) => roles[0]).sort(), [
    'administrator',
    'security-reviewer',
  ]);
});
