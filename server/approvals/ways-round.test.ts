/** Ways around a rule that are no ways. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '../base/ids.ts';
import { destroyRule, openStaffed, openWorld, pending, refusal } from './approvals.fixture.ts';
import { withAlike } from './keystores-alike.ts';

test('a rule that is widened until it lets go of the changes of keys is weakened', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const { folders: _, ...everywhere } = destroyRule;
  const view = await pending(world.rules(world.ada, [everywhere]));
  assert.equal(view.requirements[0]!.why, 'weakening');
  await world.rules(world.ada, [{ ...everywhere, actions: ['key.destroy', 'key.update'] }]);
});

test('whoever bound a certificate to a service stands behind it', async (t) => {
  const world = await openStaffed([]);
  t.after(world.close);
  const { ada, storage } = world;
  const bea = await world.person(ada, 'bea', ['administrator']);
  const machine = await world.person(ada, 'robot', ['administrator'], 'service');
  await world.rules(ada, [{ ...destroyRule, roles: ['administrator', 'security-reviewer'] }]);
  const { id: keyId } = await world.ask(ada, 'key.show', { params: { key: 'prod/key' } });
  const authority = {
    ...{ key_id: keyId, subject: Buffer.alloc(0), subject_text: 'CN=ca', subject_folded: null },
    ...{ parent_id: null, state: 'active', settings_json: '{}', created_at: 0, revision: 1 },
  };
  const binding = {
    ...{ id: newId('bnd'), principal_id: machine.principalId, ca_id: keyId, kind: 'key' },
    ...{ value: 'ab'.repeat(32), created_at: world.clock.now(), created_by: bea.principalId },
  };
  const inserts = [
    storage.db.insertInto('ca').values(authority),
    storage.db.insertInto('certificate_binding').values(binding),
  ];
  const steps = inserts.map((insert) => ({ query: insert.compile() }));
  await storage.commit({ steps, entries: [] });
  const view = await pending(world.destroy(machine));
  await assert.rejects(world.approve(bea, view), refusal('forbidden', /its own/));
});

test('a keystore that a rule names is held under its other names and in groups, too', async (t) => {
  const world = await openStaffed([
    { ...destroyRule, folders: undefined as never, keystores: ['file'] },
  ]);
  t.after(world.close);
  const { storage, ada } = world;
  const settings = { primary: 'wrapped', secondary: 'file' };
  const row = {
    ...{ name: 'pair', kind: 'group', uri: 'group:pair', state: 'available', revision: 1 },
    ...{ settings_json: JSON.stringify(settings), created_at: 0, created_by: ada.principalId },
  };
  const query = storage.db.insertInto('keystore').values(row).compile();
  await storage.commit({ steps: [{ query }], entries: [] });
  const keystore = (name: string) =>
    world.commands.run(
      { ...ada, request: { route: 'key.destroy', params: { key: 'a/b' }, body: {} } },
      {
        action: 'key.destroy',
        resource: {
          ...{ type: 'key', id: 'key_1', name: 'a/b', folder: 'a', purpose: 'sign' },
          ...{ ownerId: ada.principalId, labels: {}, keystores: [name] },
        },
        input: null,
        act: async () => ({ result: 'done', steps: [] }),
      },
    );
  assert.equal(await keystore('wrapped'), 'done');
  await pending(keystore('pair'));
});

test('keystores of one token are one', () => {
  const known = [
    { name: 'hsm', tokenId: 'one', members: [] },
    { name: 'again', tokenId: 'one', members: [] },
    { name: 'other', tokenId: 'two', members: [] },
    { name: 'silent', tokenId: undefined, members: [] },
    { name: 'mute', tokenId: undefined, members: [] },
    { name: 'pair', tokenId: undefined, members: ['other', 'again'] },
  ];
  assert.deepEqual(withAlike(['hsm'], known), ['hsm', 'again', 'pair']);
  assert.deepEqual(withAlike(['silent'], known), ['silent']);
  assert.deepEqual(withAlike(['wrapped'], known), ['wrapped']);
});

test('whoever makes keys does not bind approvers by the policy of one', async (t) => {
  const world = await openWorld();
  t.after(world.close);
  const ada = await world.administrator();
  const mal = await world.person(ada, 'mal', ['key-maker']);
  await world.person(ada, 'rex', ['security-reviewer']);
  const roles = ['administrator', 'security-reviewer', 'key-maker'];
  const dualControl = { actions: ['key.rotate'], approvals: 2, roles };
  const make = { name: 'mal/key', algorithm: 'p-256', purpose: 'sign' };
  await assert.rejects(
    world.ask(mal, 'key.create', { body: { ...make, policy: { dualControl } } }),
    refusal('forbidden', /dual control/),
  );
  await world.ask(mal, 'key.create', { body: make });
  await assert.rejects(
    world.ask(mal, 'key.update', { params: { key: 'mal/key' }, body: { policy: { dualControl } } }),
    refusal('forbidden', /dual control/),
  );
  // Else nobody could shut the one out who did that.
  await world.ask(ada, 'principal.update', {
    params: { principal: 'mal' },
    body: { state: 'disabled' },
  });
});

test('a token that is narrowed to folders sees nothing of what others ask for', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  const view = await pending(world.destroy(world.ada));
  const narrow = await world.caller(await world.token(world.rex, { folders: ['elsewhere'] }));
  const params = { approval: view.id };
  await assert.rejects(world.ask(narrow, 'approval.show', { params }), refusal('not-found'));
  assert.deepEqual((await world.ask(narrow, 'approval.list')).items, []);
  assert.equal((await world.ask(world.rex, 'approval.list')).items.length, 1);
});

test('rules that nobody can meet any more are taken out by whoever holds the database', async (t) => {
  const world = await openStaffed();
  t.after(world.close);
  await pending(world.destroy(world.ada));
  const { storage } = world;
  const query = storage.db.deleteFrom('approval_rules').compile();
  await storage.commit({ steps: [{ query }], entries: [], raisesEpoch: true });
  await world.rules(world.ada, [{ ...destroyRule, name: 'again' }]);
  assert.equal((await pending(world.destroy(world.ada))).requirements[0]!.rule, 'again');
});
