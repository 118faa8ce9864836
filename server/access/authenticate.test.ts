import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { call, keyIn, openAccess, refusal, type TestAccess, visitor } from './test-support.ts';
import { isToken, makeToken, tokenHash, tokenLengthLetters } from './token-format.ts';

let opened: TestAccess;
let administrator: Caller;
before(async () => {
  opened = await openAccess();
  administrator = await opened.administrator();
});
after(() => opened.close());

test('a token has a prefix, 256 random bits and a checksum', () => {
  const token = makeToken();
  assert.match(token, /^krv_[0-9A-Za-z]{49}$/);
  assert.equal(token.length, tokenLengthLetters);
  assert.ok(isToken(token));
  assert.notEqual(makeToken(), token);
  for (let index = 0; index < token.length; index++) {
    const letter = token[index] === 'A' ? 'B' : 'A';
    assert.ok(!isToken(token.slice(0, index) + letter + token.slice(index + 1)), `at ${index}`);
  }
  assert.ok(!isToken(token.slice(0, -1)));
  assert.ok(!isToken(`${token}0`));
});

test('a token is stored as its hash alone', async () => {
  const token = await opened.token(administrator);
  const rows = await opened.storage.db.selectFrom('token').selectAll().execute();
  const text = JSON.stringify(
    rows.map((row) => ({ ...row, hash: Buffer.from(row.hash).toString('latin1') })),
  );
  assert.ok(!text.includes(token));
  assert.ok(rows.some((row) => Buffer.from(row.hash).equals(tokenHash(token))));
});

test('a call without a token, with a cut one or one nobody made is refused', async () => {
  const { access } = opened;
  await assert.rejects(
    access.authenticate({ ...visitor, bearer: undefined }),
    refusal('unauthenticated', /no token/),
  );
  await assert.rejects(opened.caller(''), refusal('unauthenticated', /no token/));
  await assert.rejects(opened.caller('krv_abc'), refusal('unauthenticated', /whole/));
  const token = await opened.token(administrator);
  await assert.rejects(opened.caller(token.slice(0, -1)), refusal('unauthenticated', /whole/));
  await assert.rejects(opened.caller(makeToken()), refusal('unauthenticated', /not known/));
});

test('a caller carries who calls, from where, and the epoch', async () => {
  const caller = await opened.caller(await opened.token(administrator, { roles: ['key-user'] }));
  assert.equal(caller.principalName, 'administrator');
  assert.deepEqual(caller.roles, ['key-user']);
  assert.equal(caller.address, visitor.address);
  assert.equal(caller.correlationId, visitor.correlationId);
  assert.equal(caller.epoch, opened.storage.epoch);
});

test('a token ends to the millisecond, in memory or not', async () => {
  const token = await opened.token(administrator, { ttlSeconds: 60 });
  const unseen = await opened.token(administrator, { ttlSeconds: 60 });
  const start = opened.clock.milliseconds;
  opened.clock.milliseconds = start + 59_999;
  await opened.caller(token);
  opened.clock.milliseconds = start + 60_000;
  await assert.rejects(opened.caller(token), refusal('unauthenticated', /expired/));
  await assert.rejects(opened.caller(unseen), refusal('unauthenticated', /expired/));
  opened.clock.milliseconds = start;
});

test('a revoked token is refused at once, and everything made with it', async () => {
  const first = await opened.token(administrator);
  const firstCaller = await opened.caller(first);
  const second = await opened.token(firstCaller);
  const third = await opened.token(await opened.caller(second));
  const beside = await opened.token(administrator);
  for (const token of [first, second, third, beside]) await opened.caller(token);
  await opened.handlers['token.revoke'](
    call(administrator, { params: { token: firstCaller.credentialId } }),
  );
  for (const token of [first, second, third]) {
    await assert.rejects(opened.caller(token), refusal('unauthenticated', /revoked/));
    const row = await opened.storage.db
      .selectFrom('token')
      .select('revoked_at')
      .where('hash', '=', tokenHash(token))
      .executeTakeFirst();
    assert.equal(row?.revoked_at, opened.clock.now(), 'lists show each as revoked');
  }
  await opened.caller(beside);
});

