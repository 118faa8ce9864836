import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { call, keyIn, openAccess, refusal, type TestAccess } from './test-support.ts';
import { tokenChainMax } from './token-chain.ts';

let opened: TestAccess;
let administrator: Caller;
before(async () => {
  opened = await openAccess();
  administrator = await opened.administrator();
});
after(() => opened.close());

const list = (by: Caller, query: object = {}) =>
  opened.handlers['token.list'](call(by, { query: { limit: 50, ...query } }));

test('the first administrator makes tokens of each role that it includes', async () => {
  for (const role of ['administrator', 'key-maker', 'key-user', 'operator']) {
    const caller = await opened.caller(await opened.token(administrator, { roles: [role] }));
    assert.deepEqual(caller.roles, [role]);
  }
});

test('a token never has a role that its maker does not have', async () => {
  for (const role of ['security-reviewer', 'auditor', 'packaging-engineer']) {
    await assert.rejects(
      opened.token(administrator, { roles: [role] }),
      refusal('forbidden', new RegExp(`never has more rights than its maker.*${role}`)),
    );
  }
  const narrow = await opened.caller(await opened.token(administrator, { roles: ['key-user'] }));
  await assert.rejects(opened.token(narrow, { roles: ['key-maker'] }), refusal('forbidden'));
  await assert.rejects(opened.token(narrow, { roles: ['administrator'] }), refusal('forbidden'));
  await assert.rejects(
    opened.token(narrow, { roles: ['boss'] }),
    refusal('invalid-request', /boss/),
  );
  assert.deepEqual((await opened.caller(await opened.token(narrow))).roles, ['key-user']);
});

test('a token never reaches a folder that its maker does not reach', async () => {
  const maker = await opened.caller(await opened.token(administrator, { folders: ['apps'] }));
  await assert.rejects(opened.token(maker, { folders: ['ca'] }), refusal('forbidden', /"ca"/));
  await assert.rejects(
    opened.token(maker, { folders: ['apps/a', 'application'] }),
    refusal('forbidden'),
  );
  const inner = await opened.caller(await opened.token(maker, { folders: ['apps/a'] }));
  opened.access.authorise(inner, 'key.sign', keyIn('apps/a/b'));
  assert.throws(
    () => opened.access.authorise(inner, 'key.sign', keyIn('apps/b')),
    refusal('forbidden', /narrowed to apps\/a/),
  );
  const same = await opened.caller(await opened.token(maker));
  assert.deepEqual(same.folders, ['apps'], 'what is left out is as the maker has it');
});

test('a token never outlives its maker', async () => {
  const maker = await opened.caller(await opened.token(administrator, { ttlSeconds: 120 }));
  const body = { label: '', ttlSeconds: 86_400 };
  const made = await opened.handlers['token.create'](call(maker, { body }));
  assert.equal(Date.parse(made.expiresAt), opened.clock.now() + 120_000);
});

test('a rule against the role of a maker holds for the narrower tokens it makes', async (t) => {
  const own = await openAccess();
  t.after(() => own.close());
  const first = await own.administrator();
  const { policies } = await own.handlers['access.show'](call(first, {}));
  const forbid = `forbid (principal in Role::"administrator", action, resource in Folder::"apps/secret");`;
  await own.handlers['access.apply'](call(first, { body: { policies: `${policies}\n${forbid}` } }));
  const again = await own.administrator();
  const narrow = await own.caller(await own.token(again, { roles: ['key-user'] }));
  own.access.authorise(narrow, 'key.sign', keyIn('apps'));
  const person = await own.person(again, 'ada', ['key-user', 'operator']);
  for (const caller of [again, narrow]) {
    assert.throws(
      () => own.access.authorise(caller, 'key.sign', keyIn('apps/secret')),
      refusal('forbidden'),
    );
  }
  assert.deepEqual(person.standing?.bounds, [], 'a login rests on nobody else');
});

