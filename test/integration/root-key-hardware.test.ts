import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { exitCodes } from '../../cli/exit-codes.ts';
import { eventually } from '../eventually.ts';
import { type Installation, startService } from '../service.ts';
import { startSoftHsm, type TestSoftHsm } from '../softhsm.ts';
import { run } from '../tools.ts';
import { startTpm } from '../tpm.ts';
import {
  firstStart,
  makeKey,
  must,
  opens,
  restart,
  type Site,
  sealIn,
} from './root-key.fixture.ts';

/** Between the calls during a move: without one they would take the processor that it needs. */
const callPauseMilliseconds = 20;

/** The settings that a move printed. */
function settingsIn(stdout: string): Record<string, string> {
  const lines = stdout.trim().split('\n');
  return Object.fromEntries(lines.map((line) => [line.split('=')[0], line.replace(/^[^=]*=/, '')]));
}

/** Issues by the CA and holds the certificate against openssl. */
async function issueAndVerify({ command, installation }: Site, name: string): Promise<void> {
  const file = (suffix: string) => join(installation.folder, `${name}.${suffix}`);
  const host = `${name}.example.test`;
  run('openssl', [
    ...['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-keyout', file('key'), '-out', file('csr'), '-subj', `/CN=${host}`],
    ...['-addext', `subjectAltName=DNS:${host}`],
  ]);
  const issue = ['cert', 'issue', '--ca', 'ca/hardware', '--profile', 'tls-server'];
  await must(command, ...issue, '--csr', file('csr'), '--out', file('crt'));
  verifyAgain(installation, name);
}

function verifyAgain({ folder }: Installation, name: string): void {
  const verified = run('openssl', [
    ...['verify', '-x509_strict', '-CAfile', join(folder, 'root.pem')],
    join(folder, `${name}.crt`),
  ]);
  assert.match(verified.toString(), /: OK/);
}

/** A CA whose key lies in the token beside the root key. */
async function makeAuthority({ command, installation, client }: Site, hsm: TestSoftHsm) {
  await must(command, 'keystore', 'add', 'hsm', '--uri', hsm.uri);
  const create = ['ca', 'create', 'ca/hardware', '--algorithm', 'p-256', '--keystore', 'hsm'];
  await must(command, ...create, '--subject', 'CN=Hardware');
  const { versions } = await client.call('key.show', { params: { key: 'ca/hardware' } });
  assert.match(versions[0]!.uri, /^pkcs11:/);
  const objects = hsm.tool(['--list-objects', '--type', 'privkey']).toString();
  assert.match(objects, /label: +ca\/hardware v1/);
  assert.match(objects, /Access: .*sensitive.*never extractable/);
  await must(command, 'ca', 'chain', 'ca/hardware', '--out', join(installation.folder, 'root.pem'));
}

async function refusesToStart(
  t: TestContext,
  { installation }: Pick<Site, 'installation'>,
  settings: Readonly<Record<string, string>>,
  code: string,
  message: RegExp,
): Promise<void> {
  await assert.rejects(startService(t, installation, settings), (error) => {
    const text = (error as Error).message;
    assert.match(text, /^ended with 1: /);
    assert.ok(text.includes(`(${code})\nhint: `), `${code} is expected in: ${text}`);
    assert.match(text, message);
    return true;
  });
}

test('the root key is made in SoftHSM2, moved to a TPM while the service works, and back', async (t) => {
  const hsm = startSoftHsm(t);
  const tpm = await startTpm(t);
  if (hsm === undefined || tpm === undefined) return;
  t.after(() => hsm.remove());
  t.after(() => tpm.remove());
  const first = await firstStart(t, sealIn(hsm));
  assert.equal(existsSync(join(first.installation.seal, 'root.key')), false);
  const { rootKey: made } = await first.client.call('status');
  assert.deepEqual([made.kind, made.ready, made.reason], ['pkcs11', true, null]);
  assert.match(made.protects, /the token is a program/);
  await makeAuthority(first, hsm);
  const ciphertext = await makeKey(first.client);
  await issueAndVerify(first, 'before');
  assert.equal(await first.service.stop(), 0);

  // 1. Restarted with the same key in the token.
  const second = await restart(t, first);
  assert.equal((await second.client.call('status')).rootKey.fingerprint, made.fingerprint);
  await opens(second.client, ciphertext);

  // 2. Moved while it works: no call fails.
  let isMoving = true;
  const working = (async () => {
    let calls = 0;
    for (; isMoving; calls++) {
      await opens(second.client, ciphertext);
      await pause(callPauseMilliseconds);
    }
    return calls;
  })();
  const stdout = await must(second.command, 'root-key', 'move', sealIn(tpm), '--online');
  isMoving = false;
  assert.ok((await working) > 0);
  const settings = settingsIn(stdout);
  assert.equal(settings.KEYREEVE_SEAL, sealIn(tpm));
  const { rootKey: moved } = await second.client.call('status');
  assert.notEqual(moved.fingerprint, made.fingerprint);
  assert.match(moved.protects, /never leaves its token/);
  await opens(second.client, ciphertext);
  const again = await must(second.command, 'root-key', 'move', sealIn(hsm, 'x'), '--online').catch(
    (error) => String(error),
  );
  assert.match(again, /guards the root key less/);
  const toFolder = await second.command(['root-key', 'move', '/tmp/no-such-seal', '--online']);
  assert.equal(toFolder.code, exitCodes['not-allowed'], toFolder.stderr);
  assert.equal(existsSync('/tmp/no-such-seal'), false);
  assert.equal(await second.service.stop(), 0);

  // 3. The old place says where the new one is; there everything goes on.
  await refusesToStart(t, second, {}, 'root-key-mismatch', /hint: .*token=keyreeve%20tpm/);
  const third = await restart(t, second, settings);
  await opens(third.client, ciphertext);
  verifyAgain(third.installation, 'before');
  await issueAndVerify(third, 'after');
  assert.equal((await third.client.call('audit.verify', { body: {} })).ok, true);
  const { items } = await third.client.call('audit.list', { query: { action: 'root-key.move' } });
  assert.ok(items.length > 0);
  assert.equal(await third.service.stop(), 0);

  // 4. On the host: to another key of the first token, and to a folder.
  const back = sealIn(hsm, 'second root');
  await refusesToStart(t, third, { KEYREEVE_SEAL: back }, 'root-key-missing', /keyreeve%20tpm/);
  const movedBack = await must(third.command, 'root-key', 'move', back);
  Object.assign(third.installation.environment, settingsIn(movedBack));
  const folder = `${third.installation.folder}/folder.seal`;
  const last = settingsIn(await must(third.command, 'root-key', 'move', folder));
  const fourth = await restart(t, third, last);
  assert.equal((await fourth.client.call('status')).rootKey.kind, 'file');
  await opens(fourth.client, ciphertext);
  await issueAndVerify(fourth, 'in-a-folder');
});

