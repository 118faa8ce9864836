import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { openTestCertificates } from './certificates/certificates.fixture.ts';
import { expiryWarningSeconds, tellExpiring } from './expiring-authorities.ts';

const day = 86_400;

async function open(t: TestContext) {
  const test = await openTestCertificates();
  t.after(() => test.close());
  const { storage, clock } = test;
  return Object.assign(test, {
    tell: () => tellExpiring({ storage, clock, fence: [] }),
    told: async () =>
      (await test.entries()).filter(({ action }) => action === 'certificate.expiring'),
    left: async (name: string) => {
      const [version] = (await test.authorities.find(name))!.versions.slice(-1);
      return version!.certificate.notAfter - clock.now();
    },
  });
}

test('a CA is told of once, when its certificate ends soon', async (t) => {
  const ca = await open(t);
  await ca.root('root');
  assert.equal(await ca.tell(), 0);
  ca.clock.advance((await ca.left('root')) / 1000 - expiryWarningSeconds - 0.001);
  assert.equal(await ca.tell(), 0);
  ca.clock.advance(0.001);
  assert.equal(await ca.tell(), 1);
  assert.equal(await ca.tell(), 0);
  ca.clock.advance(day);
  assert.equal(await ca.tell(), 0);
  const [entry] = await ca.told();
  assert.deepEqual([entry!.kind, entry!.keyName, entry!.keyVersion], ['event', 'root', '1']);
  assert.match(entry!.detail!, /notAfter/);
});

test('a renewed certificate is told of when it ends soon in its turn', async (t) => {
  const ca = await open(t);
  await ca.root('root');
  ca.clock.advance((await ca.left('root')) / 1000 - day);
  assert.equal(await ca.tell(), 1);
  await ca.ask('ca.renew', { params: { ca: 'root' } });
  assert.equal(await ca.tell(), 0);
  ca.clock.advance((await ca.left('root')) / 1000 - day);
  assert.equal(await ca.tell(), 1);
  assert.equal((await ca.told()).length, 2);
});

test('what a newer key has replaced is not told of', async (t) => {
  const ca = await open(t);
  await ca.root('root');
  ca.clock.advance((await ca.left('root')) / 1000 - expiryWarningSeconds - day);
  await ca.ask('ca.rekey', { params: { ca: 'root' } });
  ca.clock.advance(2 * day);
  assert.equal(await ca.tell(), 0);
});

test('many who look at once tell once', async (t) => {
  const ca = await open(t);
  await ca.root('root');
  ca.clock.advance((await ca.left('root')) / 1000 - day);
  const counts = await Promise.all([ca.tell(), ca.tell(), ca.tell()]);
  assert.equal(
    counts.reduce((sum, count) => sum + count, 0),
    1,
  );
});
