import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pino from 'pino';
import { startSoftHsm, type TestSoftHsm } from '../../../test/softhsm.ts';
import { requireProgram } from '../../../test/tools.ts';
import { systemClock } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Gate } from '../../commands/commands.ts';
import { createPkcs11Keystore } from '../../keystores/pkcs11/pkcs11.ts';
import { makeOpensslCa, type OpensslCa, openTestTakeover } from './takeover.fixture.ts';

/** An installation with a SoftHSM2 token as the keystore `hsm`, or undefined: skipped by name. */
async function openWithToken(t: TestContext, options: { gate?: Gate } = {}) {
  const openssl = requireProgram(t, 'openssl');
  const hsm = openssl === undefined ? undefined : startSoftHsm(t);
  if (openssl === undefined || hsm === undefined) return undefined;
  const log = pino({ level: 'silent' });
  const keystore = createPkcs11Keystore({ name: 'hsm', uri: hsm.uri, log, clock: systemClock });
  const installation = await openTestTakeover({ furtherKeystores: [keystore], ...options });
  t.after(async () => {
    await installation[Symbol.asyncDispose]();
    await keystore.stop();
    hsm.remove();
  });
  const file = (name: string, text: string | Uint8Array) => {
    const path = join(hsm.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const run = (...parameters: string[]) =>
    execFileSync(openssl, parameters, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  return { ...installation, openssl, hsm, keystore, file, run };
}

type WithToken = NonNullable<Awaited<ReturnType<typeof openWithToken>>>;

/** A request for `name`, made by openssl. */
function request({ run, hsm }: WithToken, name: string): string {
  const out = join(hsm.folder, `${name}.csr`);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`];
  run('req', '-new', ...key, '-keyout', join(hsm.folder, `${name}.key`), ...subject, '-out', out);
  return run('req', '-in', out);
}

test('a CA in a token issues, publishes and is re-keyed there, and openssl verifies all of it', async (t) => {
  const test = await openWithToken(t);
  if (test === undefined) return;
  const root = await test.ask('ca.create', {
    body: {
      ...{ name: 'ca/hardware', subject: 'CN=Hardware', algorithm: 'p-256', keystore: 'hsm' },
      policy: { storage: 'root-ca' },
    },
  });
  const anchor = test.file('root.pem', root.versions[0]!.certificate!);
  const issue = async (name: string) => {
    const csr = request(test, name);
    const body = { ca: 'ca/hardware', profile: 'tls-server', csr };
    return (await test.ask('certificate.issue', { body })).certificate!;
  };
  const first = test.file('first.pem', await issue('one.example.org'));
  assert.match(test.run('verify', '-CAfile', anchor, first), /OK/);
  const crl = test.file('ca.crl', await test.crl('ca/hardware', 1));
  const verdict = ['crl', '-inform', 'DER', '-in', crl, '-CAfile', anchor, '-noout', '-verify'];
  test.run(...verdict);
  await test.ask('ca.rekey', { params: { ca: 'ca/hardware' } });
  const { chain } = await test.ask('ca.chain', { params: { ca: 'ca/hardware' } });
  const second = test.file('second.pem', await issue('two.example.org'));
  assert.match(test.run('verify', '-CAfile', test.file('chain.pem', chain), second), /OK/);
  assert.equal((await test.keystore.list()).length, 2);
});

test('a root whose policy names its class is not made outside of a token', async (t) => {
  const test = await openWithToken(t);
  if (test === undefined) return;
  const body = { name: 'ca/soft', subject: 'CN=Soft', algorithm: 'p-256' };
  await assert.rejects(
    test.ask('ca.create', { body: { ...body, policy: { storage: 'root-ca' } } }),
    { code: 'storage-not-allowed' },
  );
  await assert.rejects(
    test.ask('ca.create', {
      body: { ...body, keystore: 'hsm', policy: { assurance: 'fips-140-2-level-3' } },
    }),
    { code: 'storage-not-allowed' },
  );
  assert.deepEqual(await test.keystore.list(), []);
});

function putIn(hsm: TestSoftHsm, old: OpensslCa, label: string, id: string): void {
  const names = ['--label', label, '--id', id];
  old.command('pkey', '-in', 'ca.key', '-outform', 'DER', '-out', 'ca.key.der');
  old.command('pkey', '-in', 'ca.key', '-pubout', '-outform', 'DER', '-out', 'ca.pub.der');
  const write = (file: string, type: string, ...more: string[]) =>
    hsm.tool(['--write-object', old.at(file), '--type', type, ...names, ...more]);
  write('ca.key.der', 'privkey', '--usage-sign', '--sensitive');
  write('ca.pub.der', 'pubkey');
}

test('a CA whose key lies in a token is taken over in place', async (t) => {
  const deeds: string[] = [];
  const test = await openWithToken(t, {
    gate: async (_caller, { action, also = [] }) => {
      if (action === 'ca.import') deeds.push(...also.map((one) => one.action));
      return undefined;
    },
  });
  if (test === undefined) return;
  const old = makeOpensslCa(t, test.openssl);
  putIn(test.hsm, old, 'old ca', '0e');
  const certificate = old.certificate();
  const place = { keystore: 'hsm', object: 'old ca' };
  await test.importCa('old', { certificate, ...place });
  // Rules for keys that are taken over hold it, too.
  assert.deepEqual(deeds, ['key.adopt']);
  const key = (await test.keys.store.find('old'))!;
  assert.deepEqual([key.versions[0]?.origin, key.policy.recovery], ['adopted', 'none']);
  await test.finish('old', 0, 0);
  const body = { ca: 'old', profile: 'tls-server', csr: request(test, 'new.example.org') };
  const issued = await test.ask('certificate.issue', { body });
  const leaf = test.file('leaf.pem', issued.certificate!);
  assert.match(test.run('verify', '-CAfile', old.at('ca.crt'), leaf), /OK/);
  assert.match(JSON.stringify(await test.entries()), /\\"origin\\":\\"adopted\\"/);
});

test('a take-over in place is refused for another key, without the right, and said twice', async (t) => {
  const test = await openWithToken(t);
  if (test === undefined) return;
  const old = makeOpensslCa(t, test.openssl);
  const other = makeOpensslCa(t, test.openssl, { subject: '/CN=Other' });
  putIn(test.hsm, other, 'other', '0f');
  const certificate = old.certificate();
  const refused = async (body: object, code: string) =>
    assert.rejects(test.importCa('old', { certificate, ...body }), { code });
  await refused({ keystore: 'hsm', object: 'other' }, 'invalid-key-material');
  await refused({ keystore: 'hsm', object: 'nothing' }, 'not-found');
  await refused({ object: 'other' }, 'invalid-request');
  await refused({}, 'invalid-request');
  await refused({ keystore: 'hsm', object: 'other', key: old.key() }, 'invalid-request');
  test.rights.authorise = (_caller, action) => {
    if (action === 'key.adopt') throw new KeyreeveError('forbidden', 'Not for you.');
  };
  await refused({ keystore: 'hsm', object: 'nothing' }, 'forbidden');
  assert.equal((await test.keystore.list()).length, 1, 'the key in the token is as it was');
  assert.equal(await test.keys.store.find('old'), undefined);
});