test('a token for another principal lies within the rights of both', async () => {
  const service = { name: 'billing', kind: 'service', roles: ['key-user', 'operator'] } as const;
  await opened.handlers['principal.create'](call(administrator, { body: service as never }));
  const token = await opened.token(administrator, { principal: 'billing', roles: ['key-user'] });
  const caller = await opened.caller(token);
  assert.equal(caller.principalName, 'billing');
  assert.deepEqual(caller.roles, ['key-user']);
  assert.deepEqual(caller.standing!.principals.length, 2, 'it rests on maker and principal');
  await assert.rejects(
    opened.token(administrator, { principal: 'billing', roles: ['key-maker'] }),
    refusal('forbidden', /"billing" does not have key-maker/),
  );
  const reviewer = { name: 'rita', kind: 'person', roles: ['security-reviewer'] } as const;
  await opened.handlers['principal.create'](call(administrator, { body: reviewer as never }));
  await assert.rejects(
    opened.token(administrator, { principal: 'rita' }),
    refusal('forbidden', /never has more rights than its maker/),
  );
});

test('a token made for another ends when its maker is disabled, or loses what it gave', async (t) => {
  const own = await openAccess();
  t.after(() => own.close());
  const first = await own.administrator();
  const second = await own.person(first, 'bea', ['administrator']);
  const service = { name: 'app', kind: 'service', roles: ['key-user', 'operator'] };
  await own.handlers['principal.create'](call(first, { body: service as never }));
  const token = await own.token(second, { principal: 'app' });
  assert.deepEqual((await own.caller(token)).roles, ['key-user', 'operator']);
  const update = (body: object) =>
    own.handlers['principal.update'](call(first, { params: { principal: 'bea' }, body }));
  await update({ roles: ['key-user'] });
  assert.deepEqual((await own.caller(token)).roles, ['key-user']);
  await update({ state: 'disabled' });
  await assert.rejects(own.caller(token), refusal('unauthenticated', /"bea" is disabled/));
});

test('only who may make tokens for others does, and learns nothing of who there is', async () => {
  const user = await opened.person(administrator, 'ulla', ['key-user']);
  await assert.rejects(opened.token(user, { principal: 'administrator' }), refusal('forbidden'));
  await assert.rejects(opened.token(user, { principal: 'nobody' }), refusal('forbidden'));
  await assert.rejects(opened.token(administrator, { principal: 'nobody' }), refusal('not-found'));
});

test('a disabled principal gets no token and no login code', async () => {
  const gone = { name: 'gone', kind: 'service', roles: [] };
  await opened.handlers['principal.create'](call(administrator, { body: gone as never }));
  await opened.handlers['principal.update'](
    call(administrator, { params: { principal: 'gone' }, body: { state: 'disabled' } }),
  );
  await assert.rejects(
    opened.token(administrator, { principal: 'gone' }),
    refusal('conflict', /disabled/),
  );
  await assert.rejects(
    opened.handlers['principal.enrol'](
      call(administrator, { params: { principal: 'gone' }, body: {} }),
    ),
    refusal('conflict', /disabled/),
  );
});

test('a chain of tokens has an end', async () => {
  let caller = await opened.caller(await opened.token(administrator));
  for (let depth = 1; depth < tokenChainMax; depth++) {
    caller = await opened.caller(await opened.token(caller));
  }
  await assert.rejects(opened.token(caller), refusal('forbidden', /at most 8/));
  // A login code stands below its maker, too: one that could not work is not made.
  await assert.rejects(
    opened.handlers['principal.enrol'](call(caller, { params: { principal: 'me' }, body: {} })),
    refusal('forbidden', /at most 8/),
  );
});

