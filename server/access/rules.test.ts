import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Caller } from '../base/caller.ts';
import { defaultRules } from './default-rules.ts';
import { foldersAbove, RuleEngine } from './rule-engine.ts';
import { call, keyIn, openAccess, refusal, type TestAccess } from './test-support.ts';

let opened: TestAccess;
let token: string;
before(async () => {
  opened = await openAccess();
  token = await opened.token(await opened.administrator(), { ttlSeconds: 3600 });
});
after(() => opened.close());

const administrator = () => opened.caller(token);
const apply = async (policies: string, more: object = {}, by?: Caller) =>
  opened.handlers['access.apply'](
    call(by ?? (await administrator()), { body: { policies, ...more } }),
  );
const show = async (by?: Caller) =>
  opened.handlers['access.show'](call(by ?? (await administrator()), {}));

test('the default rules are valid and in force first, as version 0', async () => {
  (await RuleEngine.load()).validate(defaultRules);
  const shown = await show();
  assert.equal(shown.version, 0);
  assert.equal(shown.policies, defaultRules);
  assert.match(shown.digest, /^[0-9a-f]{64}$/);
  const reviewer = shown.roles.find((role) => role.name === 'security-reviewer');
  assert.ok(reviewer?.conflictsWith.includes('administrator'));
});

test('rules name folders, labels, purposes and owners, and hold from the next call on', async () => {
  const user = await opened.person(await administrator(), 'ada', ['key-user']);
  const grant = `
    permit (principal in Role::"key-user", action == Action::"key.rotate", resource is Key)
    when { resource in Folder::"apps" && resource.labels.contains("tier=test") };
    forbid (principal, action == Action::"key.sign", resource is Key)
    when { resource.purpose == "ca" };`;
  const before = await show();
  const applied = await apply(`${defaultRules}\n${grant}`, { sawVersion: before.version });
  assert.equal(applied.version, before.version + 1);
  assert.equal((await show()).digest, applied.digest);
  await opened.access.ready();
  const { authorise } = opened.access;
  authorise(user, 'key.rotate', keyIn('apps/one', { labels: { tier: 'test' } }));
  const refused: [object, string][] = [
    [{ labels: { tier: 'live' } }, 'apps/one'],
    [{ labels: { tier: 'test' } }, 'ops'],
  ];
  for (const [facts, folder] of refused) {
    assert.throws(() => authorise(user, 'key.rotate', keyIn(folder, facts)), refusal('forbidden'));
  }
  assert.throws(
    () => authorise(user, 'key.sign', keyIn('x', { purpose: 'ca' })),
    refusal('forbidden'),
  );
});

test('a decision kept from earlier rules is not the answer under new ones', async () => {
  const user = await opened.person(await administrator(), 'bob', ['key-user']);
  await apply(defaultRules);
  await opened.access.ready();
  opened.access.authorise(user, 'key.sign', keyIn('apps'));
  await apply(`${defaultRules}\nforbid (principal, action == Action::"key.sign", resource);`);
  await opened.caller(token);
  assert.throws(
    () => opened.access.authorise(user, 'key.sign', keyIn('apps')),
    refusal('forbidden'),
  );
  await assert.rejects(
    opened.access.recheck(user, 'key.sign', keyIn('apps')),
    refusal('forbidden'),
  );
  await opened.access.recheck(user, 'key.verify', keyIn('apps'));
  await apply(defaultRules);
});

test('rules so deep that they would end the engine are refused, and it goes on deciding', async () => {
  const rule = (condition: string) =>
    `${defaultRules}\npermit (principal, action, resource) when { ${condition} };`;
  const deep = [
    `${'('.repeat(200_000)}true${')'.repeat(200_000)}`,
    '('.repeat(200_000),
    `${'('.repeat(130)}true${')'.repeat(130)}`,
    `${'['.repeat(130)}1${']'.repeat(130)} == []`,
    `${'{a: '.repeat(130)}1${'}'.repeat(130)} == {}`,
    `${'if true then true else '.repeat(15_000)}true`,
    `${'if '.repeat(400)}true${' then true else true'.repeat(400)}`,
    `${Array(100_000).fill('1').join(' + ')} == 1`,
    `principal${'.a'.repeat(100_000)}`,
    `principal${'["a"]'.repeat(400)}`,
    `${'('.repeat(25)}1 + 1${`${' || true'.repeat(100)})`.repeat(25)}`,
    `1 + 1${' || true'.repeat(400)}`,
    `"\\"" == "" // "\n && ${'('.repeat(130)}true${')'.repeat(130)}`,
  ];
  for (const condition of deep) {
    await assert.rejects(apply(rule(condition)), refusal('invalid-policy'), condition.slice(0, 40));
  }
  await assert.rejects(apply(rule(deep[2]!)), /go too deep in line \d+/);
  const user = await opened.person(await administrator(), 'deep', ['key-user']);
  opened.access.authorise(user, 'key.sign', keyIn('apps'));
  // What people write is far from the limit, and brackets in comments and strings do not count.
  const wide = Array.from({ length: 100 }, (_, one) => `resource.labels.contains("a=${one}")`);
  const folders = Array.from({ length: 2000 }, (_, one) => `Folder::"f${one}"`);
  await apply(`${defaultRules}
    permit (principal, action == Action::"key.sign", resource is Key)
    when { (${wide.join(' || ')}) && resource in [${folders.join(', ')}] }
    unless { resource.purpose == "${'('.repeat(500)}\\"" }; // ${'('.repeat(500)}`);
  await apply(defaultRules);
});