test('with a wrong PIN or without its token no service starts; lost later, what is open stays', async (t) => {
  const hsm = startSoftHsm(t);
  if (hsm === undefined) return;
  t.after(() => hsm.remove());
  const first = await firstStart(t, sealIn(hsm));
  const ciphertext = await makeKey(first.client);
  const backUp = (name: string) =>
    first.command(
      ['backup', 'create', join(first.installation.folder, name), '--passphrase-file', '-'],
      { input: 'correct horse battery\n' },
    );
  assert.equal((await backUp('one.gpg')).code, 0);

  // The token goes while the service runs.
  hsm.takeAway();
  await opens(first.client, ciphertext);
  const { rootKey: away } = await first.client.call('status');
  assert.equal(away.ready, false);
  assert.ok(away.reason);
  const refused = await backUp('two.gpg');
  assert.match(refused.stderr, /keystore/);
  assert.notEqual(refused.code, 0);
  assert.equal(await first.service.stop(), 0);

  await refusesToStart(t, first, {}, 'keystore-unavailable', /hint: Connect the token/);
  hsm.putBack();
  const wrong = join(hsm.folder, 'wrong-pin');
  writeFileSync(wrong, '0000\n', { mode: 0o600 });
  const seal = sealIn({ uri: hsm.uriWith({ 'pin-source': `file:${wrong}` }) });
  await refusesToStart(t, first, { KEYREEVE_SEAL: seal }, 'wrong-passphrase', /PIN/);
  // Started again, it does not try that PIN once more: the token would lock.
  const before = /PIN \(it did so before\)/;
  await refusesToStart(t, first, { KEYREEVE_SEAL: seal }, 'wrong-passphrase', before);
  await refusesToStart(
    t,
    first,
    { KEYREEVE_SEAL: 'pkcs11:token=x;object=y' },
    'config-invalid',
    /module-path/,
  );

  const second = await restart(t, first);
  await opens(second.client, ciphertext);
  assert.equal((await second.client.call('status')).rootKey.ready, true);
  hsm.takeAway();
  assert.equal((await second.client.call('status')).rootKey.ready, false);
  hsm.putBack();
  // Without a restart.
  await eventually(async () => (await second.client.call('status')).rootKey.ready);
  assert.equal(await second.service.stop(), 0);
  await restoreElsewhere(t, second, hsm, ciphertext);
});

/** The seal of the backup is proven by the token, and by nothing else. */
async function restoreElsewhere(
  t: TestContext,
  site: Site,
  hsm: TestSoftHsm,
  ciphertext: string,
): Promise<void> {
  const { installation } = site;
  const restore = ['backup', 'restore', join(installation.folder, 'one.gpg')];
  const elsewhere = join(installation.folder, 'elsewhere');
  installation.environment.KEYREEVE_DATA = elsewhere;
  const input = 'correct horse battery\n';
  const run = () => site.command([...restore, '--passphrase-file', '-'], { input });
  hsm.takeAway();
  const without = await run();
  assert.match(without.stderr, /no way to the root key/);
  assert.equal(existsSync(join(elsewhere, 'keyreeve.db')), false);
  hsm.putBack();
  const seal = installation.environment.KEYREEVE_SEAL;
  installation.environment.KEYREEVE_SEAL = `${elsewhere}.seal`;
  assert.match((await run()).stderr, /no root key/);
  installation.environment.KEYREEVE_SEAL = seal;
  const restored = await run();
  assert.equal(restored.code, 0, restored.stderr);
  const service = await startService(t, installation);
  await opens(site.login.at(service.url), ciphertext);
  assert.equal(await service.stop(), 0);
}
