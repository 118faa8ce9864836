import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { formatLoginCode, loginCodeTtlSeconds, parseLoginCode } from '../../api/login-code.ts';
import { machineLoginTtlSeconds } from './enrolment.ts';
import {
  caFingerprint,
  call,
  openAccess,
  refusal,
  type TestAccess,
  visitor,
} from './test-support.ts';
import { tokenHash } from './token-format.ts';

let opened: TestAccess;
beforeEach(async () => {
  opened = await openAccess();
});
afterEach(() => opened.close());

const invalid = (text?: RegExp) => refusal('login-code-invalid', text);
const enrol = async (principal: string, body: object = {}) => {
  const administrator = await opened.administrator();
  return opened.handlers['principal.enrol'](call(administrator, { params: { principal }, body }));
};
const create = async (name: string, kind: string, roles: string[]) => {
  const administrator = await opened.administrator();
  await opened.handlers['principal.create'](
    call(administrator, { body: { name, kind, roles } as never }),
  );
};

test('the first login makes the administrator', async () => {
  const answer = await opened.handlers.login({
    visitor,
    params: {},
    query: {},
    body: { code: opened.hostCode() },
    idempotencyKey: undefined,
  });
  assert.equal(answer.principal.name, 'administrator');
  assert.equal(answer.principal.kind, 'person');
  assert.deepEqual(answer.principal.roles, ['administrator']);
  assert.equal(Date.parse(answer.expiresAt), opened.clock.now() + 12 * 3600 * 1000);
  const caller = await opened.caller(answer.token);
  opened.access.authorise(caller, 'access.apply', { type: 'system' });
});

test('a code pins the CA and lies in a private file as a hash', () => {
  const code = opened.hostCode();
  const parsed = parseLoginCode(code)!;
  assert.equal(Buffer.from(parsed.caPin).toString('hex'), caFingerprint.slice(0, 32));
  assert.equal(statSync(opened.loginCodeFile).mode & 0o777, 0o600);
  const text = readFileSync(opened.loginCodeFile, 'utf8');
  const secret = Buffer.from(parsed.secret);
  for (const form of [code, secret.toString('hex'), secret.toString('base64')]) {
    assert.ok(!text.includes(form));
  }
});

