import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { newId } from '../base/ids.ts';
import { aboveTerm, type Step } from '../storage/storage.ts';
import {
  addAuthority,
  addClient,
  change,
  type TestAuthority,
  type TestCertificate,
} from './certificates.fixture.ts';
import { call, keyIn, openAccess, refusal, type TestAccess, visitor } from './test-support.ts';

let opened: TestAccess;
let administrator: Caller;
let count = 0;
before(async () => {
  opened = await openAccess();
  opened.clock.milliseconds = Date.now() + 3_600_000;
  administrator = await opened.administrator();
});
after(() => opened.close());

interface Scene {
  readonly root: TestAuthority;
  readonly issuing: TestAuthority;
  readonly client: TestCertificate;
  readonly principal: string;
  readonly bindingId: string;
  /** As it came in before what happens next. */
  readonly caller: Caller;
}

async function scene(): Promise<Scene> {
  count += 1;
  const principal = `service-${count}`;
  const root = await addAuthority(opened, `ca/root-${count}`);
  const issuing = await addAuthority(opened, `ca/issuing-${count}`, root);
  await opened.handlers['principal.create'](
    call(administrator, { body: { name: principal, kind: 'service', roles: ['key-user'] } }),
  );
  const { id } = await opened.handlers['principal.bind'](
    call(administrator, {
      params: { principal },
      body: { ca: issuing.name, kind: 'dns', value: 'app.example' },
    }),
  );
  const client = await addClient(opened, issuing, { names: 'DNS:app.example' });
  return { root, issuing, client, principal, bindingId: id, caller: await login(client) };
}

const login = ({ fingerprint }: TestCertificate) =>
  opened.access.authenticate({ ...visitor, bearer: undefined, certificate: fingerprint });

const update = (principal: string, body: { state?: 'active' | 'disabled'; roles?: string[] }) =>
  opened.handlers['principal.update'](call(administrator, { params: { principal }, body }));

/** The next request, a use under way, and a command under way: each is refused. */
async function refusesAll(
  { client, caller }: Scene,
  text: { now: RegExp; meanwhile: RegExp },
  code: 'unauthenticated' | 'forbidden' = 'unauthenticated',
): Promise<void> {
  await assert.rejects(login(client), refusal('unauthenticated', text.now));
  await assert.rejects(
    opened.access.recheck(caller, 'key.sign', keyIn('apps')),
    refusal('unauthenticated', text.now),
  );
  await assert.rejects(opened.access.recheck(caller), refusal('unauthenticated', text.now));
  await assert.rejects(
    opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] }),
    refusal(code, text.meanwhile),
  );
}

const revoked = { revoked_at: 1, reason: 'keyCompromise' };
const meanwhile = /certificate, or one above it, was revoked/;

test('revoking the certificate counts at once', async () => {
  const scenery = await scene();
  await change(opened, 'certificate', scenery.client.id, revoked);
  await refusesAll(scenery, { now: /was revoked/, meanwhile });
});

test('a certificate on hold is refused, and let in again when the hold ends', async () => {
  const scenery = await scene();
  const { client } = scenery;
  await change(opened, 'certificate', client.id, { revoked_at: 1, reason: 'certificateHold' });
  await refusesAll(scenery, { now: /is on hold/, meanwhile });
  await change(opened, 'certificate', client.id, { revoked_at: null, reason: null });
  await login(client);
});

test('revoking the CA, or the one above it, counts at once', async () => {
  for (const which of ['issuing', 'root'] as const) {
    const scenery = await scene();
    await change(opened, 'certificate', scenery[which].id, revoked);
    await refusesAll(scenery, { now: /a CA above it was revoked/, meanwhile });
  }
});

test('a compromised or destroyed key of a CA lets nobody in any more; a retired one does', async () => {
  for (const which of ['issuing', 'root'] as const) {
    const scenery = await scene();
    const { caId } = scenery[which];
    await change(opened, 'key_version', caId, { state: 'deactivated' });
    await login(scenery.client);
    await opened.access.recheck(scenery.caller);
    for (const state of ['compromised', 'destroyed']) {
      await change(opened, 'key_version', caId, { state });
      const now = new RegExp(`a CA above it has a key that is ${state}`);
      await refusesAll(scenery, { now, meanwhile: /lost its standing/ });
    }
  }
});

test('a CA that is being taken over, or has ended, lets nobody in', async () => {
  const taken = await scene();
  await change(opened, 'ca', taken.issuing.caId, { state: 'importing' });
  await refusesAll(taken, { now: /still being taken over/, meanwhile: /lost its standing/ });
  const over = await scene();
  const { milliseconds } = opened.clock;
  await change(opened, 'certificate', over.root.id, { not_after: milliseconds });
  await refusesAll(over, { now: /a CA above it has expired/, meanwhile: /has expired/ });
});

test('a CA whose time ends while a login is in memory ends the login', async () => {
  const { root, client } = await scene();
  const start = opened.clock.milliseconds;
  await change(opened, 'certificate', root.id, { not_after: start + 1000 });
  await login(client);
  opened.clock.milliseconds = start + 1000;
  await assert.rejects(login(client), refusal('unauthenticated', /has expired/));
  opened.clock.milliseconds = start;
});

