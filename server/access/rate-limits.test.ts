import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressBlock, defaultRateLimits, WrongTokens } from './rate-limits.ts';
import { openAccess, refusal, TestClock } from './test-support.ts';
import { makeToken } from './token-format.ts';

test('addresses are counted by IPv4 address and by /64 of IPv6', () => {
  const table: [string, string][] = [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['::ffff:c000:207', '192.0.2.7'],
    ['0:0:0:0:0:ffff:c000:0207', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0DB8:0001:0002::9', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.7', '64:ff9b:0:0::/64'],
    ['unix', 'unix'],
    ['', ''],
  ];
  for (const [address, block] of table) assert.equal(addressBlock(address), block, address);
});

test('wrong tokens are taken up to the limit, then one at a time', () => {
  const clock = new TestClock();
  const limits = { ...defaultRateLimits, wrongTokensMax: 3, wrongTokenSeconds: 2 };
  const wrong = new WrongTokens(clock, limits);
  for (let count = 0; count < 3; count++) {
    wrong.check('192.0.2.7');
    wrong.count('192.0.2.7');
  }
  assert.throws(
    () => wrong.check('192.0.2.7'),
    (error: { retryAfterSeconds: number }) => {
      refusal('rate-limited')(error);
      return error.retryAfterSeconds === 2;
    },
  );
  wrong.check('192.0.2.8');
  clock.milliseconds += 1999;
  assert.throws(() => wrong.check('192.0.2.7'), refusal('rate-limited'));
  clock.milliseconds += 1;
  wrong.check('192.0.2.7');
  wrong.count('192.0.2.7');
  assert.throws(() => wrong.check('192.0.2.7'), refusal('rate-limited'));
  clock.advance(1000);
  for (let count = 0; count < 3; count++) {
    wrong.check('192.0.2.7');
    wrong.count('192.0.2.7');
  }
  assert.throws(() => wrong.check('192.0.2.7'), refusal('rate-limited'));
});

test('who guesses tokens has to wait, while a token known to be good goes on', async (t) => {
  const opened = await openAccess({ rateLimits: { wrongTokensMax: 4 } });
  t.after(() => opened.close());
  const administrator = await opened.administrator();
  const known = await opened.token(administrator);
  const unseen = await opened.token(administrator);
  await opened.caller(known, '192.0.2.9');
  for (let count = 0; count < 4; count++) {
    await assert.rejects(opened.caller(makeToken(), '192.0.2.9'), refusal('unauthenticated'));
  }
  await assert.rejects(opened.caller(makeToken(), '192.0.2.9'), refusal('rate-limited'));
  await assert.rejects(opened.caller('krv_short', '192.0.2.9'), refusal('rate-limited'));
  await assert.rejects(opened.caller(unseen, '192.0.2.9'), refusal('rate-limited'));
  await opened.caller(known, '192.0.2.9');
  await opened.storage.commit({ steps: [], entries: [], raisesEpoch: true });
  await opened.caller(known, '192.0.2.9');
  await opened.caller(unseen, '192.0.2.10');
});

test('a call without a token counts for nothing', async (t) => {
  const opened = await openAccess({ rateLimits: { wrongTokensMax: 1 } });
  t.after(() => opened.close());
  const token = await opened.token(await opened.administrator());
  for (let count = 0; count < 5; count++) {
    await assert.rejects(opened.caller(''), refusal('unauthenticated'));
  }
  await opened.caller(token);
});
