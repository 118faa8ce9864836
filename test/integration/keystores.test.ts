import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ErrorCode } from '../../api/error-codes.ts';
import { type ApiClient, createClient } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import { eventually } from '../eventually.ts';
import { rawRequests } from '../raw-request.ts';
import { commandLine, startLoggedIn, startService } from '../service.ts';
import { startSoftHsm, type TestSoftHsm } from '../softhsm.ts';
import { skip } from '../tools.ts';

const data = Buffer.from('hello').toString('base64');

function token(t: TestContext): TestSoftHsm | undefined {
  const made = startSoftHsm(t);
  if (made !== undefined) t.after(() => made.remove());
  return made;
}

const refuses = (promise: Promise<unknown>, code: ErrorCode, message: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(isKeyreeveError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });

const show = (client: ApiClient, keystore: string) =>
  client.call('keystore.show', { params: { keystore } });
const makeKey = (client: ApiClient, name: string, keystore: string) =>
  client.call('key.create', { body: { name, algorithm: 'p-256', purpose: 'sign', keystore } });
const sign = (client: ApiClient, key: string) =>
  client.call('key.sign', { params: { key }, body: { data } });
/** Waits until a key can be used that could not while its token was away. */
const signsAgain = (client: ApiClient, key: string) =>
  eventually(
    () =>
      sign(client, key).then(
        () => true,
        () => false,
      ),
    { milliseconds: 30_000 },
  );

test('a token is added, used, drilled and removed by command', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const { installation, service, client, login } = await startLoggedIn(t);
  const cli = commandLine(installation, service, login);
  const added = await cli(['keystore', 'add', 'hsm', '--uri', hsm.uri]);
  assert.equal(added.code, 0, added.stderr);
  assert.match(added.stdout, /device: +SoftHSM project SoftHSM v2/);
  await makeKey(client, 'k', 'hsm');
  await sign(client, 'k');
  const listed = await client.call('keystore.list', {});
  assert.deepEqual(
    listed.items.map((one) => [one.name, one.kind, one.isBuiltIn, one.keys]),
    [
      // system/tls
      ['wrapped', 'wrapped', true, 1],
      ['hsm', 'pkcs11', false, 1],
    ],
  );
  const every = await cli(['keystore', 'update', 'hsm', '--review-every-days', '90']);
  assert.equal(every.code, 0, every.stderr);
  const reviewed = await cli(['keystore', 'review', 'hsm', '--yes', '--note', 'as it should be']);
  assert.equal(reviewed.code, 0, reviewed.stderr);
  const { keystores } = await client.call('status', {});
  const ofToken = keystores.find(({ name }) => name === 'hsm');
  const days = (Date.parse(ofToken?.reviewDueAt ?? '') - Date.now()) / 86_400_000;
  assert.ok(days > 89.9 && days <= 90, String(days));
  assert.equal(ofToken?.reviewOverdue, false);
  const drilled = await cli(['keystore', 'drill', 'hsm']);
  assert.equal(drilled.code, 0, drilled.stderr);
  assert.equal((await show(client, 'hsm')).lastDrill?.ok, true);
  assert.equal((await cli(['keystore', 'test', 'hsm'])).code, 0);
  const used = await cli(['keystore', 'remove', 'hsm']);
  assert.match(used.stderr, /holds keys/);
  await client.call('keystore.add', {
    body: { name: 'empty', uri: `${hsm.uri}&keyreeve-sessions=1` },
  });
  assert.equal((await cli(['keystore', 'remove', 'empty'])).code, 0);
  await refuses(show(client, 'empty'), 'not-found', /no keystore "empty"/);
  await refuses(makeKey(client, 'l', 'empty'), 'invalid-request', /no keystore "empty"/);
  const ask = rawRequests(t, service.url, login.caPem);
  const metrics = await ask('GET', '/metrics', { token: login.token });
  assert.match(metrics.text, /keyreeve_keystore_ready\{keystore="hsm"\} 1/);
  assert.match(metrics.text, /keyreeve_keystore_calls_total\{keystore="hsm"\} [1-9]/);
  const { items } = await client.call('audit.list', { query: { limit: 100 } });
  const actions = items.filter((one) => one.resource === 'hsm').map((one) => one.action);
  const changes = ['keystore.add', 'keystore.update', 'keystore.review', 'keystore.remove'];
  for (const action of [...changes, 'keystore.test', 'keystore.drill']) {
    assert.ok(actions.includes(action), `${action} is on the record`);
  }
});

