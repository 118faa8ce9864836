import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { addAuthority, addClient, change, type TestAuthority } from './certificates.fixture.ts';
import { call, keyIn, openAccess, refusal, type TestAccess, visitor } from './test-support.ts';

let opened: TestAccess;
let administrator: Caller;
let root: TestAuthority;
let issuing: TestAuthority;
before(async () => {
  opened = await openAccess();
  // Certificates of openssl begin now.
  opened.clock.milliseconds = Date.now() + 3_600_000;
  administrator = await opened.administrator();
  root = await addAuthority(opened, 'ca/root');
  issuing = await addAuthority(opened, 'ca/clients', root);
});
after(() => opened.close());

const login = (certificate: { fingerprint: string }, address = visitor.address) =>
  opened.access.authenticate({
    ...visitor,
    address,
    bearer: undefined,
    certificate: certificate.fingerprint,
  });

async function service(name: string, roles: string[] = ['key-user']): Promise<string> {
  const body = { name, kind: 'service' as const, roles };
  return (await opened.handlers['principal.create'](call(administrator, { body }))).id;
}

const bind = (principal: string, kind: string, value: string, ca = issuing.name) =>
  opened.handlers['principal.bind'](
    call(administrator, { params: { principal }, body: { ca, kind, value } as never }),
  );
const unbind = (binding: string) =>
  opened.handlers['principal.unbind'](call(administrator, { params: { binding } }));

const refused = (text: RegExp) => refusal('unauthenticated', text);

test('a certificate logs in as the principal that its name is bound to', async () => {
  const id = await service('app', ['key-user', 'operator']);
  const client = await addClient(opened, issuing, { names: 'DNS:app.example,DNS:other.example' });
  await assert.rejects(login(client), refused(/bound to no principal/));
  await bind('app', 'dns', 'APP.example');
  const caller = await login(client);
  assert.equal(caller.principalId, id);
  assert.equal(caller.principalName, 'app');
  assert.deepEqual(caller.roles, ['key-user', 'operator']);
  assert.equal(caller.credentialId, client.id);
  assert.equal(caller.folders, undefined);
  assert.equal(caller.epoch, opened.storage.epoch);
  opened.access.authorise(caller, 'key.sign', keyIn('apps'));
  assert.throws(
    () => opened.access.authorise(caller, 'access.apply', { type: 'system' }),
    refusal('forbidden'),
  );
  await opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] });
});

test('every kind of binding leads to its principal, and to nobody by a part of it', async () => {
  const client = await addClient(opened, issuing, {
    subject: '/C=DE/O=Example/CN=kinds',
    names: 'email:Ada@Kinds.example,URI:spiffe://kinds.example/ada',
  });
  await service('kinds');
  const colons = client.keyFingerprint.toUpperCase().replace(/..(?=.)/g, '$&:');
  for (const [kind, wrong, right] of [
    ['email', 'ada@kinds.example', 'Ada@KINDS.example'],
    ['uri', 'spiffe://kinds.example/', 'spiffe://kinds.example/ada'],
    ['dns', 'kinds.example', undefined],
    ['subject', 'CN=kinds', 'CN=kinds, O=Example, C=DE'],
    ['key', client.fingerprint, colons],
    ['certificate', client.keyFingerprint, client.fingerprint],
  ] as const) {
    const { id: wrongId } = await bind('kinds', kind, wrong);
    await assert.rejects(login(client), refused(/bound to no principal/), `${kind} ${wrong}`);
    await unbind(wrongId);
    if (right === undefined) continue;
    const { id } = await bind('kinds', kind, right);
    assert.equal((await login(client)).principalName, 'kinds', `${kind} ${right}`);
    await unbind(id);
  }
});

test('a binding holds for its CA alone, not for one above or beside it', async () => {
  const beside = await addAuthority(opened, 'ca/beside', root);
  await service('beside');
  const client = await addClient(opened, beside, { names: 'DNS:beside.example' });
  await bind('beside', 'dns', 'beside.example', issuing.name);
  await bind('beside', 'dns', 'beside.example', root.name);
  await assert.rejects(login(client), refused(/bound to no principal/));
  await bind('beside', 'dns', 'beside.example', beside.name);
  await login(client);
});

test('names that lead to two principals let nobody in', async () => {
  await service('first');
  await service('second');
  const client = await addClient(opened, issuing, { names: 'DNS:one.example,DNS:two.example' });
  const { id: one } = await bind('first', 'dns', 'one.example');
  await bind('first', 'key', client.keyFingerprint);
  assert.equal((await login(client)).principalName, 'first');
  await bind('second', 'dns', 'two.example');
  await assert.rejects(login(client), refused(/more than one principal/));
  await unbind(one);
  await assert.rejects(login(client), refused(/more than one principal/));
});

test('what is not for TLS clients is refused', async () => {
  await service('wrong');
  await bind('wrong', 'dns', 'wrong.example');
  for (const [extensions, text] of [
    [['extendedKeyUsage=serverAuth'], /clientAuth/],
    [[], /clientAuth/],
    [['extendedKeyUsage=2.5.29.37.0'], /clientAuth/],
    [['extendedKeyUsage=clientAuth', 'keyUsage=keyAgreement'], /digitalSignature/],
    [['extendedKeyUsage=clientAuth', '1.2.3.4=critical,DER:0500'], /1\.2\.3\.4/],
  ] as const) {
    const client = await addClient(opened, issuing, { names: 'DNS:wrong.example', extensions });
    await assert.rejects(login(client), refused(text));
  }
  const plain = await addClient(opened, issuing, {
    names: 'DNS:wrong.example',
    extensions: ['extendedKeyUsage=serverAuth,clientAuth', '1.2.3.4=DER:0500'],
  });
  await login(plain);
});

