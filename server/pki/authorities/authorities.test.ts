import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyreeveError } from '../../base/errors.ts';
import { openTestAuthorities } from './testing.ts';

const refused = (code: string, text = /./) => ({ code, message: text });
const day = 86_400;

test('a CA is read once, and afresh where something changed', async () => {
  await using opened = await openTestAuthorities();
  const { make, call, authorities, leaf } = opened;
  await make('root');
  await make('below', { parent: 'root' });
  const first = (await authorities.find('below'))!;
  assert.equal(await authorities.find(first.key.id), first, 'the same object: nothing was read');
  await leaf('below');
  assert.equal(await authorities.find('below'), first, 'what is issued changes no CA');
  const facts = await authorities.issuerFacts(first, first.versions[0]!);
  const above = await authorities.byId(first.parentId!);
  assert.equal(facts.chain[1], above.versions[0]!.certificate);
  await call('key.update', 'below', { labels: { a: 'b' } });
  const second = (await authorities.find('below'))!;
  assert.notEqual(second, first);
  assert.deepEqual(second.key.labels, { a: 'b' });
  assert.deepEqual(
    (await authorities.list()).map(({ key }) => key.name),
    ['below', 'root'],
  );
  await assert.rejects(authorities.byId('key_none'), refused('not-found'));
});

test('a CA issues while its key is active and its certificate in force, and not before or after', async () => {
  await using opened = await openTestAuthorities();
  const { make, call, ca, clock, leaf, authorities } = opened;
  await make('root', { validitySeconds: 100 * day });
  await leaf('root');
  const current = async (at = clock.now()) =>
    authorities.current((await authorities.find('root'))!, at);
  assert.equal((await current()).version, 1);
  const { notBefore, notAfter } = (await current()).certificate;
  assert.equal((await current(notAfter - 1)).version, 1);
  await assert.rejects(current(notAfter), refused('state-not-allowed', /ended on 2030-04-10/));
  await assert.rejects(current(notBefore - 1), refused('state-not-allowed', /begins on/));
  await call('key.state', 'root', { state: 'suspended' });
  await assert.rejects(leaf('root'), refused('state-not-allowed', /suspended/));
  await call('key.state', 'root', { state: 'active' });
  await leaf('root');
  await ca('ca.rekey', 'root');
  assert.equal((await current()).version, 2);
  await call('key.state', 'root', { state: 'compromised' });
  await assert.rejects(leaf('root'), refused('state-not-allowed', /compromised/));
});

test('a CA with living certificates is not destroyed', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, call, storage, clock, leaf } = opened;
  await make('root');
  await make('below', { parent: 'root' });
  await ca('ca.rekey', 'root');
  await leaf('below');
  const { db } = storage;
  const revoke = async (reason: string) => {
    const query = db
      .updateTable('certificate')
      .set({ revoked_at: clock.now(), reason })
      .where('profile', '=', 'tls-client');
    await storage.commit({ steps: [{ query: query.compile() }], entries: [] });
  };
  for (const name of ['root', 'below']) {
    await assert.rejects(call('key.destroy', name, {}), refused('ca-in-use', new RegExp(name)));
  }
  // What is on hold may come back.
  await revoke('certificateHold');
  await assert.rejects(call('key.destroy', 'below', {}), refused('ca-in-use'));
  await revoke('superseded');
  await call('key.destroy', 'below', {});
  await assert.rejects(ca('ca.rekey', 'below'), refused('key-pending-destruction'));
  await assert.rejects(call('key.destroy', 'root', {}), refused('ca-in-use'));
  // Its own certificates and those between its keys hold nobody up.
  clock.advance(5 * 365 * day);
  await call('key.destroy', 'root', {});
});

test('how a CA is run is changed; what is left out stays', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, storage, clock } = opened;
  const made = await make('root', {
    settings: { validitySecondsMax: day, profiles: ['tls-server'] },
  });
  const { db } = storage;
  const publish = db
    .updateTable('ca_version')
    .set({ crl_published_at: clock.now(), crl_due_at: clock.now() + day * 1000, crl_number: 7 });
  await storage.commit({ steps: [{ query: publish.compile() }], entries: [] });
  const changed = await ca('ca.update', 'root', {
    settings: { crlEverySeconds: 600, profiles: null },
    revision: made.revision,
  });
  assert.deepEqual(changed.settings, {
    crlValiditySeconds: 7 * day,
    crlEverySeconds: 600,
    validitySecondsMax: day,
  });
  const shown = await ca('ca.show', 'root');
  assert.deepEqual(shown.settings, changed.settings);
  assert.equal(shown.versions[0]!.crlNumber, 7, 'as it stands now, not as it was read');
  assert.equal(Date.parse(shown.versions[0]!.crlDueAt!), clock.now() + 600_000, 'the sooner');
  const attempts: [object, string][] = [
    [{ settings: {}, revision: made.revision }, 'conflict'],
    [{ settings: { profiles: ['nothing'] } }, 'unknown-profile'],
    [{ settings: { crlEverySeconds: 30 * day } }, 'invalid-request'],
  ];
  for (const [body, code] of attempts) {
    await assert.rejects(ca('ca.update', 'root', body), refused(code));
  }
  await assert.rejects(ca('ca.update', 'none', { settings: {} }), refused('not-found'));
  // A slower rhythm does not put off what was promised.
  await ca('ca.update', 'root', { settings: { crlEverySeconds: day } });
  const later = await ca('ca.show', 'root');
  assert.equal(Date.parse(later.versions[0]!.crlDueAt!), clock.now() + 600_000);
});

test('a list has the CAs that the caller may see, page by page', async () => {
  await using opened = await openTestAuthorities();
  const { make, ca, rights, create } = opened;
  for (const name of ['a/one', 'a/two', 'b/one', 'c']) await make(name, { algorithm: 'ed25519' });
  await create({ name: 'a/zero', algorithm: 'p-256', purpose: 'sign' });
  const names = async () => {
    const found: string[] = [];
    for (let after: string | undefined; ; ) {
      const query = { limit: 1, ...(after === undefined ? {} : { after }) };
      const page = await ca('ca.list', '', {}, query);
      found.push(...page.items.map((view) => view.name));
      if (page.next === null) return found;
      after = page.next;
    }
  };
  assert.deepEqual(await names(), ['a/one', 'a/two', 'b/one', 'c']);
  rights.authorise = (_caller, _action, resource) => {
    if (resource.type === 'key' && resource.folder === 'a') return;
    throw new KeyreeveError('forbidden', 'Not yours.');
  };
  assert.deepEqual(await names(), ['a/one', 'a/two']);
});