test('rules that are not valid are refused with line, column and reason', async () => {
  const start = 'permit (principal, action, resource);\n';
  const table: [string, RegExp][] = [
    [`${start}permit (principal, action resource);`, /line 2, column 27: .*unexpected token/],
    [
      `${start}// é ü\npermit (principal, action == Action::"key.fly", resource);`,
      /line 3, column 30: unrecognized action/,
    ],
    [
      `${start}permit (principal in Rolle::"x", action, resource);`,
      /line 2, column 22: unrecognized entity type/,
    ],
    [
      `${start}permit (principal, action == Action::"key.sign", resource is Key)\nwhen { resource.name like "prod*" };`,
      /line 3, column 8: .*attribute `name`/,
    ],
    [`${start}permit (principal == ?principal, action, resource);`, /template/],
  ];
  const before = await show();
  for (const [policies, text] of table) {
    await assert.rejects(apply(policies), refusal('invalid-policy', text));
  }
  assert.deepEqual(await show(), before);
});

test('rules under which nobody could apply rules are refused', async () => {
  const nobody = defaultRules.replace(/^permit/m, 'forbid');
  for (const policies of [
    'permit (principal, action == Action::"key.show", resource);',
    'permit (principal in Role::"auditor", action, resource);',
    nobody,
  ]) {
    await assert.rejects(apply(policies), refusal('invalid-policy', /nobody could apply/));
  }
});

test('rules that only a principal now disabled could change are refused', async () => {
  const by = await administrator();
  const made = await opened.handlers['principal.create'](
    call(by, { body: { name: 'zoe', kind: 'person', roles: ['operator'] } as never }),
  );
  const state = (value: string) =>
    opened.handlers['principal.update'](
      call(by, { params: { principal: 'zoe' }, body: { state: value } as never }),
    );
  const policies = `permit (principal == Principal::"${made.id}", action, resource);`;
  await state('disabled');
  await assert.rejects(apply(policies), refusal('invalid-policy', /nobody could apply/));
  await state('active');
});

test('whoever alone can change the rules stays able to', async (t) => {
  const own = await openAccess();
  t.after(() => own.close());
  const first = await own.administrator();
  const other = await own.handlers['principal.create'](
    call(first, { body: { name: 'kim', kind: 'person', roles: ['operator'] } as never }),
  );
  const policies = `
    permit (principal in Role::"operator", action == Action::"access.apply", resource);
    permit (principal in Role::"administrator", action == Action::"principal.update", resource);`;
  await own.handlers['access.apply'](call(first, { body: { policies } }));
  const again = await own.administrator();
  const update = (body: object) =>
    own.handlers['principal.update'](call(again, { params: { principal: other.id }, body }));
  await assert.rejects(update({ state: 'disabled' }), refusal('conflict', /"kim"/));
  await assert.rejects(update({ roles: ['key-user'] }), refusal('conflict', /"kim"/));
  await update({ roles: ['operator', 'key-user'] });
  await assert.rejects(
    own.handlers['principal.update'](
      call(again, { params: { principal: 'administrator' }, body: { state: 'disabled' } }),
    ),
    refusal('conflict', /last active administrator/),
  );
});

test('rules that somebody else replaced meanwhile are not overwritten', async () => {
  const { version } = await show();
  await apply(defaultRules, { sawVersion: version });
  await assert.rejects(apply(defaultRules, { sawVersion: version }), refusal('conflict'));
  const by = await administrator();
  const results = await Promise.allSettled([
    apply(`${defaultRules}\n// a`, {}, by),
    apply(`${defaultRules}\n// b`, {}, by),
  ]);
  assert.deepEqual(results.map((result) => result.status).sort(), ['fulfilled', 'rejected']);
});

test('only who may applies and sees rules; both outcomes stand on the record', async () => {
  const user = await opened.person(await administrator(), 'uma', ['key-user']);
  await assert.rejects(show(user), refusal('forbidden'));
  await assert.rejects(apply(defaultRules, {}, user), refusal('forbidden'));
  const { digest, version } = await apply(defaultRules);
  const [refused, done] = (await opened.entries()).slice(-2);
  assert.deepEqual([refused!.action, refused!.outcome], ['access.apply', 'forbidden']);
  assert.equal(done!.detail, JSON.stringify({ digest, version }));
});

test('rules in force are found again after a restart', async () => {
  const { RulesInForce } = await import('./rules.ts');
  const rules = new RulesInForce(opened.storage);
  assert.throws(() => rules.current, /not loaded/);
  await rules.refresh();
  assert.equal(rules.current.version, (await show()).version);
});

test('a folder lies in all those above it and in the top', () => {
  assert.deepEqual(foldersAbove('a/b/c'), ['a/b/c', 'a/b', 'a', '']);
  assert.deepEqual(foldersAbove('a'), ['a', '']);
  assert.deepEqual(foldersAbove(''), ['']);
});