test('a token is shown once; lists hold what may be known of it', async () => {
  const user = await opened.person(administrator, 'vera', ['key-user']);
  const token = await opened.token(user, { label: 'pipeline', folders: ['apps'] });
  const { items } = await list(user);
  assert.ok(!JSON.stringify(items).includes(token));
  const made = items.find((item) => item.label === 'pipeline')!;
  assert.deepEqual(made.roles, ['key-user']);
  assert.deepEqual(made.folders, ['apps']);
  assert.ok(items.every((item) => item.principal === 'vera'));
});

test('who may not see the tokens of others sees his own alone', async () => {
  const user = await opened.person(administrator, 'wim', ['key-user']);
  assert.ok((await list(user)).items.every((item) => item.principal === 'wim'));
  await assert.rejects(list(user, { principal: 'administrator' }), refusal('forbidden'));
  const seen = new Set((await list(administrator)).items.map((item) => item.principal));
  assert.ok(seen.has('wim') && seen.has('administrator'));
  const his = await list(administrator, { principal: 'wim' });
  assert.ok(his.items.length > 0 && his.items.every((item) => item.principal === 'wim'));
});

test('pages of tokens hold each once', async () => {
  const whole = (await list(administrator, { limit: 500 })).items.map((item) => item.id);
  const paged: string[] = [];
  let after: string | undefined;
  do {
    const page = await list(administrator, { limit: 3, after });
    assert.ok(page.items.length <= 3);
    paged.push(...page.items.map((item) => item.id));
    after = page.next ?? undefined;
  } while (after !== undefined);
  assert.deepEqual(paged, whole);
});

test('everybody revokes his own tokens, others only who may', async () => {
  const user = await opened.person(administrator, 'xena', ['key-user']);
  const other = await opened.person(administrator, 'yves', ['key-user']);
  const revoke = (by: Caller, token: string) =>
    opened.handlers['token.revoke'](call(by, { params: { token } }));
  await assert.rejects(revoke(user, other.credentialId), refusal('forbidden'));
  await assert.rejects(revoke(user, 'tok_none'), refusal('forbidden'));
  await assert.rejects(revoke(administrator, 'tok_none'), refusal('not-found'));
  const view = await revoke(user, 'current');
  assert.equal(view.id, user.credentialId);
  assert.notEqual(view.revokedAt, null);
  await revoke(administrator, other.credentialId);
  const again = await revoke(administrator, other.credentialId);
  assert.equal(again.id, other.credentialId, 'revoking twice answers the same');
});

test('a repeated request with one idempotency key makes one token', async () => {
  const request = call(administrator, { body: { label: 'once', ttlSeconds: 60 } });
  const once = { ...request, idempotencyKey: 'key-1' };
  const first = await opened.handlers['token.create'](once);
  const second = await opened.handlers['token.create'](once);
  assert.deepEqual(second, first);
  const { items } = await list(administrator, { limit: 500 });
  assert.equal(items.filter((item) => item.label === 'once').length, 1);
});

test('what is made and refused stands on the record, without the token', async () => {
  const token = await opened.token(administrator, { label: 'recorded', roles: ['key-user'] });
  await assert.rejects(opened.token(administrator, { roles: ['auditor'] }));
  const entries = await opened.entries();
  const [made, refused] = entries.slice(-2);
  assert.equal(made!.action, 'token.create');
  assert.equal(made!.outcome, 'ok');
  assert.match(made!.resource!, /^tok_/);
  assert.match(made!.detail!, /"roles":\["key-user"\]/);
  assert.equal(refused!.outcome, 'forbidden');
  assert.ok(!JSON.stringify(entries).includes(token));
});

test('tokens are forgotten long after they ended', async (t) => {
  const own = await openAccess();
  t.after(() => own.close());
  const first = await own.administrator();
  await own.storage.commit({ steps: own.access.expired(), entries: [] });
  await own.caller(await own.token(first));
  own.clock.advance(12 * 3600 + 90 * 86_400 + 1);
  await own.storage.commit({ steps: own.access.expired(), entries: [] });
  assert.deepEqual(await own.storage.db.selectFrom('token').select('id').execute(), []);
});
