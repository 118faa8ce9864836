import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { newId } from '../base/ids.ts';
import { bindingsMax } from './bindings.ts';
import { addAuthority, type TestAuthority } from './certificates.fixture.ts';
import { defaultRules } from './default-rules.ts';
import { call, openAccess, refusal, type TestAccess, visitor } from './test-support.ts';

let opened: TestAccess;
let administrator: Caller;
let clients: TestAuthority;
before(async () => {
  opened = await openAccess();
  opened.clock.milliseconds = Date.now() + 3_600_000;
  administrator = await opened.administrator();
  clients = await addAuthority(opened, 'ca/clients');
});
after(() => opened.close());

const bind = (principal: string, body: object = {}, by = administrator) =>
  opened.handlers['principal.bind'](
    call(by, {
      params: { principal },
      body: { ca: 'ca/clients', kind: 'dns', value: 'app.example', ...body } as never,
    }),
  );
const unbind = (binding: string, by = administrator) =>
  opened.handlers['principal.unbind'](call(by, { params: { binding } }));
const list = (principal: string, by = administrator) =>
  opened.handlers['principal.bindings'](call(by, { params: { principal } }));

async function create(name: string, roles: string[] = []): Promise<void> {
  await opened.handlers['principal.create'](
    call(administrator, { body: { name, kind: 'service', roles } }),
  );
}

test('a binding is made, listed, ended, and each is an entry of the record', async () => {
  await create('listed');
  const before = opened.storage.epoch;
  const made = await bind('listed', { value: 'Listed.Example' });
  assert.ok(opened.storage.epoch > before, 'making one raises the epoch');
  assert.match(made.id, /^bnd_/);
  assert.deepEqual(
    { ...made, id: '', createdAt: '' },
    {
      ...{ id: '', principal: 'listed', ca: 'ca/clients', kind: 'dns', value: 'listed.example' },
      createdAt: '',
    },
  );
  const entry = (await opened.entries()).at(-1);
  assert.equal(entry?.action, 'principal.bind');
  assert.equal(entry?.outcome, 'ok');
  assert.equal(entry?.resource, await opened.access.principalId('listed'));
  assert.equal(entry?.keyId, clients.caId);
  assert.equal(entry?.keyName, 'ca/clients');
  assert.deepEqual(JSON.parse(entry?.detail ?? ''), {
    binding: made.id,
    made: { kind: 'dns', value: 'listed.example' },
  });
  assert.deepEqual((await list('listed')).items, [made]);
  const epoch = opened.storage.epoch;
  assert.deepEqual(await unbind(made.id), made);
  assert.ok(opened.storage.epoch > epoch, 'ending one raises the epoch');
  assert.deepEqual((await list('listed')).items, []);
  assert.match((await opened.entries()).at(-1)?.detail ?? '', /"ended"/);
  await assert.rejects(unbind(made.id), refusal('not-found', /no such binding/));
});

test('values are brought into the one form in which certificates are compared', async () => {
  await create('formed');
  const hex = 'AB'.repeat(32);
  for (const [kind, given, stored] of [
    ['dns', 'WWW.Example.ORG', 'www.example.org'],
    ['dns', 'bücher.example', 'xn--bcher-kva.example'],
    ['email', 'Ada@Example.ORG', 'Ada@example.org'],
    ['uri', 'spiffe://example.org/a', 'spiffe://example.org/a'],
    ['subject', '/C=DE/O=Example/CN=formed', 'CN=formed,O=Example,C=DE'],
    ['key', hex.replace(/..(?=.)/g, '$&:'), hex.toLowerCase()],
    ['certificate', hex, hex.toLowerCase()],
  ] as const) {
    assert.equal((await bind('formed', { kind, value: given })).value, stored, given);
  }
});

test('values that are none are refused', async () => {
  await create('unformed');
  for (const [kind, value, code] of [
    ['dns', 'not a name', 'subject-not-allowed'],
    ['dns', '', 'subject-not-allowed'],
    ['email', 'nobody', 'subject-not-allowed'],
    ['uri', 'no scheme', 'subject-not-allowed'],
    ['subject', 'CN', 'subject-not-allowed'],
    ['key', 'ab'.repeat(31), 'invalid-request'],
    ['certificate', 'xy'.repeat(32), 'invalid-request'],
  ] as const) {
    await assert.rejects(bind('unformed', { kind, value }), refusal(code), `${kind} ${value}`);
  }
  assert.deepEqual((await list('unformed')).items, []);
});

test('a name of a CA leads to one principal', async () => {
  await create('one');
  await create('two');
  const { id } = await bind('one', { value: 'taken.example' });
  for (const principal of ['one', 'two']) {
    await assert.rejects(
      bind(principal, { value: 'TAKEN.example' }),
      refusal('already-exists', /dns taken\.example already/),
    );
  }
  const other = await addAuthority(opened, 'ca/other');
  await bind('two', { ca: other.caId, value: 'taken.example' });
  await unbind(id);
  await bind('two', { value: 'taken.example' });
});

test('what is not there is not bound, and a refusal is on the record', async () => {
  await create('there');
  await assert.rejects(bind('nobody'), refusal('not-found', /principal "nobody"/));
  await assert.rejects(
    bind('there', { ca: 'ca/nowhere' }),
    refusal('not-found', /CA "ca\/nowhere"/),
  );
  assert.equal((await opened.entries()).at(-1)?.outcome, 'not-found');
  await assert.rejects(unbind(newId('bnd')), refusal('not-found'));
  await assert.rejects(unbind('there'), refusal('not-found'));
});

