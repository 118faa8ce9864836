import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pino } from 'pino';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { systemClock } from '../../server/base/clock.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { loadConfig } from '../../server/config/config.ts';
import { startService as startHere } from '../../server/service.ts';
import { eventually } from '../eventually.ts';
import { commandLine, type LoggedIn, makeInstallation, startLoggedIn } from '../service.ts';

const pending = 8;
const ttlSeconds = 3600;
const rules = [
  {
    ...{ name: 'destroying', actions: ['key.destroy' as const], approvals: 2, ttlSeconds },
    roles: ['security-reviewer' as const],
  },
];

interface Person extends Pick<LoggedIn, 'client' | 'token'> {
  readonly name: string;
}

/** Makes a person who logs in with a code of its own. */
async function enrol(
  t: TestContext,
  by: ApiClient,
  place: { readonly url: string; readonly caPem: string },
  name: string,
  roles: string[],
): Promise<Person> {
  await by.call('principal.create', { body: { name, kind: 'person', roles } });
  const { code } = await by.call('principal.enrol', { params: { principal: name }, body: {} });
  const visitor = createClient(place);
  const { token } = await visitor.call('login', { body: { code } });
  visitor.close();
  const client = createClient({ ...place, token });
  t.after(() => client.close());
  return { name, client, token };
}

/** A key-maker, who may destroy what it made, and three who may agree to that. */
async function enrolAll(
  t: TestContext,
  by: ApiClient,
  place: { readonly url: string; readonly caPem: string },
) {
  const people = await Promise.all([
    enrol(t, by, place, 'maker', ['key-maker']),
    enrol(t, by, place, 'rita', ['security-reviewer']),
    enrol(t, by, place, 'rolf', ['security-reviewer']),
    enrol(t, by, place, 'ruth', ['security-reviewer']),
  ]);
  const [maker, rita, rolf, ruth] = people as [Person, Person, Person, Person];
  return { maker, rita, rolf, ruth };
}

const makeKey = (client: ApiClient, name: string) =>
  client.call('key.create', { body: { name, algorithm: 'p-256', purpose: 'sign' } });
const destroy = (client: ApiClient, key: string, approvalId?: string, body: object = {}) =>
  client.call('key.destroy', {
    ...{ params: { key }, body },
    ...(approvalId === undefined ? {} : { approvalId }),
  });
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    (error) => (isKeyreeveError(error) ? error.code : Promise.reject(error)),
  );

/** Asks for the destruction of a key: the approval that it waits for. */
async function ask(client: ApiClient, key: string) {
  const error = await destroy(client, key).catch((thrown: unknown) => thrown);
  assert.ok(isKeyreeveError(error, 'approval-pending'), String(error));
  const { approval, digest } = error.data as { approval: string; digest: string };
  return { id: approval, digest };
}
const approve = ({ client }: Person, { id, digest }: { id: string; digest: string }) =>
  client.call('approval.approve', { params: { approval: id }, body: { digest } });

interface Wanted {
  readonly action: string;
  readonly outcome: string;
  readonly principal?: string;
  readonly resource?: string;
  readonly key?: string;
  /** So many entries: 1 where left out. */
  readonly times?: number;
}

/** Waits until a search of the record finds this. */
async function recorded(client: ApiClient, wanted: Wanted): Promise<void> {
  const { resource, times = 1, ...query } = wanted;
  await eventually(async () => {
    const { items } = await client.call('audit.list', { query: { ...query, limit: 100 } });
    const found = items.filter((entry) => resource === undefined || entry.resource === resource);
    return found.length >= times;
  });
}