test('what cannot be added is refused with the reason, and a wrong PIN is tried once', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const { client } = await startLoggedIn(t);
  const add = (name: string, uri: string, more: object = {}) =>
    client.call('keystore.add', { body: { name, uri, ...more } });
  await add('hsm', hsm.uri);
  await refuses(add('hsm', hsm.uri), 'already-exists', /"hsm" already/);
  await refuses(add('wrapped', hsm.uri), 'already-exists', /"wrapped" already/);
  await refuses(add('Hsm', hsm.uri), 'invalid-request', /name/);
  await refuses(add('x', 'pkcs11:token=a'), 'invalid-request', /which module/);
  await refuses(
    add('x', `${hsm.uri}&pin-value=1234`),
    'invalid-request',
    /holds a PIN|there twice/,
  );
  const module = (path: string) => hsm.uri.replace(hsm.modulePath, path);
  const planted = join(hsm.folder, 'planted.so');
  writeFileSync(planted, '');
  await refuses(add('x', module(planted)), 'invalid-request', /not in a folder/);
  await refuses(add('x', module('/usr/lib/none.so')), 'invalid-request', /is not there/);
  await refuses(
    add('x', hsm.uri, { environment: { LD_PRELOAD: planted } }),
    'invalid-request',
    /LD_PRELOAD/,
  );
  await refuses(
    add('x', hsm.uri.replace('keyreeve%20test', 'nobody')),
    'keystore-unavailable',
    /"nobody"/,
  );
  await refuses(
    add('x', hsm.uri, { assurance: 'fips-140-2-level-3' }),
    'invalid-request',
    /says itself that it is software/,
  );
  const pinFile = join(hsm.folder, 'other-pin');
  const other = hsm.uriWith({ 'pin-source': `file:${pinFile}` });
  await refuses(add('x', other), 'invalid-request', /PIN file .* is not there/);
  writeFileSync(pinFile, 'wrong\n', { mode: 0o600 });
  await refuses(add('x', other), 'wrong-passphrase', /refuses the PIN \(CKR_PIN_INCORRECT/);
  await refuses(add('x', other), 'wrong-passphrase', /refuses the PIN \(it did so before/);
  await refuses(add('y', other), 'wrong-passphrase', /it did so before/);
  writeFileSync(pinFile, `${hsm.pin}\n`);
  await add('x', other);
  // Groups: two different tokens that are there.
  const group = (primary: string, secondary: string) =>
    client.call('keystore.group', { body: { name: 'both', primary, secondary } });
  await refuses(group('hsm', 'hsm'), 'invalid-request', /two keystores/);
  await refuses(group('hsm', 'none'), 'invalid-request', /does not exist/);
  await refuses(group('wrapped', 'hsm'), 'invalid-request', /not in hardware/);
  await refuses(
    client.call('keystore.remove', { params: { keystore: 'wrapped' } }),
    'invalid-request',
    /configuration/,
  );
});

test('a service starts without its token, whose keys come back with it', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const { installation, service, client, login } = await startLoggedIn(t);
  await client.call('keystore.add', { body: { name: 'hsm', uri: hsm.uri } });
  await makeKey(client, 'k', 'hsm');
  await service.stop();
  hsm.takeAway();
  const second = await startService(t, installation);
  const after = login.at(second.url);
  await refuses(sign(after, 'k'), 'keystore-unavailable', /token/);
  const status = await after.call('status', {});
  assert.equal(status.keystores.find(({ name }) => name === 'hsm')?.ready, false);
  await makeKey(after, 'elsewhere', 'wrapped');
  await sign(after, 'elsewhere');
  hsm.putBack();
  await signsAgain(after, 'k');
  // A PIN that has become wrong is tried once, by however many starts.
  writeFileSync(hsm.pinFile, 'wrong\n');
  await second.stop();
  const reasons: string[] = [];
  for (const _ of [1, 2]) {
    const again = await startService(t, installation);
    const caller = login.at(again.url);
    await eventually(async () => (await show(caller, 'hsm')).reason?.includes('PIN') === true);
    // What was learnt is written before the end.
    await eventually(async () => {
      const { items } = await caller.call('audit.list', { query: { limit: 100 } });
      const events = items.filter((one) => one.resource === 'hsm' && one.kind === 'event');
      return events[0]?.action === 'keystore.unavailable';
    });
    reasons.push((await show(caller, 'hsm')).reason ?? '');
    await again.stop();
  }
  assert.match(reasons[0] ?? '', /CKR_PIN_INCORRECT/);
  assert.match(reasons[1] ?? '', /it did so before/);
  const last = await startService(t, installation);
  const caller = login.at(last.url);
  writeFileSync(hsm.pinFile, `${hsm.pin}\n`);
  await signsAgain(caller, 'k');
});

