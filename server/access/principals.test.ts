import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { roleNames, roles } from '../../api/roles.ts';
import type { Caller } from '../base/caller.ts';
import { newId } from '../base/ids.ts';
import { call, openAccess, refusal, type TestAccess } from './test-support.ts';

let opened: TestAccess;
let administrator: Caller;
before(async () => {
  opened = await openAccess();
  administrator = await opened.administrator();
});
after(() => opened.close());

const create = (name: string, roleList: string[], by = administrator, kind = 'person') =>
  opened.handlers['principal.create'](call(by, { body: { name, kind, roles: roleList } as never }));
const update = (principal: string, body: object, by = administrator) =>
  opened.handlers['principal.update'](call(by, { params: { principal }, body }));
const show = (principal: string, by = administrator) =>
  opened.handlers['principal.show'](call(by, { params: { principal } }));
const list = (query: object, by = administrator) =>
  opened.handlers['principal.list'](call(by, { query: { limit: 50, ...query } }));

test('every pair of conflicting roles is refused, naming both, and changes nothing', async () => {
  await create('pair', []);
  for (const first of roleNames) {
    for (const second of roles[first].conflictsWith) {
      const both = new RegExp(`\\(${first}\\).*\\(${second}\\)`);
      await assert.rejects(create('never', [first, second]), refusal('roles-conflict', both));
    }
  }
  await assert.rejects(
    update('pair', { roles: ['auditor', 'operator'] }),
    refusal('roles-conflict', /Auditor.*Operator/),
  );
  assert.deepEqual((await show('pair')).roles, []);
  await assert.rejects(show('never'), refusal('not-found'));
});

test('roles are known ones, kept once and in order', async () => {
  await assert.rejects(create('bad', ['root']), refusal('invalid-request', /"root"/));
  const made = await create('good', ['operator', 'key-user', 'operator']);
  assert.deepEqual(made.roles, ['key-user', 'operator']);
});

test('a name is taken once, and is no word or id of ours', async () => {
  await create('ada', []);
  await assert.rejects(create('ada', []), refusal('already-exists', /"ada"/));
  for (const name of ['me', 'current', 'system', newId('prn'), newId('key')]) {
    await assert.rejects(create(name, []), refusal('invalid-name'));
  }
});

test('a principal is found by id, by name, and as me', async () => {
  const made = await create('ben', ['key-user']);
  assert.deepEqual(await show(made.id), made);
  assert.deepEqual(await show('ben'), made);
  assert.equal((await show('me')).name, 'administrator');
  assert.equal(await opened.access.principalId('ben'), made.id);
  assert.equal(await opened.access.principalId(made.id), made.id);
  await assert.rejects(opened.access.principalId('nobody'), refusal('not-found'));
});

test('who may not see others sees himself, and learns nothing of who there is', async () => {
  const user = await opened.person(administrator, 'carl', ['key-user']);
  assert.equal((await show('me', user)).name, 'carl');
  assert.equal((await show('carl', user)).name, 'carl');
  await assert.rejects(show('administrator', user), refusal('forbidden'));
  await assert.rejects(show('nobody', user), refusal('forbidden'));
  await assert.rejects(list({}, user), refusal('forbidden'));
  await assert.rejects(create('dan', [], user), refusal('forbidden'));
  await assert.rejects(update('carl', { roles: ['administrator'] }, user), refusal('forbidden'));
  await assert.rejects(update('nobody', { roles: [] }, user), refusal('forbidden'));
});

test('pages of principals hold each once, by name', async () => {
  const whole = (await list({ limit: 500 })).items.map((item) => item.name);
  assert.deepEqual(whole, [...whole].sort());
  const paged: string[] = [];
  let after: string | undefined;
  do {
    const page = await list({ limit: 2, after });
    assert.ok(page.items.length <= 2);
    paged.push(...page.items.map((item) => item.name));
    after = page.next ?? undefined;
  } while (after !== undefined);
  assert.deepEqual(paged, whole);
});

test('the last active administrator is neither disabled nor demoted', async () => {
  await assert.rejects(update('administrator', { state: 'disabled' }), refusal('conflict'));
  await assert.rejects(update('administrator', { roles: ['operator'] }), refusal('conflict'));
  await create('eva', ['administrator']);
  await update('eva', { state: 'disabled' });
  await assert.rejects(update('administrator', { roles: [] }), refusal('conflict'));
  await update('eva', { state: 'active' });
  await update('eva', { roles: ['administrator', 'operator'] });
  const view = await update('eva', { roles: [] });
  assert.deepEqual(view.roles, []);
});

test('of two administrators who demote each other at once, one stays', async (t) => {
  const own = await openAccess();
  t.after(() => own.close());
  const first = await own.administrator();
  const second = await own.person(first, 'bea', ['administrator']);
  const demote = (by: Caller, principal: string) =>
    own.handlers['principal.update'](call(by, { params: { principal }, body: { roles: [] } }));
  const results = await Promise.allSettled([demote(first, 'bea'), demote(second, 'administrator')]);
  assert.deepEqual(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
});

test('two changes of one principal at once: the second is told', async () => {
  await create('finn', []);
  const results = await Promise.allSettled([
    update('finn', { roles: ['operator'] }),
    update('finn', { roles: ['key-user'] }),
  ]);
  const refused = results.find((result) => result.status === 'rejected');
  assert.ok(refused !== undefined && refusal('conflict')(refused.reason));
});

test('changes stand on the record with the roles given', async () => {
  const made = await create('gus', []);
  await update('gus', { roles: ['operator'] });
  await assert.rejects(update('gus', { roles: ['operator', 'auditor'] }));
  const [done, refused] = (await opened.entries()).slice(-2);
  assert.deepEqual(
    [done!.action, done!.outcome, done!.resource],
    ['principal.update', 'ok', made.id],
  );
  assert.match(done!.detail!, /"roles":\["operator"\]/);
  assert.deepEqual([refused!.outcome, refused!.resource], ['roles-conflict', made.id]);
});
