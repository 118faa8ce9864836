import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startPostgres } from '../../test/postgres.ts';
import { addAuthority, addClient, change } from './certificates.fixture.ts';
import { defaultRules } from './default-rules.ts';
import { call, keyIn, openAccess, refusal, visitor } from './test-support.ts';

test('access works on PostgreSQL: logins, limits, tokens, roles and rules', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const opened = await openAccess({ databaseUrl: server.createDatabase('access') });
  t.after(() => opened.close());
  const { handlers } = opened;
  const administrator = await opened.administrator();
  const user = await opened.person(administrator, 'ada', ['key-user']);
  opened.access.authorise(user, 'key.sign', keyIn('apps'));

  const first = await opened.token(user);
  const second = await opened.token(await opened.caller(first));
  const { credentialId } = await opened.caller(first);
  await handlers['token.revoke'](call(user, { params: { token: credentialId } }));
  await assert.rejects(opened.caller(second), refusal('unauthenticated', /revoked/));
  const { items } = await handlers['token.list'](call(user, { query: { limit: 2 } }));
  assert.equal(items.length, 2);

  const update = (principal: string, body: object) =>
    handlers['principal.update'](call(administrator, { params: { principal }, body }));
  await assert.rejects(update('administrator', { roles: [] }), refusal('conflict'));
  await update('ada', { roles: ['operator'] });
  await assert.rejects(
    opened.storage.commit({ steps: opened.access.stillAllowed(user), entries: [] }),
    refusal('forbidden'),
  );

  const applied = await handlers['access.apply'](
    call(administrator, { body: { policies: `${defaultRules}\n// more`, sawVersion: 0 } }),
  );
  assert.equal(applied.version, 1);
  const again = await opened.administrator();
  await opened.storage.commit({ steps: opened.access.stillAllowed(again), entries: [] });

  for (let attempt = 0; attempt < 10; attempt++) {
    await assert.rejects(opened.login('wrong', '192.0.2.99'), refusal('login-code-invalid'));
  }
  await assert.rejects(opened.login('wrong', '192.0.2.99'), refusal('rate-limited'));
  await opened.storage.commit({ steps: opened.access.expired(), entries: [] });
});

test('client certificates log in on PostgreSQL, and bindings are unique there', async (t) => {
  const server = startPostgres(t);
  if (server === undefined) return;
  t.after(() => server.remove());
  const opened = await openAccess({ databaseUrl: server.createDatabase('certificates') });
  t.after(() => opened.close());
  opened.clock.milliseconds = Date.now() + 3_600_000;
  const administrator = await opened.administrator();
  const root = await addAuthority(opened, 'ca/root');
  const issuing = await addAuthority(opened, 'ca/issuing', root);
  await opened.person(administrator, 'ada', ['key-user']);
  const bind = (principal: string) =>
    opened.handlers['principal.bind'](
      call(administrator, {
        params: { principal },
        body: { ca: 'ca/issuing', kind: 'dns', value: 'ada.example' },
      }),
    );
  await bind('ada');
  await assert.rejects(bind('administrator'), refusal('already-exists'));
  const shown: (readonly string[])[] = [];
  await opened.access.followClientAuthorities((list) => shown.push(list));
  assert.deepEqual(shown, [[issuing.pem]]);

  const client = await addClient(opened, issuing, { names: 'DNS:ada.example' });
  const login = () =>
    opened.access.authenticate({ ...visitor, bearer: undefined, certificate: client.fingerprint });
  const caller = await login();
  assert.equal(caller.principalName, 'ada');
  const commit = () =>
    opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] });
  await commit();
  await change(opened, 'key_version', root.caId, { state: 'compromised' });
  await assert.rejects(commit(), refusal('unauthenticated', /lost its standing/));
  await change(opened, 'key_version', root.caId, { state: 'active' });
  await change(opened, 'certificate', client.id, { revoked_at: 1, reason: 'superseded' });
  await assert.rejects(commit(), refusal('unauthenticated', /was revoked/));
  await assert.rejects(login(), refusal('unauthenticated', /was revoked/));
});
