import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startSoftHsm } from '../../test/softhsm.ts';
import { openReviews } from './review.fixture.ts';

test('a locked key is not extractable, and does not get into a group that is made later', async (t) => {
  const all = await openReviews(t);
  const second = startSoftHsm(t);
  if (all === undefined || second === undefined) return;
  t.after(() => second.remove());
  await all.add('hsm');
  await all.add('b', {}, second);
  const key = await all.makeKey('h/locked', 'hsm');
  assert.equal(key.policy.exportLocked, true);
  const listed = all.hsm.tool(['--list-objects', '--type', 'privkey']).toString();
  assert.match(listed, /Access: +.*sensitive.*always sensitive.*never extractable/);

  await all.keystore('keystore.group', {
    body: { name: 'both', primary: 'hsm', secondary: 'b' },
  });
  await all.call('key.rotate', 'h/locked', {});
  assert.equal(second.tool(['--list-objects', '--type', 'privkey']).toString(), '');

  await all.makeKey('g/mirrored', 'both');
  const inSecond = second.tool(['--list-objects', '--type', 'privkey']).toString();
  assert.equal(inSecond.match(/Private Key Object/g)?.length, 1, 'the key of the group alone');
  assert.match(inSecond, /Access: +sensitive/);
  assert.doesNotMatch(inSecond, /Access: +.*\bextractable/m);
});
