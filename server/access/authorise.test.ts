import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Action, actions } from '../../api/actions.ts';
import {
  ownActions,
  type RoleDefinition,
  type RoleName,
  roleNames,
  roles,
} from '../../api/roles.ts';
import type { Caller, Resource } from '../base/caller.ts';
import { Authoriser, isWithin } from './authorise.ts';
import { RulesInForce } from './rules.ts';
import { keyIn, openAccess, refusal, type TestAccess } from './test-support.ts';

const self = `prn_${'b'.repeat(26)}`;
const other = `prn_${'c'.repeat(26)}`;
let opened: TestAccess;
before(async () => {
  opened = await openAccess();
});
after(() => opened.close());

function callerWith(roleList: readonly string[], more: Partial<Caller> = {}): Caller {
  return {
    principalId: self,
    principalName: 'somebody',
    roles: roleList,
    credentialId: `tok_${'b'.repeat(26)}`,
    folders: undefined,
    address: '192.0.2.1',
    agent: 'test',
    correlationId: 'req-1',
    epoch: 0,
    standing: { bounds: [], principals: [], rulesVersion: 0 },
    ...more,
  };
}

function allows(caller: Caller, action: Action, resource: Resource): boolean {
  try {
    opened.access.authorise(caller, action, resource);
    return true;
  } catch (error) {
    return !refusal('forbidden')(error);
  }
}

const resources: readonly Resource[] = [
  keyIn(''),
  keyIn('apps/billing'),
  keyIn('apps', { ownerId: self }),
  keyIn('ca'),
  keyIn('ca', { ownerId: self }),
  keyIn('code-signing/windows'),
  keyIn('code-signing/windows-old'),
  keyIn('code-signing/macos/installer'),
  keyIn('code-signing/apt'),
  keyIn('connectors'),
  keyIn('system'),
  keyIn('system/deep', { ownerId: self }),
  { type: 'folder', folder: '' },
  { type: 'folder', folder: 'apps' },
  { type: 'folder', folder: 'code-signing/apt/stable' },
  { type: 'principal', id: self },
  { type: 'principal', id: other },
  { type: 'token', id: 'tok_x', principalId: self },
  { type: 'token', id: 'tok_y', principalId: other },
  { type: 'system' },
];

/** What the table of roles says, read without Cedar. */
function tableAllows(name: RoleName, action: Action, resource: Resource): boolean {
  const folder = 'folder' in resource ? resource.folder : undefined;
  if (folder?.split('/')[0] === 'system' && isMoreThanALook(action)) return false;
  const own: readonly Action[] =
    resource.type === 'token' && resource.principalId === self
      ? ownActions.token
      : resource.type === 'principal' && resource.id === self
        ? ownActions.principal
        : [];
  if (own.includes(action)) return true;
  const lies = (above: string) => folder !== undefined && `${folder}/`.startsWith(`${above}/`);
  const role: RoleDefinition = roles[name];
  return role.grants.some(
    (grant) =>
      grant.actions.includes(action) &&
      (grant.folders === undefined || grant.folders.some(lies)) &&
      !grant.exceptFolders?.some(lies) &&
      (!grant.ownKeys || (resource.type === 'key' && resource.ownerId === self)),
  );
}

function isMoreThanALook(action: Action): boolean {
  return /^(key|ca|certificate|crl)\.(?!show$|export$)/.test(action);
}

/** Actions are asked of what they are about; on anything else there is nothing to find out. */
function fits(action: Action, resource: Resource): boolean {
  const [subject] = action.split('.');
  if (subject === 'key') return resource.type === 'key' || resource.type === 'folder';
  if (subject === 'ca' || subject === 'certificate' || subject === 'crl') {
    return ['key', 'folder', 'system'].includes(resource.type);
  }
  if (subject === 'principal' || subject === 'token') {
    return resource.type === subject || resource.type === 'system';
  }
  return resource.type === 'system';
}

