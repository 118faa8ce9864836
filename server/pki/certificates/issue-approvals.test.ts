/** What approval rules look at, and what approvers agree to, where certificates are issued. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../../api/error-codes.ts';
import { requireProgram } from '../../../test/tools.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import type { GatedCommand } from '../../commands/commands.ts';
import { openTestCertificates, requestBy, temporaryFolder } from './certificates.fixture.ts';

const own = {
  ...{
    name: 'own',
    title: 'Own',
    what: 'A profile of our own.',
    subject: { allowed: ['CN'], required: ['CN'] },
  },
  ...{ keyUsage: ['digitalSignature'], validitySeconds: 3600, validitySecondsMax: 3600 },
};
const is = (code: ErrorCode) => (error: unknown) => isKeyreeveError(error, code);

/** A CA, and what the gate was asked; `meanwhile` happens while somebody decides. */
async function open() {
  const asked: GatedCommand[] = [];
  const during: { meanwhile?: (() => Promise<unknown>) | undefined } = {};
  const ca = await openTestCertificates({
    gate: async (_caller, command) => {
      asked.push(command);
      if (command.action !== 'certificate.issue') return undefined;
      const { meanwhile } = during;
      during.meanwhile = undefined;
      await meanwhile?.();
      return undefined;
    },
  });
  await ca.root('ca/root');
  const apply = (more: object = {}) => ca.ask('profile.apply', { body: { ...own, ...more } });
  return Object.assign(ca, { asked, during, apply });
}

const authority = { isAuthority: true, keyUsage: ['keyCertSign', 'cRLSign'] };

test('a profile that is made one of CAs after the rules were asked issues nothing', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  await ca.apply();
  const csr = requestBy(openssl, temporaryFolder(t), { subject: '/CN=sub', names: [] });
  const item = { ca: 'ca/root', profile: 'own', csr };
  ca.during.meanwhile = () => ca.apply(authority);
  await assert.rejects(ca.issue(item), is('conflict'));
  await ca.apply();
  ca.during.meanwhile = () => ca.apply(authority);
  const { items } = await ca.ask('certificate.issue.batch', { body: { items: [item] } });
  const [first] = items;
  assert.ok(first !== undefined && 'error' in first);
  assert.equal(first.error.code, 'conflict');
  await ca.apply();
  await ca.issue(item);
});

test('what is agreed to is the profile as it was, and the version of the key', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  await using ca = await open();
  await ca.apply();
  await ca.create({ name: 'leaf', algorithm: 'p-256', purpose: 'sign' });
  const body = { ca: 'ca/root', profile: 'own', key: 'leaf', subject: 'CN=leaf' };
  const bindsOf = async () => {
    await ca.issue(body);
    return JSON.stringify(ca.asked.at(-1)!.binds);
  };
  const first = await bindsOf();
  assert.equal(await bindsOf(), first);
  await ca.apply({ keyUsage: ['digitalSignature', 'keyEncipherment'] });
  const second = await bindsOf();
  assert.notEqual(second, first);
  await ca.call('key.rotate', 'leaf');
  assert.notEqual(await bindsOf(), second);
});

test('to release the certificate of a CA is to certify it again', async () => {
  await using ca = await open();
  const below = await ca.below('ca/root', 'ca/web');
  const { serial } = below.versions[0]!;
  await ca.revoke(serial, { reason: 'certificateHold' });
  assert.deepEqual(ca.asked.at(-1)!.also, []);
  await ca.ask('certificate.release', { params: { serial }, body: {} });
  const also = ca.asked.at(-1)!.also!;
  assert.deepEqual(
    also.map(({ action, resource }) => [action, resource.type === 'key' && resource.name]),
    [['ca.certify', 'ca/root']],
  );
});