test('two people agree to a destruction that a third asks for, each at a terminal', async (t) => {
  const { installation, service, client, login } = await startLoggedIn(t);
  const place = { url: service.url, caPem: login.caPem };
  const { maker, rita, rolf } = await enrolAll(t, client, place);
  const at = ({ client: called, token }: Person) =>
    commandLine(installation, service, { ...login, client: called, token });
  const file = join(installation.folder, 'rules.json');
  writeFileSync(file, JSON.stringify({ rules }));
  const applied = await commandLine(
    installation,
    service,
    login,
  )([...['approval', 'rules', 'apply', file]]);
  assert.equal(applied.code, 0, applied.stderr);
  await makeKey(maker.client, 'release');

  const asked = await at(maker)(['key', 'destroy', 'release', '--yes']);
  assert.equal(asked.code, pending, asked.stderr);
  const id = /apr_[a-z2-7]{26}/.exec(asked.stderr)?.[0] ?? '';
  const shown = await at(rita)(['approval', 'show', id, '--json']);
  const { digest, command, requester } = JSON.parse(shown.stdout);
  assert.deepEqual(
    [command.route, command.subject, requester.name],
    ['key.destroy', 'release', 'maker'],
  );
  const yes = ['approval', 'approve', id, '--yes', '--digest', digest];
  const waiting = await at(rolf)(['approval', 'list', '--waiting', '--json']);
  assert.deepEqual(
    JSON.parse(waiting.stdout).items.map((one: { id: string }) => one.id),
    [id],
  );
  const first = await at(rita)(yes);
  assert.match(first.stderr, /missing: 1 more of security-reviewer/);
  const early = await at(maker)(['key', 'destroy', 'release', '--yes']);
  assert.equal(early.code, pending);
  assert.ok(early.stderr.includes(id), 'to repeat a request makes no second one');
  const second = await at(rolf)(yes);
  assert.match(second.stderr, /maker can run it now/);

  const done = await at(maker)(['--approval', id, 'key', 'destroy', 'release', '--yes']);
  assert.equal(done.code, 0, done.stderr);
  const key = await client.call('key.show', { params: { key: 'release' } });
  assert.notEqual(key.destroyAt, null);
  assert.equal(
    (await client.call('approval.show', { params: { approval: id } })).state,
    'executed',
  );
  for (const action of ['approval.request', 'approval.decide', 'approval.execute']) {
    await recorded(client, { action, outcome: 'ok', resource: id });
  }
});

test('an approval is nobody’s own, of one request, of whole people, and used up once', async (t) => {
  const { client, service, login } = await startLoggedIn(t);
  const place = { url: service.url, caPem: login.caPem };
  const { maker, rita, rolf, ruth } = await enrolAll(t, client, place);
  await client.call('approval.rules.apply', { body: { rules } });
  await Promise.all(['a', 'b', 'c'].map((name) => makeKey(maker.client, name)));

  await t.test('own approval', async () => {
    await makeKey(rita.client, 'ritas');
    const own = await ask(rita.client, 'ritas');
    assert.equal(await codeOf(approve(rita, own)), 'forbidden');
    const { token } = await rita.client.call('token.create', { body: { ttlSeconds: 600 } });
    const again = createClient({ ...place, token });
    t.after(() => again.close());
    assert.equal(await codeOf(approve({ ...rita, client: again }, own)), 'forbidden');
    const refused = { action: 'approval.decide', outcome: 'forbidden', principal: 'rita' };
    await recorded(client, { ...refused, resource: own.id });
  });

  await t.test('two approvals by one person with two tokens', async () => {
    const asked = await ask(maker.client, 'a');
    await approve(rita, asked);
    const { token } = await rita.client.call('token.create', { body: { ttlSeconds: 600 } });
    const second = createClient({ ...place, token });
    t.after(() => second.close());
    assert.equal(await codeOf(approve({ ...rita, client: second }, asked)), 'conflict');
    assert.equal(await codeOf(destroy(maker.client, 'a', asked.id)), 'approval-pending');
    const refused = { action: 'approval.decide', outcome: 'conflict', principal: 'rita' };
    await recorded(client, { ...refused, resource: asked.id });
    // When it was asked for, and when it was tried with one word.
    const waits = { action: 'key.destroy', outcome: 'approval-pending', key: 'a' };
    await recorded(client, { ...waits, times: 2 });
  });

  await t.test('one altered byte', async () => {
    const asked = await ask(maker.client, 'b');
    const last = asked.digest.endsWith('0') ? '1' : '0';
    const altered = { ...asked, digest: asked.digest.slice(0, -1) + last };
    assert.equal(await codeOf(approve(rita, altered)), 'approval-mismatch');
    await recorded(client, {
      ...{ action: 'approval.decide', outcome: 'approval-mismatch', resource: asked.id },
    });
    await approve(rita, asked);
    await approve(rolf, asked);
    const another = destroy(maker.client, 'b', asked.id, { afterSeconds: 7 * 86_400 + 1 });
    assert.equal(await codeOf(another), 'approval-mismatch');
    assert.equal(await codeOf(destroy(maker.client, 'c', asked.id)), 'approval-mismatch');
    const key = await client.call('key.show', { params: { key: 'b' } });
    assert.equal(key.destroyAt, null);
    for (const key of ['b', 'c']) {
      await recorded(client, { action: 'key.destroy', outcome: 'approval-mismatch', key });
    }
    await destroy(maker.client, 'b', asked.id);
  });

  await t.test('replayed', async () => {
    const { items } = await maker.client.call('approval.list', { query: { state: 'executed' } });
    const [used] = items;
    await maker.client.call('key.cancel-destroy', { params: { key: 'b' }, body: {} });
    assert.equal(await codeOf(destroy(maker.client, 'b', used?.id)), 'approval-ended');
    assert.notEqual((await ask(maker.client, 'b')).id, used?.id);
    await recorded(client, { action: 'key.destroy', outcome: 'approval-ended', key: 'b' });
  });

  await t.test('role lost meanwhile', async () => {
    const asked = await ask(maker.client, 'c');
    await approve(rolf, asked);
    await approve(ruth, asked);
    const params = { approval: asked.id };
    assert.equal((await client.call('approval.show', { params })).state, 'approved');
    await client.call('principal.update', { params: { principal: 'ruth' }, body: { roles: [] } });
    assert.equal(await codeOf(destroy(maker.client, 'c', asked.id)), 'approval-pending');
    const { requirements } = await client.call('approval.show', { params });
    assert.deepEqual([requirements[0]?.given, requirements[0]?.approvals], [1, 2]);
    const waits = { action: 'key.destroy', outcome: 'approval-pending', key: 'c' };
    await recorded(client, { ...waits, times: 2 });
  });
});