test('a disabled principal is refused at once, and lets in again once it is enabled', async () => {
  const caller = await opened.person(administrator, 'dora', ['key-user']);
  const token = await opened.token(caller);
  await opened.caller(token);
  const update = (state: 'active' | 'disabled') =>
    opened.handlers['principal.update'](
      call(administrator, { params: { principal: 'dora' }, body: { state } }),
    );
  await update('disabled');
  await assert.rejects(opened.caller(token), refusal('unauthenticated', /disabled/));
  await assert.rejects(opened.access.recheck(caller), refusal('unauthenticated', /disabled/));
  await update('active');
  await opened.caller(token);
});

test('roles that a principal loses are lost to its tokens at once', async () => {
  const caller = await opened.person(administrator, 'emil', ['key-user', 'key-maker']);
  const wide = await opened.token(caller);
  const narrow = await opened.token(caller, { roles: ['key-maker'] });
  await opened.handlers['principal.update'](
    call(administrator, { params: { principal: 'emil' }, body: { roles: ['key-user'] } }),
  );
  assert.deepEqual((await opened.caller(wide)).roles, ['key-user']);
  assert.deepEqual((await opened.caller(narrow)).roles, []);
});

test('a call under way is rechecked: it stands where what it does is still allowed', async () => {
  const { access, handlers } = opened;
  const caller = await opened.person(administrator, 'fred', ['key-user', 'operator']);
  await access.recheck(caller);
  const set = (roles: string[]) =>
    handlers['principal.update'](
      call(administrator, { params: { principal: 'fred' }, body: { roles } }),
    );
  await set(['key-user']);
  await access.recheck(caller, 'key.sign', keyIn('apps'));
  await assert.rejects(
    access.recheck(caller, 'backup.create', { type: 'system' }),
    refusal('forbidden', /backup.create/),
  );
  await assert.rejects(access.recheck(caller), refusal('forbidden', /meanwhile/));
  await handlers['token.revoke'](call(administrator, { params: { token: caller.credentialId } }));
  await assert.rejects(
    access.recheck(caller, 'key.sign', keyIn('apps')),
    refusal('unauthenticated', /revoked/),
  );
});

test('an unrelated change of the epoch leaves a call standing', async () => {
  const caller = await opened.person(administrator, 'gina', ['key-user']);
  const { epoch } = await opened.storage.commit({ steps: [], entries: [], raisesEpoch: true });
  assert.ok(epoch > caller.epoch);
  await opened.access.recheck(caller);
  await opened.access.recheck(caller, 'key.sign', keyIn('apps'));
});

test('a commit fails where token, principal or rules changed after the call came in', async () => {
  const { access, storage, handlers } = opened;
  const caller = await opened.person(administrator, 'hugo', ['key-user']);
  const commit = (by: Caller) => storage.commit({ steps: access.stillAllowed(by), entries: [] });
  await commit(caller);
  await handlers['principal.update'](
    call(administrator, { params: { principal: 'hugo' }, body: { roles: ['operator'] } }),
  );
  await assert.rejects(commit(caller), refusal('forbidden', /changed meanwhile/));
  const again = await opened.caller(await opened.token(administrator, { ttlSeconds: 60 }));
  const start = opened.clock.milliseconds;
  opened.clock.milliseconds = start + 60_000;
  await assert.rejects(commit(again), refusal('unauthenticated'));
  opened.clock.milliseconds = start;
  await commit(again);
  const { version, policies } = await handlers['access.show'](call(administrator, {}));
  await handlers['access.apply'](
    call(administrator, { body: { policies: `${policies}\n`, sawVersion: version } }),
  );
  await assert.rejects(commit(again), refusal('forbidden', /rules/));
  // The administrator's own call came in before the rules changed.
  await assert.rejects(
    handlers['token.revoke'](call(administrator, { params: { token: again.credentialId } })),
    refusal('forbidden', /rules/),
  );
  assert.throws(
    () => access.stillAllowed({ ...caller, standing: undefined } as never),
    refusal('unauthenticated'),
  );
});
