import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AssuranceLevel, assuranceNames, meetsAssurance } from '../../api/assurance.ts';
import { type Policy, policy as policySchema } from '../../api/fields.ts';
import { declareAssurance, type Keystore } from '../keystores/keystores.ts';
import { makeObject, openHardware } from './hardware.fixture.ts';
import { openTestKeys } from './testing.ts';

const refused = (code: string) => ({ code });
const demanding = (assurance: string, more = {}) => ({
  ...{ name: 'a/k', algorithm: 'p-256', purpose: 'sign', policy: { assurance } },
  ...more,
});

test('levels are ordered within their scheme alone, and every one meets none and itself', () => {
  for (const name of assuranceNames) {
    assert.ok(meetsAssurance(name, name));
    assert.ok(meetsAssurance(name, 'none'));
    assert.equal(meetsAssurance('none', name), name === 'none');
  }
  const meets: [AssuranceLevel, AssuranceLevel, boolean][] = [
    ['fips-140-2-level-3', 'fips-140-2-level-2', true],
    ['fips-140-2-level-2', 'fips-140-2-level-3', false],
    ['fips-140-3-level-3', 'fips-140-2-level-3', true],
    ['fips-140-2-level-3', 'fips-140-3-level-3', false],
    ['fips-140-3-level-2', 'fips-140-2-level-3', false],
    ['cc-eal4-plus', 'cc-eal4', true],
    ['cc-eal4', 'cc-eal4-plus', false],
    ['cc-eal5-plus', 'cc-eal4-plus', true],
    ['cc-eal6-plus', 'fips-140-2-level-1', false],
    ['fips-140-2-level-4', 'cc-eal4', false],
  ];
  for (const [level, demanded, expected] of meets) {
    assert.equal(meetsAssurance(level, demanded), expected, `${level} for ${demanded}`);
  }
});

test('a policy that demands a level refuses the keystores of this process, and says why', async () => {
  await using keys = await opened();
  for (const keystore of ['wrapped', 'file']) {
    await assert.rejects(
      keys.create(demanding('fips-140-2-level-2', { keystore })),
      (error: { code: string; message: string }) => {
        assert.equal(error.code, 'storage-not-allowed');
        assert.match(error.message, /demands FIPS 140-2 level 2.*"(wrapped|file)" has no cert/);
        return true;
      },
    );
  }
  const none = await keys.create(demanding('none'));
  assert.equal(none.policy.assurance, 'none');
});

test('a token that says it is software stays below the level, whatever is declared for it', async (t) => {
  const keys = await openHardware(t, (hsm) => declareAssurance(hsm, 'fips-140-2-level-3'));
  if (keys === undefined) return;
  assert.equal((await keys.keystore.describe()).assuranceFrom, 'token');
  for (const act of [
    () => keys.create(demanding('fips-140-2-level-2', { keystore: 'hsm' })),
    () => {
      makeObject(keys.hsm, 'EC:prime256v1', { label: 'theirs', id: '0a' });
      const policy = { assurance: 'cc-eal4' };
      return keys.adopt({
        name: 'a/k',
        purpose: 'sign',
        keystore: 'hsm',
        object: 'theirs',
        policy,
      });
    },
  ]) {
    await assert.rejects(act(), (error: { code: string; message: string }) => {
      assert.equal(error.code, 'storage-not-allowed');
      assert.match(error.message, /as its token says/);
      return true;
    });
  }
  assert.equal(await keys.keys.store.find('a/k'), undefined);
});

