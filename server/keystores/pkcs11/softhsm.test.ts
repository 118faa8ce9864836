import assert from 'node:assert/strict';
import { createHmac, createPublicKey, randomBytes, verify } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { algorithmNames } from '../../../api/algorithms.ts';
import { startSoftHsm, type TestSoftHsm } from '../../../test/softhsm.ts';
import { requireProgram } from '../../../test/tools.ts';
import { generateKeyMaterial, isRemoteKey, mac, sign } from '../../crypto/crypto.ts';
import { testKeystore } from '../conformance.ts';
import { freshIdentity, openKeystore, stopKeystores } from './keystore.fixture.ts';
import type { Pkcs11Keystore } from './pkcs11.ts';

const held = /^(rsa-.*|p-.*|secp256k1|ed25519|hmac-.*)$/;
const unsupported = algorithmNames.filter((name) => !held.test(name));

let shared: TestSoftHsm | undefined;
after(async () => {
  await stopKeystores();
  shared?.remove();
});

function token(t: TestContext): TestSoftHsm | undefined {
  shared ??= startSoftHsm(t);
  return shared;
}

// One token and one child for the suite; reopening is a second child.
let suite: Pkcs11Keystore | undefined;
let reopened: Pkcs11Keystore | undefined;
testKeystore({
  name: 'pkcs11: with SoftHSM2',
  unsupported,
  // SoftHSM 2.6 unwraps RSA, EC and secret keys.
  notImported: ['ed25519'],
  open: async (t) => {
    const hsm = token(t);
    if (hsm === undefined) return undefined;
    suite ??= openKeystore(hsm.uri);
    reopened ??= openKeystore(hsm.uri);
    await suite.health();
    return { keystore: suite, reopen: async () => reopened! };
  },
});

test('a key that was made in the token shows itself to pkcs11-tool as guarded', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  const keystore = openKeystore(hsm.uri);
  const identity = freshIdentity('tool/key');
  const stored = await keystore.generate(identity, 'p-256');
  const listing = hsm.tool(['--list-objects', '--type', 'privkey']).toString();
  const own = listing.split('Private Key Object').find((part) => part.includes('tool/key v1'));
  assert.match(own ?? '', /sensitive, always sensitive, never extract/);
  const id = /id=((?:%[0-9A-F]{2})+)/.exec(stored.uri)?.[1]?.replaceAll('%', '').toLowerCase();
  assert.match(own ?? '', new RegExp(`ID: +${id}`));
});

test('what was looked at before the start is what is loaded', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const uri = hsm.uriWith({ 'module-path': '/a/link/that/leads/elsewhere/now.so' });
  const checked = { modulePath: hsm.modulePath, environment: hsm.environment };
  const keystore = openKeystore(uri, { beforeStart: async () => checked });
  assert.equal((await keystore.facts()).label, hsm.label);
});

test('with a key goes nothing else that has its name in the token', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  const keystore = openKeystore(hsm.uri);
  const names = ['--label', 'shared name', '--id', '5a5a'];
  hsm.tool(['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', ...names]);
  const { algorithm, stored } = await keystore.adopt({ id: '5a5a' });
  const location = { ...freshIdentity('a/b'), ...stored, algorithm };
  hsm.tool(['--keygen', '--key-type', 'AES:32', '--sensitive', ...names]);
  hsm.tool(['--keypairgen', '--key-type', 'EC:prime256v1', '--sensitive', ...names]);
  await assert.rejects(keystore.destroy(location), { code: 'integrity-failed' });
  const left = (type: string) =>
    hsm.tool(['--list-objects', '--type', type]).toString().split('shared name').length - 1;
  assert.deepEqual([left('privkey'), left('secrkey')], [2, 1]);
  hsm.tool(['--delete-object', '--type', 'privkey', '--id', '5a5a']);
  await keystore.destroy(location);
  assert.deepEqual([left('privkey'), left('secrkey')], [0, 1]);
});

