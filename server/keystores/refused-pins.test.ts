import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestKeys } from '../keys/testing.ts';
import { createRefusedPins } from './refused-pins.ts';

test('what one token refused keeps nobody from another, and is not forgotten for it', async (t) => {
  const { storage, close } = await openTestKeys();
  t.after(close);
  const pins = createRefusedPins(storage);
  assert.equal(await pins.recall('pkcs11:token=a'), undefined);
  await pins.note('pkcs11:token=a', 'file 1');
  await pins.note('pkcs11:token=b', 'file 2');
  assert.equal(await pins.recall('pkcs11:token=a'), 'file 1');
  assert.equal(await pins.recall('pkcs11:token=c'), undefined);
  await pins.note('pkcs11:token=a', 'file 3');
  assert.equal(await pins.recall('pkcs11:token=a'), 'file 3');
});