test('a disabled principal, and the CA of the service itself, are not bound', async () => {
  await create('off');
  await opened.handlers['principal.update'](
    call(administrator, { params: { principal: 'off' }, body: { state: 'disabled' } }),
  );
  await assert.rejects(bind('off'), refusal('conflict', /disabled/));
  await addAuthority(opened, 'system/tls');
  await create('own');
  await assert.rejects(
    bind('own', { ca: 'system/tls' }),
    refusal('forbidden', /the service itself alone/),
  );
});

test('who may not bind learns nothing, and may neither bind nor end', async () => {
  await create('guarded');
  const made = await bind('guarded', { value: 'guarded.example' });
  for (const role of ['operator', 'security-reviewer', 'auditor']) {
    const person = await opened.person(administrator, `plain-${role}`, [role]);
    for (const principal of ['guarded', 'nobody', 'me']) {
      await assert.rejects(
        bind(principal, { value: 'x.example' }, person),
        refusal('forbidden', /principal\.bind/),
      );
    }
    for (const binding of [made.id, newId('bnd')]) {
      await assert.rejects(unbind(binding, person), refusal('forbidden', /principal\.bind/));
    }
  }
  const user = await opened.person(administrator, 'plain-user', ['key-user']);
  await assert.rejects(list('guarded', user), refusal('forbidden'));
  await bind('plain-user', { value: 'user.example' });
  assert.equal((await list('me', user)).items.length, 1);
});

test('a token narrowed to folders or roles binds nothing that its maker could', async () => {
  await create('narrow');
  const made = await bind('narrow', { value: 'narrow.example' });
  for (const body of [{ folders: ['ca'] }, { roles: ['operator'] }]) {
    const narrowed = await opened.caller(await opened.token(administrator, body));
    await assert.rejects(bind('narrow', { value: 'y.example' }, narrowed), refusal('forbidden'));
    await assert.rejects(unbind(made.id, narrowed), refusal('forbidden'));
  }
});

test('the right to bind alone gives nobody rights that its holder lacks', async () => {
  const binder = await opened.person(administrator, 'binder', ['operator']);
  await create('stronger', ['key-user']);
  await create('equal', ['operator']);
  const permit = (actions: string) =>
    `${defaultRules}\npermit (principal in Role::"operator", action in [${actions}], resource);\n`;
  const apply = async (policies: string) => {
    const { version } = await opened.handlers['access.show'](call(administrator, {}));
    await opened.handlers['access.apply'](
      call(administrator, { body: { policies, sawVersion: version } }),
    );
    // Calls that came in under the rules of before are refused.
    administrator = await opened.caller(await opened.token(await opened.administrator()));
  };
  const again = () => opened.access.authenticate({ ...visitor, bearer: token });
  const token = await opened.token(binder);

  await apply(permit('Action::"principal.bind"'));
  await assert.rejects(
    bind('equal', { value: 'e.example' }, await again()),
    refusal('forbidden', /ca\.show/),
  );
  await apply(permit('Action::"principal.bind", Action::"ca.show"'));
  await bind('equal', { value: 'e.example' }, await again());
  for (const principal of ['stronger', 'administrator']) {
    await assert.rejects(
      bind(principal, { value: 's.example' }, await again()),
      refusal('forbidden', /never gives more rights .* you do not have (key-user|administrator)/),
    );
  }
  await apply(permit('Action::"principal.bind", Action::"ca.show", Action::"principal.enrol"'));
  await bind('stronger', { value: 's.example' }, await again());
  await apply(`${defaultRules}\n// as before\n`);
});

test('a principal has so many bindings and no more', async () => {
  await create('many');
  const principalId = await opened.access.principalId('many');
  const rows = Array.from({ length: bindingsMax - 1 }, (_, index) => ({
    ...{ id: newId('bnd'), principal_id: principalId, ca_id: clients.caId, kind: 'dns' },
    ...{ value: `many-${index}.example`, created_at: 1, created_by: principalId },
  }));
  const insert = opened.storage.db.insertInto('certificate_binding').values(rows).compile();
  await opened.storage.commit({ steps: [{ query: insert }], entries: [] });
  await bind('many', { value: 'last.example' });
  await assert.rejects(
    bind('many', { value: 'over.example' }),
    refusal('conflict', /1000 bindings/),
  );
});

test('the CAs that have bindings are followed as they change', async () => {
  const own = await openAccess();
  try {
    own.clock.milliseconds = Date.now() + 3_600_000;
    const by = await own.administrator();
    const shown: string[][] = [];
    await own.access.followClientAuthorities((list) => shown.push([...list]));
    assert.deepEqual(shown.splice(0), [[]]);
    const first = await addAuthority(own, 'ca/first');
    const second = await addAuthority(own, 'ca/second', first);
    await own.handlers['principal.create'](
      call(by, { body: { name: 'app', kind: 'service', roles: [] } }),
    );
    const make = (ca: string, value: string) =>
      own.handlers['principal.bind'](
        call(by, { params: { principal: 'app' }, body: { ca, kind: 'dns', value } }),
      );
    const settled = async () => {
      for (let round = 0; round < 200 && shown.length === 0; round++) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return shown.splice(0).at(-1);
    };
    await make('ca/second', 'a.example');
    assert.deepEqual(await settled(), [second.pem]);
    own.clock.advance(1);
    const { id } = await make('ca/first', 'a.example');
    assert.deepEqual(await settled(), [second.pem, first.pem]);
    await make('ca/first', 'b.example');
    await own.handlers['principal.unbind'](call(by, { params: { binding: id } }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(shown, [], 'the CAs are as before');
  } finally {
    await own.close();
  }
});