test('what pkcs11-tool signs with a key of ours verifies with the public key of ours', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  const identity = freshIdentity('tool/signer');
  const stored = await openKeystore(hsm.uri).generate(identity, 'rsa-2048');
  const id = /id=((?:%[0-9A-F]{2})+)/.exec(stored.uri)?.[1]?.replaceAll('%', '') ?? '';
  const input = join(hsm.folder, 'input');
  const output = join(hsm.folder, 'output');
  writeFileSync(input, 'signed by a stranger');
  hsm.tool([
    ...['--sign', '--mechanism', 'SHA256-RSA-PKCS', '--id', id],
    ...['--input-file', input, '--output-file', output],
  ]);
  const key = createPublicKey({ key: Buffer.from(stored.publicKey!), format: 'der', type: 'spki' });
  assert.equal(verify('sha256', readFileSync(input), key, readFileSync(output)), true);
});

for (const [what, tool, algorithm, scheme] of [
  ['RSA', 'rsa:2048', 'rsa-2048', 'rsa-pss-sha256'],
  ['EC', 'EC:secp384r1', 'p-384', 'ecdsa-sha384'],
] as const) {
  test(`a ${what} key that pkcs11-tool made is adopted in place, by label and by id`, async (t) => {
    const hsm = token(t);
    if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
    const id = randomBytes(4).toString('hex');
    const label = `made before ${what}`;
    hsm.tool(['--keypairgen', '--key-type', tool, '--label', label, '--id', id, '--usage-sign']);
    const keystore = openKeystore(hsm.uri);
    const byLabel = await keystore.adopt({ label });
    assert.deepEqual(await keystore.adopt({ id }), byLabel);
    assert.equal(byLabel.algorithm, algorithm);
    assert.equal(byLabel.extractable, false);
    const location = { keyId: 'key_x', version: 1, algorithm, ...byLabel.stored };
    const { privateKey, publicKey } = await keystore.open(location);
    const message = Buffer.from('adopted');
    const signature = await sign(scheme, privateKey, message);
    const details = scheme === 'rsa-pss-sha256' ? { padding: 6, saltLength: 32 } : {};
    const hash = scheme === 'rsa-pss-sha256' ? 'sha256' : 'sha384';
    assert.equal(verify(hash, message, { key: publicKey!, ...details }, signature), true);
    const listed = (await keystore.list()).find((one) => one.id === id);
    assert.equal(listed?.algorithm, algorithm);
    assert.equal(listed?.neverOutside, true);
  });
}

test('a name that no key or that several keys have is not adopted', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  const keystore = openKeystore(hsm.uri);
  for (const id of ['0a01', '0a02']) {
    hsm.tool(['--keypairgen', '--key-type', 'EC:secp256r1', '--label', 'twice', '--id', id]);
  }
  await assert.rejects(keystore.adopt({ label: 'twice' }), { code: 'conflict' });
  await assert.rejects(keystore.adopt({ label: 'nobody' }), { code: 'not-found' });
  await assert.rejects(keystore.adopt({ id: 'AA' }), { code: 'invalid-request' });
  await assert.rejects(keystore.adopt({}), { code: 'invalid-request' });
  assert.equal((await keystore.adopt({ id: '0a02' })).algorithm, 'p-256');
});

test('the public key of another key beside a private key is noticed when it is adopted', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || requireProgram(t, 'pkcs11-tool') === undefined) return;
  const keystore = openKeystore(hsm.uri);
  const identity = freshIdentity('mixed/key');
  const stored = await keystore.generate(identity, 'p-256');
  const id = /id=((?:%[0-9A-F]{2})+)/.exec(stored.uri)?.[1]?.replaceAll('%', '').toLowerCase();
  const other = await generateKeyMaterial('p-256');
  const file = join(hsm.folder, 'other.der');
  writeFileSync(file, other.spki!);
  hsm.tool(['--delete-object', '--type', 'pubkey', '--id', id!]);
  hsm.tool(['--write-object', file, '--type', 'pubkey', '--id', id!, '--label', 'mixed']);
  await assert.rejects(keystore.adopt({ id: id! }), { code: 'integrity-failed' });
  const location = { ...identity, algorithm: 'p-256' as const, ...stored };
  const opened = await keystore.open(location);
  assert.notEqual(opened.fingerprint, stored.fingerprint);
  await assert.rejects(sign('ecdsa-sha256', opened.privateKey, Buffer.from('x')), {
    code: 'integrity-failed',
  });
});