test('a code works once, even for two at the same moment', async () => {
  const code = opened.hostCode();
  const results = await Promise.allSettled([opened.login(code), opened.login(code)]);
  assert.deepEqual(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
  assert.ok(!existsSync(opened.loginCodeFile));
  await assert.rejects(opened.login(code), invalid());
});

test('a used code stays used where its file comes back', async () => {
  const code = opened.hostCode();
  const content = readFileSync(opened.loginCodeFile);
  await opened.login(code);
  writeFileSync(opened.loginCodeFile, content, { mode: 0o600 });
  await assert.rejects(opened.login(code), invalid(/used already/));
});

test('a code works until the end of its hour, and not after', async () => {
  const code = opened.hostCode();
  opened.clock.advance(loginCodeTtlSeconds);
  await assert.rejects(opened.login(code), invalid(/expired/));
  const next = opened.hostCode();
  opened.clock.milliseconds += loginCodeTtlSeconds * 1000 - 1;
  await opened.login(next);
});

test('a newer code takes the place of the one before', async () => {
  const first = opened.hostCode();
  const second = opened.hostCode();
  await assert.rejects(opened.login(first), invalid());
  await opened.login(second);
});

test('a mistyped code and one of another installation are refused', async () => {
  opened.hostCode();
  await assert.rejects(opened.login('abc'), invalid(/mistyped/));
  const foreign = formatLoginCode(new Uint8Array(16).fill(7), caFingerprint);
  await assert.rejects(opened.login(foreign), invalid(/not known/));
});

test('a damaged or open file of the code is refused with the way out', async () => {
  await create('dora', 'person', []);
  const enrolled = await enrol('dora');
  const code = opened.hostCode();
  writeFileSync(opened.loginCodeFile, '{}', { mode: 0o600 });
  await assert.rejects(opened.login(code), refusal('integrity-failed'));
  assert.equal((await opened.caller(await opened.login(enrolled.code))).principalName, 'dora');
  const next = opened.hostCode();
  const { chmodSync } = await import('node:fs');
  chmodSync(opened.loginCodeFile, 0o644);
  await assert.rejects(opened.login(next), refusal('lax-mode'));
});

test('logins stand on the record with their address, refused ones too', async () => {
  const code = opened.hostCode();
  await assert.rejects(opened.login('wrong', '198.51.100.4'), invalid());
  await opened.login(code, '203.0.113.9');
  const [refused, done] = await opened.entries();
  assert.deepEqual(
    [refused!.action, refused!.outcome, refused!.address],
    ['login', 'login-code-invalid', '198.51.100.4'],
  );
  assert.deepEqual(
    [done!.outcome, done!.address, done!.principalName],
    ['ok', '203.0.113.9', 'administrator'],
  );
  assert.ok(!JSON.stringify(await opened.entries()).includes(code));
});

test('wrong codes are limited by address block, and the limit ends', async () => {
  for (let attempt = 0; attempt < 10; attempt++) {
    await assert.rejects(opened.login('wrong', `2001:db8:1:2::${attempt}`), invalid());
  }
  const code = opened.hostCode();
  await assert.rejects(opened.login(code, '2001:db8:1:2:ffff::1'), (error: never) => {
    refusal('rate-limited')(error);
    assert.equal((error as { retryAfterSeconds: number }).retryAfterSeconds, 900);
    return true;
  });
  await opened.login(code, '2001:db8:1:3::1');
  const next = opened.hostCode();
  opened.clock.advance(899);
  await assert.rejects(opened.login(next, '2001:db8:1:2::1'), refusal('rate-limited'));
  opened.clock.advance(1);
  await opened.login(next, '2001:db8:1:2::1');
});

test('a login that works clears the count of its address', async () => {
  for (let round = 0; round < 3; round++) {
    for (let attempt = 0; attempt < 9; attempt++) {
      await assert.rejects(opened.login('wrong'), invalid());
    }
    await opened.login(opened.hostCode());
  }
});

test('the host brings a disabled or demoted administrator back', async () => {
  const first = await opened.administrator();
  const second = await opened.person(first, 'bea', ['administrator']);
  const update = (body: object) =>
    opened.handlers['principal.update'](
      call(second, { params: { principal: 'administrator' }, body }),
    );
  await update({ roles: ['auditor'] });
  const back = await opened.administrator();
  assert.deepEqual(back.roles, ['administrator']);
  assert.equal(back.principalId, first.principalId);
});

test('tokens of an administrator who was disabled stay dead when the host brings it back', async () => {
  const stolen = await opened.token(await opened.administrator());
  const first = await opened.caller(stolen);
  const { token: made } = await opened.handlers['token.create'](
    call(first, { body: { label: '', ttlSeconds: 600 } }),
  );
  const second = await opened.person(first, 'cleo', ['administrator']);
  await opened.handlers['principal.update'](
    call(second, { params: { principal: 'administrator' }, body: { state: 'disabled' } }),
  );
  const back = await opened.administrator();
  assert.equal(back.principalId, first.principalId);
  await assert.rejects(opened.caller(stolen), refusal('unauthenticated', /was revoked/));
  await assert.rejects(opened.caller(made), refusal('unauthenticated', /was revoked/));
});

test('an enrolled principal logs in by itself, with its own roles', async () => {
  await create('rita', 'person', ['security-reviewer']);
  const { code, expiresAt } = await enrol('rita');
  assert.equal(Date.parse(expiresAt), opened.clock.now() + loginCodeTtlSeconds * 1000);
  const caller = await opened.caller(await opened.login(code));
  assert.deepEqual([caller.principalName, caller.roles], ['rita', ['security-reviewer']]);
  await assert.rejects(opened.login(code), invalid());
});

test('the login of a service lasts as long as its enrolment says', async () => {
  await create('app', 'service', ['key-user']);
  const ends = async (body: object) => {
    const { code } = await enrol('app', body);
    const caller = await opened.caller(await opened.login(code));
    const row = await opened.storage.db
      .selectFrom('token')
      .select('expires_at')
      .where('id', '=', caller.credentialId)
      .executeTakeFirstOrThrow();
    return (row.expires_at - opened.clock.now()) / 1000;
  };
  assert.equal(await ends({}), machineLoginTtlSeconds);
  assert.equal(await ends({ tokenTtlSeconds: 600 }), 600);
});

test('a login code of a principal is ended by a newer one, its hour, and its maker', async () => {
  await create('app', 'service', ['key-user']);
  const first = await enrol('app');
  const second = await enrol('app');
  await assert.rejects(opened.login(first.code), invalid());
  opened.clock.advance(loginCodeTtlSeconds);
  await assert.rejects(opened.login(second.code), invalid());
  const maker = await opened.administrator();
  const third = await opened.handlers['principal.enrol'](
    call(maker, { params: { principal: 'app' }, body: {} }),
  );
  await opened.handlers['token.revoke'](call(maker, { params: { token: 'current' } }));
  await assert.rejects(opened.login(third.code), invalid());
});

test('a login code is no token, and its disabled principal stays out', async () => {
  await create('app', 'service', ['key-user']);
  const { code } = await enrol('app');
  await assert.rejects(opened.caller(code), refusal('unauthenticated'));
  const administrator = await opened.administrator();
  await opened.handlers['principal.update'](
    call(administrator, { params: { principal: 'app' }, body: { state: 'disabled' } }),
  );
  await assert.rejects(opened.login(code), invalid());
});

test('a row for a login code lets no bearer in, whatever its hash', async () => {
  const token = await opened.token(await opened.administrator());
  const query = opened.storage.db
    .updateTable('token')
    .set({ scope_json: '{"enrolment":{"tokenTtlSeconds":600}}' })
    .where('hash', '=', tokenHash(token))
    .compile();
  await opened.storage.commit({ steps: [{ query }], entries: [], raisesEpoch: true });
  await assert.rejects(opened.caller(token), refusal('unauthenticated', /not known/));
});

test('only who may enrols others', async () => {
  const administrator = await opened.administrator();
  const user = await opened.person(administrator, 'ulla', ['key-user', 'key-maker']);
  await assert.rejects(
    opened.handlers['principal.enrol'](
      call(user, { params: { principal: 'administrator' }, body: {} }),
    ),
    refusal('forbidden'),
  );
  await assert.rejects(
    opened.handlers['principal.enrol'](call(user, { params: { principal: 'me' }, body: {} })),
    refusal('forbidden'),
  );
});