test('the default rules say what the table of roles says: every role, action and kind of thing', () => {
  let allowed = 0;
  for (const name of roleNames) {
    const caller = callerWith([name]);
    for (const action of actions) {
      for (const resource of resources.filter((each) => fits(action, each))) {
        const expected = tableAllows(name, action, resource);
        const text = `${name} ${action} ${JSON.stringify(resource)}`;
        assert.equal(allows(caller, action, resource), expected, text);
        if (expected) allowed++;
      }
    }
  }
  assert.ok(allowed > 500);
});

test('who owns CAs does not issue from them, and who issues makes and certifies none', () => {
  const root = keyIn('ca');
  const [owner, officer] = [
    callerWith(['security-reviewer']),
    callerWith(['registration-officer']),
  ];
  for (const action of ['ca.create', 'ca.certify', 'ca.rekey', 'certificate.revoke'] as const) {
    assert.ok(allows(owner, action, root), action);
  }
  assert.ok(!allows(owner, 'certificate.issue', root));
  for (const folder of ['ca', 'apps', 'code-signing/windows']) {
    assert.ok(allows(officer, 'certificate.issue', keyIn(folder)), folder);
  }
  for (const action of ['ca.create', 'ca.certify', 'ca.rekey', 'key.show', 'key.state'] as const) {
    assert.ok(!allows(officer, action, root), action);
  }
  assert.ok(!allows(officer, 'profile.apply', { type: 'system' }));
  assert.ok(allows(officer, 'profile.show', { type: 'system' }));
});

test('without a role, only what is its own is allowed', () => {
  const caller = callerWith([]);
  for (const action of actions) {
    for (const resource of resources.filter((each) => fits(action, each))) {
      const isOwn =
        (resource.type === 'token' &&
          resource.principalId === self &&
          action.startsWith('token.')) ||
        (resource.type === 'principal' && resource.id === self && action === 'principal.show');
      assert.equal(allows(caller, action, resource), isOwn, `${action} ${resource.type}`);
    }
  }
});

test('a refusal names the action and what the caller has', () => {
  const caller = callerWith(['auditor']);
  assert.throws(
    () => opened.access.authorise(caller, 'key.sign', keyIn('apps')),
    (error: { message: string; hint: string }) => {
      assert.equal(error.message, 'key.sign is not allowed to you on this key.');
      assert.match(error.hint, /auditor/);
      return true;
    },
  );
});

test('a caller that access did not make may do nothing', () => {
  const { standing: _, ...caller } = callerWith(['administrator']);
  assert.throws(() => opened.access.authorise(caller, 'key.show', keyIn('')), refusal('forbidden'));
});

test('the keys of the service are refused by the code itself, too', async () => {
  const rules = new RulesInForce(opened.storage);
  await rules.refresh();
  rules.engine.use('permit (principal, action, resource);');
  const { authorise } = new Authoriser(rules);
  const caller = callerWith(['administrator']);
  authorise(caller, 'key.sign', keyIn('apps'));
  authorise(caller, 'key.show', keyIn('system'));
  authorise(caller, 'ca.show', keyIn('system'));
  for (const action of actions.filter(isMoreThanALook)) {
    for (const resource of [keyIn('system'), { type: 'folder', folder: 'system/a' } as const]) {
      assert.throws(() => authorise(caller, action, resource), refusal('forbidden', /itself/));
    }
  }
});

test('a token narrowed to folders reaches the keys in them and of the rest only itself', () => {
  const caller = callerWith(['administrator'], { folders: ['apps/billing', 'ca'] });
  const within: Resource[] = [
    keyIn('apps/billing'),
    keyIn('apps/billing/eu'),
    { type: 'folder', folder: 'ca' },
  ];
  for (const resource of within) assert.ok(allows(caller, 'key.show', resource));
  const beyond: Resource[] = [
    keyIn(''),
    keyIn('apps'),
    keyIn('apps/billing-archive'),
    keyIn('cax'),
    { type: 'folder', folder: '' },
  ];
  for (const resource of beyond) {
    assert.ok(!allows(caller, 'key.show', resource), JSON.stringify(resource));
  }
  assert.ok(!allows(caller, 'status.show', { type: 'system' }));
  assert.ok(!allows(caller, 'principal.update', { type: 'principal', id: other }));
  assert.ok(!allows(caller, 'token.revoke', { type: 'token', id: 'tok_y', principalId: other }));
  const itself = { type: 'token', id: caller.credentialId, principalId: self } as const;
  assert.ok(allows(caller, 'token.revoke', itself));
  assert.ok(!allows(caller, 'token.revoke', { ...itself, id: 'tok_z' }), 'another of its owner');
  const owner = { type: 'principal', id: self } as const;
  assert.ok(allows(caller, 'principal.show', owner));
  for (const action of ['principal.update', 'principal.enrol'] as const) {
    assert.ok(!allows(caller, action, owner), `${action} would lead out of the folders`);
  }
});