test('a group makes keys in both or none, and starts with one of the two', async (t) => {
  const first = token(t);
  const second = first && token(t);
  if (first === undefined || second === undefined) return;
  const { installation, service, client, login } = await startLoggedIn(t);
  await client.call('keystore.add', { body: { name: 'a', uri: first.uri } });
  await client.call('keystore.add', { body: { name: 'b', uri: second.uri } });
  await client.call('keystore.group', { body: { name: 'both', primary: 'a', secondary: 'b' } });
  await refuses(
    client.call('keystore.remove', { params: { keystore: 'a' } }),
    'conflict',
    /in the group "both"/,
  );
  await makeKey(client, 'k', 'both');
  // SoftHSM2 wraps no Ed25519 keys: it stays in one, and that is said.
  await client.call('key.create', {
    body: { name: 'e', algorithm: 'ed25519', purpose: 'sign', keystore: 'both' },
  });
  assert.deepEqual((await show(client, 'both')).unmirrored, [{ key: 'e', version: 1, only: 'a' }]);
  const batch = await client.call('key.sign.batch', {
    params: { key: 'k' },
    body: { items: [{ data }, { data }] },
  });
  assert.equal(batch.results.length, 2);
  second.takeAway();
  await eventually(async () => !(await show(client, 'b')).ready);
  await refuses(makeKey(client, 'l', 'both'), 'keystore-unavailable', /"b"/);
  await sign(client, 'k');
  const cli = commandLine(installation, service, login);
  const failed = await cli(['keystore', 'drill', 'both']);
  assert.equal(failed.code, 1, failed.stderr);
  assert.match(failed.stdout, /^b +failed/m);
  second.putBack();
  await service.stop();
  first.takeAway();
  const again = await startService(t, installation);
  const caller = login.at(again.url);
  await signsAgain(caller, 'k');
  assert.equal((await show(caller, 'both')).group?.active, 'secondary');
  await refuses(sign(caller, 'e'), 'keystore-unavailable', /in "a" alone/);
  first.putBack();
  await signsAgain(caller, 'e');
  await eventually(async () => (await show(caller, 'both')).group?.active === 'primary');
  await makeKey(caller, 'l', 'both');
});

test('others look at keystores and change none', async (t) => {
  const { client, service, login } = await startLoggedIn(t);
  await client.call('principal.create', {
    body: { name: 'op', kind: 'person', roles: ['operator'] },
  });
  const made = await client.call('token.create', {
    body: { principal: 'op', ttlSeconds: 3600, roles: ['operator'] },
  });
  const operator = createClient({ url: service.url, caPem: login.caPem, token: made.token });
  t.after(() => operator.close());
  assert.equal((await operator.call('keystore.list', {})).items.length, 1);
  assert.equal((await show(operator, 'wrapped')).assurance, 'none');
  const uri = 'pkcs11:token=t?module-path=/usr/lib/none.so';
  const params = { keystore: 'wrapped' };
  await refuses(operator.call('keystore.add', { body: { name: 'x', uri } }), 'forbidden', /./);
  await refuses(operator.call('keystore.test', { params, body: {} }), 'forbidden', /./);
  await refuses(operator.call('keystore.drill', { params, body: {} }), 'forbidden', /./);
  await refuses(operator.call('keystore.remove', { params }), 'forbidden', /./);
  const digest = 'ab'.repeat(32);
  const review = { params, body: { digest } };
  const update = { params, body: { reviewEveryDays: 1 } };
  await refuses(operator.call('keystore.access', { params }), 'forbidden', /./);
  await refuses(operator.call('keystore.review', review), 'forbidden', /./);
  await refuses(operator.call('keystore.update', update), 'forbidden', /./);
  await client.call('principal.create', {
    body: { name: 'rita', kind: 'person', roles: ['security-reviewer'] },
  });
  const { code } = await client.call('principal.enrol', {
    ...{ params: { principal: 'rita' }, body: {} },
  });
  const visitor = createClient({ url: service.url, caPem: login.caPem });
  const { token } = await visitor.call('login', { body: { code } });
  visitor.close();
  const reviewer = createClient({ url: service.url, caPem: login.caPem, token });
  t.after(() => reviewer.close());
  // Past the question of rights: this one is of the configuration.
  await refuses(reviewer.call('keystore.access', { params }), 'invalid-request', /configuration/);
  await refuses(reviewer.call('keystore.review', review), 'invalid-request', /configuration/);
  await refuses(reviewer.call('keystore.update', update), 'invalid-request', /configuration/);
  await refuses(reviewer.call('keystore.remove', { params }), 'forbidden', /./);
});

test('another module is loaded in the same way', async (t) => {
  const path = '/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so';
  if (!existsSync(path)) {
    skip(t, 'OpenSC is not here');
    return;
  }
  const { client } = await startLoggedIn(t);
  const uri = `pkcs11:token=card?module-path=${path}`;
  await refuses(
    client.call('keystore.add', { body: { name: 'card', uri } }),
    'keystore-unavailable',
    /"card"/,
  );
});
