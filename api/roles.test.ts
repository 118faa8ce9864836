import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Action, actions } from './actions.ts';
import {
  breakGlassRoles,
  conflictingRoles,
  isRoleName,
  keyOwnership,
  type RoleDefinition,
  type RoleName,
  roleNames,
  roles,
  withIncludedRoles,
} from './roles.ts';

const table: Record<RoleName, RoleDefinition> = roles;

test('conflicts are named on both sides, and none with itself', () => {
  for (const name of roleNames) {
    for (const other of table[name].conflictsWith) {
      assert.ok(isRoleName(other), `${name} conflicts with ${other}, which is no role`);
      assert.notEqual(other, name);
      assert.ok(table[other].conflictsWith.includes(name), `${other} does not name ${name}`);
    }
  }
});

test('an auditor is nothing else', () => {
  const others = roleNames.filter((name) => name !== 'auditor').sort();
  assert.deepEqual([...table.auditor.conflictsWith].sort(), others);
});

test('the two people of a break-glass are never one', () => {
  assert.deepEqual(conflictingRoles(breakGlassRoles), breakGlassRoles);
});

test('nobody who signs releases owns, approves or makes their keys', () => {
  for (const signer of ['packaging-engineer', 'linux-packaging-owner']) {
    for (const other of [
      'administrator',
      'security-reviewer',
      'change-advisory-board',
      'key-maker',
    ]) {
      assert.notEqual(conflictingRoles([signer, other]), undefined, `${signer} and ${other}`);
    }
  }
});

test('roles that go together have no conflict', () => {
  assert.equal(conflictingRoles([]), undefined);
  assert.equal(conflictingRoles(['administrator', 'key-maker', 'key-user', 'operator']), undefined);
  assert.equal(conflictingRoles(['packaging-engineer', 'linux-packaging-owner']), undefined);
});

test('a role includes only roles whose actions it has and that it does not conflict with', () => {
  const actionsOf = (name: RoleName) =>
    new Set<Action>(table[name].grants.flatMap((grant) => grant.actions));
  for (const name of roleNames) {
    for (const included of table[name].includes) {
      assert.ok(isRoleName(included));
      assert.equal(conflictingRoles([name, included]), undefined);
      assert.ok(actionsOf(included).isSubsetOf(actionsOf(name)), `${name} lacks ${included}`);
    }
  }
  assert.deepEqual([...withIncludedRoles(['administrator'])].sort(), [
    'administrator',
    'key-maker',
    'key-user',
    'operator',
    'registration-officer',
  ]);
});

test('grants name actions that exist', () => {
  for (const name of roleNames) {
    for (const grant of table[name].grants) {
      for (const action of grant.actions) assert.ok(actions.includes(action), action);
    }
  }
});

test('each owner of the ownership table may use and rotate what it owns', () => {
  for (const { folder, owner } of keyOwnership) {
    const mayRotate = table[owner].grants.some(
      (grant) =>
        grant.actions.includes('key.rotate') && (grant.folders ?? [folder]).includes(folder),
    );
    assert.ok(mayRotate, `${owner} cannot rotate keys in ${folder}`);
  }
});
