import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTestTakeover } from './takeover/takeover.fixture.ts';

const refused = { code: 'storage-not-allowed' };

test('root-ca: where the table is enforced, a root is made in no keystore of this process', async () => {
  await using test = await openTestTakeover({ storageTable: 'enforced' });
  for (const keystore of ['wrapped', 'file']) {
    const body = { name: 'root', subject: 'CN=Root', algorithm: 'p-256', keystore };
    await assert.rejects(test.ask('ca.create', { body }), { ...refused, hint: /HSM/ });
  }
  assert.equal(await test.keys.store.find('root'), undefined);
  assert.deepEqual(await test.rows(), []);
});

test('root-ca: a CA whose policy names the class is refused by default as well', async () => {
  await using test = await openTestTakeover();
  const policy = { storage: 'root-ca' };
  for (const keystore of ['wrapped', 'file']) {
    const body = { name: 'root', subject: 'CN=Root', algorithm: 'p-256', keystore, policy };
    await assert.rejects(test.ask('ca.create', { body }), refused);
  }
});

test('root-ca: a root from before the table was enforced is given no new key where it is', async () => {
  await using test = await openTestTakeover();
  const body = { name: 'root', subject: 'CN=Root', algorithm: 'p-256' };
  await test.ask('ca.create', { body });
  const below = { name: 'below', subject: 'CN=Below', algorithm: 'p-256', parent: 'root' };
  await test.ask('ca.create', { body: below });
  Object.assign(test.keys, { storageTable: 'enforced' });
  await assert.rejects(test.ask('ca.rekey', { params: { ca: 'root' } }), refused);
  // CAs below a root are free.
  await test.ask('ca.rekey', { params: { ca: 'below' } });
});

test('tls-client, tls-server: where the table is enforced, a key of the service gets no such certificate', async () => {
  await using test = await openTestTakeover();
  await test.ask('ca.create', { body: { name: 'ca', subject: 'CN=CA', algorithm: 'p-256' } });
  for (const keystore of ['wrapped', 'file']) {
    await test.create({ name: keystore, algorithm: 'p-256', purpose: 'sign', keystore });
  }
  const issue = (key: string, profile: string) =>
    test.ask('certificate.issue', {
      body: { ca: 'ca', key, profile, subject: 'CN=x', names: ['dns:x.example.org'] },
    });
  await issue('wrapped', 'tls-client');
  Object.assign(test.keys, { storageTable: 'enforced' });
  for (const [key, profile, isAllowed] of [
    ['wrapped', 'tls-client', false],
    ['file', 'tls-client', false],
    ['wrapped', 'tls-server', false],
    ['file', 'tls-server', true],
    ['file', 'tls-peer', false],
  ] as const) {
    if (isAllowed) await issue(key, profile);
    else await assert.rejects(issue(key, profile), refused, `${key} ${profile}`);
  }
});