/** A clock that goes on faster when the test says so: it can be trusted all the same. */
function fastClock() {
  let offset = 0;
  return {
    now: () => systemClock.now() + offset,
    monotonic: () => systemClock.monotonic() + offset,
    advance(seconds: number) {
      offset += seconds * 1000;
    },
  };
}

/** The service in this process: its clock cannot be moved from outside. */
async function startWith(t: TestContext, clock: ReturnType<typeof fastClock>) {
  const cleaning: (() => unknown)[] = [];
  const installation = makeInstallation({ after: (clean) => cleaning.push(clean) });
  const config = loadConfig(installation.environment);
  const service = await startHere({ config, log: pino({ level: 'silent' }), clock });
  // First the service: it notices that its folder is gone.
  t.after(async () => {
    await service.stop();
    for (const clean of cleaning) await clean();
  });
  const { url, caPem } = service;
  const visitor = createClient({ url, caPem });
  const { token } = await visitor.call('login', { body: { code: service.firstLoginCode! } });
  visitor.close();
  const client = createClient({ url, caPem, token });
  t.after(() => client.close());
  return { client, place: { url, caPem } };
}

test('an approval that has expired runs nothing, and nobody agrees to it any more', async (t) => {
  const clock = fastClock();
  const { client, place } = await startWith(t, clock);
  const { maker, rita, rolf, ruth } = await enrolAll(t, client, place);
  await client.call('approval.rules.apply', { body: { rules } });
  await makeKey(maker.client, 'k');
  const asked = await ask(maker.client, 'k');
  await approve(rita, asked);
  await approve(rolf, asked);
  clock.advance(ttlSeconds + 1);
  assert.equal(await codeOf(approve(ruth, asked)), 'approval-expired');
  assert.equal(await codeOf(destroy(maker.client, 'k', asked.id)), 'approval-expired');
  const again = await ask(maker.client, 'k');
  assert.notEqual(again.id, asked.id, 'without naming it, the same request asks anew');
  await recorded(client, {
    ...{ action: 'approval.decide', outcome: 'approval-expired', resource: asked.id },
  });
  await recorded(client, { action: 'key.destroy', outcome: 'approval-expired', key: 'k' });
  const key = await client.call('key.show', { params: { key: 'k' } });
  assert.equal(key.destroyAt, null);
});