test('each bound of the credential must allow the act, too', () => {
  const bounds = [{ principalId: other, roles: ['operator'] }];
  const standing = { bounds, principals: [], rulesVersion: 0 };
  const caller = callerWith(['administrator'], { standing });
  assert.ok(allows(caller, 'backup.create', { type: 'system' }));
  assert.ok(!allows(caller, 'access.apply', { type: 'system' }));
  assert.ok(!allows(caller, 'key.sign', keyIn('apps')));
});

test('what was decided for one caller, key or action is never the answer for another', () => {
  const key = keyIn('apps', { ownerId: self, labels: { a: 'b' } });
  const maker = callerWith(['key-maker']);
  assert.ok(allows(maker, 'key.update', key));
  assert.ok(!allows({ ...maker, principalId: other }, 'key.update', key), 'another principal');
  assert.ok(!allows({ ...maker, roles: ['key-user'] }, 'key.update', key), 'other roles');
  assert.ok(!allows(maker, 'key.update', { ...key, ownerId: other }), 'another owner');
  assert.ok(!allows(maker, 'key.update', { ...key, folder: 'ca' }), 'another folder');
  assert.ok(!allows(maker, 'key.sign', key), 'another action');
  assert.ok(!allows({ ...maker, folders: ['ca'] }, 'key.update', key), 'another scope');
  assert.ok(allows(maker, 'key.update', key), 'the first again');
});

test('decisions know labels and purposes, whose text cannot be mixed up', async () => {
  const rules = new RulesInForce(opened.storage);
  await rules.refresh();
  rules.engine.use(`
    permit (principal, action == Action::"key.sign", resource is Key)
    when { resource.labels.contains("a=b") && resource.purpose == "sign" };`);
  const { authorise } = new Authoriser(rules);
  const caller = callerWith([]);
  const sign = (facts: object) => () => authorise(caller, 'key.sign', keyIn('apps', facts));
  sign({ labels: { a: 'b' } })();
  sign({ labels: { x: '1', a: 'b' } })();
  assert.throws(sign({ labels: {} }), refusal('forbidden'));
  assert.throws(sign({ labels: { a: 'c' } }), refusal('forbidden'));
  assert.throws(sign({ labels: { x: 'a=b' } }), refusal('forbidden'));
  assert.throws(sign({ labels: { a: 'b' }, purpose: 'mac' }), refusal('forbidden'));
  assert.throws(sign({ labels: { a: 'c"}\n{"a":"b' } }), refusal('forbidden'));
});

test('a full memory of decisions still decides right', async () => {
  const rules = new RulesInForce(opened.storage);
  await rules.refresh();
  const { authorise } = new Authoriser(rules, 2);
  for (let round = 0; round < 3; round++) {
    for (const folder of ['a', 'b', 'c']) {
      authorise(callerWith(['key-user']), 'key.sign', keyIn(folder));
      assert.throws(
        () => authorise(callerWith(['auditor']), 'key.sign', keyIn(folder)),
        refusal('forbidden'),
      );
    }
  }
});

test('a folder lies within itself and those above, not beside names that begin alike', () => {
  assert.ok(isWithin('a', 'a'));
  assert.ok(isWithin('a/b', 'a'));
  assert.ok(!isWithin('ab', 'a'));
  assert.ok(!isWithin('a', 'a/b'));
  assert.ok(!isWithin('', 'a'));
});