// SoftHSM2 tells what it is. A token that tells nothing is stood in for by one that is kept quiet.
const quiet = (hsm: Keystore): Keystore =>
  new Proxy(hsm, {
    get: (target, property) => {
      if (property === 'describe') {
        return async () => ({ assurance: 'none', assuranceFrom: 'nobody' });
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });

test('what the operator declares for a token that tells nothing counts: for making and rotating', async (t) => {
  let level: AssuranceLevel = 'fips-140-2-level-2';
  const keys = await openHardware(t, (hsm) => {
    const keystore = quiet(hsm);
    return new Proxy(keystore, {
      get: (target, property) =>
        Reflect.get(property === 'describe' ? declareAssurance(target, level) : target, property),
    });
  });
  if (keys === undefined) return;
  await keys.create(demanding('fips-140-2-level-2', { keystore: 'hsm' }));
  await keys.call('key.rotate', 'a/k', {});
  await assert.rejects(
    keys.create(demanding('fips-140-2-level-3', { keystore: 'hsm', name: 'a/more' })),
    refused('storage-not-allowed'),
  );
  // The certificate ran out, and the operator says so: old versions serve on, no new one is made.
  level = 'none';
  await assert.rejects(keys.call('key.rotate', 'a/k', {}), refused('storage-not-allowed'));
  const data = Buffer.from('a message').toString('base64');
  assert.equal((await keys.call('key.sign', 'a/k', { data })).version, 2);
  assert.equal((await keys.call('key.show', 'a/k')).versions.length, 2);
});

test('a level is raised where the keystore has it, and never lowered', async (t) => {
  const keys = await openHardware(t, (hsm) => declareAssurance(quiet(hsm), 'fips-140-3-level-3'));
  if (keys === undefined) return;
  await keys.create(demanding('fips-140-2-level-2', { keystore: 'hsm' }));
  const update = (policy: object) =>
    keys.call('key.update', 'a/k', { policy: policySchema.parse(policy) });
  await update({ assurance: 'fips-140-3-level-3' });
  await assert.rejects(update({ assurance: 'fips-140-3-level-4' }), refused('storage-not-allowed'));
  for (const assurance of ['none', 'fips-140-2-level-3', 'fips-140-3-level-2', 'cc-eal6-plus']) {
    await assert.rejects(update({ assurance }), refused('invalid-policy'));
  }
  const after = await update({ validitySeconds: 3600 });
  assert.equal(after.policy.assurance, 'fips-140-3-level-3', 'left out it stays');
});

test('the export lock is closed in hardware, closes elsewhere when asked, and never opens', async (t) => {
  const keys = await openHardware(t);
  if (keys === undefined) return;
  const make = (name: string, policy: object, keystore = 'wrapped') =>
    keys.create({ name, algorithm: 'p-256', purpose: 'sign', keystore, policy });
  const update = (name: string, policy: object) =>
    keys.call('key.update', name, { policy: policySchema.parse(policy) });
  const policyOf = async (name: string) =>
    (await keys.keys.store.find(name))!.policy satisfies Policy;

  await make('a/hard', {}, 'hsm');
  await make('a/soft', { exportLocked: true });
  assert.deepEqual(
    (await policyOf('a/soft')).recovery,
    'none',
    'no backup holds what is locked in',
  );
  for (const name of ['a/hard', 'a/soft']) {
    await assert.rejects(update(name, { exportLocked: false }), refused('invalid-policy'));
    await assert.rejects(update(name, { recovery: 'replica' }), refused('invalid-policy'));
    await update(name, { reviewEverySeconds: 90 * 86_400 });
    const policy = await policyOf(name);
    assert.equal(policy.exportLocked, true, 'left out it stays closed');
  }
  await assert.rejects(make('a/x', { recovery: 'replica' }, 'hsm'), refused('invalid-policy'));
  await assert.rejects(
    make('a/x', { recovery: 'replica', exportLocked: true }),
    refused('invalid-policy'),
  );
  await make('a/open', { exportLocked: false }, 'hsm');
  const open = await policyOf('a/open');
  assert.deepEqual([open.exportLocked, open.recovery], [false, 'none']);
  await update('a/open', { exportLocked: true });
  assert.equal((await policyOf('a/open')).exportLocked, true);
  await make('a/copied', {});
  await assert.rejects(update('a/copied', { exportLocked: true }), refused('invalid-policy'));
});

async function opened() {
  const keys = await openTestKeys();
  return { ...keys, [Symbol.asyncDispose]: keys.close };
}