test('above a CA that was certified outside, what is known to be revoked or over counts too', async () => {
  for (const [set, now, meanwhile] of [
    [revoked, /a CA above it was revoked/, /was revoked/],
    [{ not_after: 1 }, /a CA above it has expired/, /has expired/],
  ] as const) {
    const scenery = await scene();
    const { root, issuing } = scenery;
    // The CA outside has two rows: as one above, and as one that a CA of ours has certified.
    const above = await addClient(opened, root, { subject: '/CN=Outside' });
    const { db } = opened.storage;
    const { ca_id: _, ...named } = await db
      .selectFrom('certificate')
      .selectAll()
      .where('id', '=', above.id)
      .executeTakeFirstOrThrow();
    const row = { ...named, id: newId('crt'), ca_id: null, ca_version: null };
    const term = { term: aboveTerm(issuing.caId), certificate_id: row.id };
    await opened.storage.commit({
      steps: [
        { query: db.insertInto('certificate').values(row).compile() },
        { query: db.insertInto('certificate_name').values(term).compile() },
      ],
      entries: [],
    });
    await change(opened, 'certificate', issuing.id, { ca_id: null, ca_version: null });
    const caller = await login(scenery.client);
    assert.equal(caller.standing?.certificate?.certificateIds.length, 4);
    await change(opened, 'certificate', above.id, set);
    await refusesAll({ ...scenery, caller }, { now, meanwhile });
  }
});

test('a key that is blocked, or compromised here, logs nobody in by whatever certificate', async () => {
  for (const which of ['client', 'issuing', 'root'] as const) {
    const scenery = await scene();
    const { keyFingerprint } = scenery[which];
    const now = which === 'client' ? /for a key that is blocked/ : /has a key that is blocked/;
    const blocked = { reason: 'stolen', created_at: 1, created_by: 'prn_x' };
    const { db } = opened.storage;
    const block = db.insertInto('blocked_key').values({ ...blocked, fingerprint: keyFingerprint });
    const write = (query: Step['query']) =>
      opened.storage.commit({ steps: [{ query }], entries: [], raisesEpoch: true });
    await write(block.compile());
    await refusesAll(scenery, { now, meanwhile: /was blocked meanwhile/ });
    await write(db.deleteFrom('blocked_key').compile());
    await login(scenery.client);
  }
  const { client } = await scene();
  const other = await addAuthority(opened, `ca/other-${count}`);
  await change(opened, 'key_version', other.caId, {
    state: 'compromised',
    fingerprint: client.keyFingerprint,
  });
  await assert.rejects(login(client), refusal('unauthenticated', /for a key that is blocked/));
});

test('a path of CAs that leads round in a circle ends', async () => {
  const { root, issuing, client } = await scene();
  await change(opened, 'certificate', root.id, { ca_id: issuing.caId, ca_version: 1 });
  await assert.rejects(login(client), refusal('unauthenticated', /stands too deep/));
});

test('unbinding counts at once, and a new binding is another one', async () => {
  const scenery = await scene();
  const { bindingId, principal, issuing, client, caller } = scenery;
  await opened.handlers['principal.unbind'](
    call(administrator, { params: { binding: bindingId } }),
  );
  await refusesAll(scenery, { now: /bound to no principal/, meanwhile: /unbound meanwhile/ });
  await opened.handlers['principal.bind'](
    call(administrator, {
      params: { principal },
      body: { ca: issuing.name, kind: 'dns', value: 'app.example' },
    }),
  );
  await login(client);
  await assert.rejects(
    opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] }),
    refusal('unauthenticated', /unbound meanwhile/),
  );
});

test('disabling the principal counts at once', async () => {
  const scenery = await scene();
  await update(scenery.principal, { state: 'disabled' });
  await refusesAll(
    scenery,
    { now: /"service-\d+" is disabled/, meanwhile: /changed meanwhile/ },
    'forbidden',
  );
  await update(scenery.principal, { state: 'active' });
  await login(scenery.client);
});

test('roles that the principal loses are lost to the certificate at once', async () => {
  const { principal, client, caller } = await scene();
  await update(principal, { roles: ['operator'] });
  assert.deepEqual((await login(client)).roles, ['operator']);
  await assert.rejects(
    opened.access.recheck(caller, 'key.sign', keyIn('apps')),
    refusal('forbidden', /key\.sign/),
  );
  await assert.rejects(opened.access.recheck(caller), refusal('forbidden', /meanwhile/));
});

test('an unrelated change leaves a call by certificate standing', async () => {
  const { caller } = await scene();
  await opened.storage.commit({ steps: [], entries: [], raisesEpoch: true });
  await opened.access.recheck(caller);
  await opened.access.recheck(caller, 'key.sign', keyIn('apps'));
  await opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] });
});

test('a commit of a call by certificate fails where the rules changed', async () => {
  const { caller } = await scene();
  const { version, policies } = await opened.handlers['access.show'](call(administrator, {}));
  await opened.handlers['access.apply'](
    call(administrator, { body: { policies: `${policies}\n`, sawVersion: version } }),
  );
  await assert.rejects(
    opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] }),
    refusal('forbidden', /rules/),
  );
});