test('an imported secret key has the MAC and the fingerprint that it had outside', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const keystore = openKeystore(hsm.uri);
  const material = await generateKeyMaterial('hmac-sha512');
  const identity = freshIdentity('imported/mac');
  const stored = await keystore.import(identity, material);
  assert.equal(stored.fingerprint, material.fingerprint);
  const { privateKey } = await keystore.open({ ...identity, algorithm: 'hmac-sha512', ...stored });
  assert.equal(isRemoteKey(privateKey), true);
  const secret = material.privateKey.export();
  const expected = createHmac('sha512', secret).update('data').digest();
  assert.deepEqual(await mac('hmac-sha512', privateKey, Buffer.from('data')), expected);
});

test('a key is made once: a second one of the same id is refused', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const keystore = openKeystore(hsm.uri);
  const identity = freshIdentity('once/key');
  const { fingerprint } = await keystore.generate(identity, 'p-256');
  await assert.rejects(keystore.generate(identity, 'p-256'), { code: 'already-exists' });
  const listed = (await keystore.list()).filter((one) => one.label.startsWith('once/key'));
  assert.equal(listed.length, 1);
  assert.match(fingerprint, /^[0-9a-f]{64}$/);
});

test('the PIN is in no argument, environment or open file of the child', async (t) => {
  const hsm = token(t);
  if (hsm === undefined || !existsSync('/proc/self/environ')) return;
  process.env.KEYREEVE_SECRET_OF_THE_SERVICE = 'must not be passed on';
  const keystore = openKeystore(hsm.uri);
  await keystore.facts();
  delete process.env.KEYREEVE_SECRET_OF_THE_SERVICE;
  const { pid } = keystore.metrics();
  const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
  const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  assert.equal(command.includes('--disable-sigusr1'), true);
  assert.equal(
    command.some((part) => part.includes(hsm.pin)),
    false,
  );
  assert.equal(
    environment.some((entry) => entry.endsWith(`=${hsm.pin}`)),
    false,
  );
  assert.equal(
    environment.some((entry) => entry.startsWith('KEYREEVE_')),
    false,
  );
  assert.equal(
    environment.some((entry) => entry.startsWith('SOFTHSM2_CONF=')),
    true,
  );
});

test('a keystore whose token or module is not there says so', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const noToken = openKeystore(hsm.uri.replace('token=keyreeve%20test', 'token=another'));
  assert.match((await noToken.health()).reason ?? '', /"another" .* is not there/);
  await assert.rejects(noToken.generate(freshIdentity('x'), 'p-256'), {
    code: 'keystore-unavailable',
  });
  const noModule = openKeystore(hsm.uriWith({ 'module-path': '/nowhere/module.so' }));
  assert.match((await noModule.health()).reason ?? '', /module \/nowhere\/module.so/);
  const noPin = openKeystore(hsm.uri.replace(/&pin-source=[^&]*/, ''));
  await assert.rejects(noPin.facts(), { code: 'config-invalid', message: /asks for a PIN/ });
});

test('a PIN file that others may read is refused', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const path = join(hsm.folder, 'lax-pin');
  writeFileSync(path, hsm.pin, { mode: 0o644 });
  const keystore = openKeystore(hsm.uriWith({ 'pin-source': `file:${path}` }));
  await assert.rejects(keystore.facts(), { code: 'lax-mode' });
  const away = openKeystore(hsm.uriWith({ 'pin-source': 'file:/nowhere/pin' }));
  await assert.rejects(away.facts(), { code: 'config-invalid' });
  rmSync(path);
});

test('what the keystore says of itself names the token and promises nothing', async (t) => {
  const hsm = token(t);
  if (hsm === undefined) return;
  const { assurance, assuranceFrom, device } = await openKeystore(hsm.uri).describe();
  assert.equal(assurance, 'none');
  assert.equal(assuranceFrom, 'token');
  assert.equal(device?.label, hsm.label);
  assert.equal(device?.model, 'SoftHSM v2');
});