test('a CA itself logs nobody in', async () => {
  await service('authority');
  await bind('authority', 'certificate', issuing.fingerprint, root.name);
  await assert.rejects(login(issuing), refused(/is that of a CA/));
});

test('a certificate that no row knows is refused and counts as a guess', async () => {
  const guest = '198.51.100.7';
  await service('guessed');
  await bind('guessed', 'dns', 'guessed.example');
  const options = { names: 'DNS:guessed.example' };
  const known = await addClient(opened, issuing, options);
  await login(known, guest);
  // Signed by the key of the CA, but never issued by it.
  const forged = await addClient(opened, issuing, { ...options, isStored: false });
  for (let round = 0; round < 30; round++) {
    await assert.rejects(login(forged, guest), refused(/not known here/));
  }
  await assert.rejects(login(forged, guest), refusal('rate-limited'));
  await login(known, guest);
  await assert.rejects(login(forged, '198.51.100.8'), refused(/not known here/));
});

test('a refused certificate of ours is no guess', async () => {
  const guest = '198.51.100.9';
  const client = await addClient(opened, issuing, { names: 'DNS:nobody.example' });
  for (let round = 0; round < 40; round++) {
    await assert.rejects(login(client, guest), refused(/bound to no principal/));
  }
});

test('a certificate whose issuer is none of ours logs nobody in', async () => {
  const client = await addClient(opened, issuing, { names: 'DNS:foreign.example' });
  await change(opened, 'certificate', client.id, { ca_id: null, ca_version: null });
  await assert.rejects(login(client), refused(/no CA of this installation/));
});

test('its time begins and ends to the millisecond, in memory or not', async () => {
  await service('timed');
  await bind('timed', 'dns', 'timed.example');
  const client = await addClient(opened, issuing, { names: 'DNS:timed.example' });
  const start = opened.clock.milliseconds;
  const end = start + 60_000;
  await change(opened, 'certificate', client.id, { not_before: start + 5000, not_after: end });
  await assert.rejects(login(client), refused(/not valid yet/));
  opened.clock.milliseconds = start + 5000;
  const caller = await login(client);
  opened.clock.milliseconds = end - 1;
  await login(client);
  await opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] });
  opened.clock.milliseconds = end;
  await assert.rejects(login(client), refused(/has expired/));
  await assert.rejects(
    opened.storage.commit({ steps: opened.access.stillAllowed(caller), entries: [] }),
    refused(/expired meanwhile/),
  );
  await opened.storage.commit({ steps: [], entries: [], raisesEpoch: true });
  await assert.rejects(opened.access.recheck(caller), refused(/has expired/));
  opened.clock.milliseconds = start;
});

test('a token wins over a certificate', async () => {
  await service('both');
  await bind('both', 'dns', 'both.example');
  const client = await addClient(opened, issuing, { names: 'DNS:both.example' });
  const bearer = await opened.token(administrator);
  const certificate = client.fingerprint;
  const caller = await opened.access.authenticate({ ...visitor, bearer, certificate });
  assert.equal(caller.principalName, 'administrator');
  await assert.rejects(
    opened.access.authenticate({ ...visitor, bearer: 'krv_wrong', certificate }),
    refused(/whole token/),
  );
  const bare = await opened.access.authenticate({ ...visitor, bearer: '', certificate });
  assert.equal(bare.principalName, 'both');
});

test('a certificate makes no tokens and no login codes, and revokes no "current" one', async () => {
  await service('maker', ['administrator']);
  await bind('maker', 'dns', 'maker.example');
  const client = await addClient(opened, issuing, { names: 'DNS:maker.example' });
  const caller = await login(client);
  await assert.rejects(opened.token(caller), refusal('forbidden', /makes no tokens/));
  await assert.rejects(
    opened.handlers['principal.enrol'](call(caller, { params: { principal: 'maker' }, body: {} })),
    refusal('forbidden', /makes no tokens/),
  );
  await assert.rejects(
    opened.handlers['token.revoke'](call(caller, { params: { token: 'current' } })),
    refusal('invalid-request', /certificate, not a token/),
  );
  // Everything else that an administrator may do, it does.
  await opened.handlers['principal.create'](
    call(caller, { body: { name: 'made-by-certificate', kind: 'device', roles: [] } }),
  );
  const entry = (await opened.entries()).at(-1);
  assert.equal(entry?.credentialId, client.id);
  assert.equal(entry?.principalName, 'maker');
});

test('a login of before counts from memory, and a new certificate needs no raised epoch', async () => {
  await service('fresh');
  await bind('fresh', 'dns', 'fresh.example');
  const { epoch } = opened.storage;
  const first = await addClient(opened, issuing, { names: 'DNS:fresh.example' });
  const second = await addClient(opened, issuing, { names: 'DNS:fresh.example' });
  for (const client of [first, second, first]) {
    assert.equal((await login(client)).credentialId, client.id);
  }
  assert.equal(opened.storage.epoch, epoch);
});
