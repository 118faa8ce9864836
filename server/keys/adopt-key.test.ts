import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { requireProgram } from '../../test/tools.ts';
import { adoptCurrentKey, currentKeyName } from './keys.ts';
import { openTestKeys } from './testing.ts';

const data = Buffer.from('a certificate').toString('base64');

async function open(t: TestContext) {
  const keys = await openTestKeys();
  t.after(() => keys.close());
  const folder = join(keys.folder, 'files');
  mkdirSync(join(folder, 'private'), { recursive: true, mode: 0o700 });
  const openssl = requireProgram(t, 'openssl');
  const makeFile = (id: string, ...words: string[]) => {
    const path = join(folder, 'private', `${id}.pem`);
    execFileSync(
      'sh',
      ['-c', 'umask 077; exec "$@"', 'sh', openssl!, 'genpkey', ...words, '-out', path],
      {
        stdio: 'ignore',
      },
    );
    return path;
  };
  return { ...keys, makeFile, isRunnable: openssl !== undefined };
}

const rsa = ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'];

test('a key file made by openssl signs under the name of the setting, and its successor after it', async (t) => {
  const keys = await open(t);
  if (!keys.isRunnable) return;
  keys.makeFile('rsa-2024-01', ...rsa);
  assert.equal(await adoptCurrentKey(keys.keys, 'rsa-2024-01'), 'adopted');
  assert.equal(await adoptCurrentKey(keys.keys, 'rsa-2024-01'), 'current');
  const first = await keys.call('key.sign', currentKeyName, { data });
  keys.makeFile('rsa-2024-02', ...rsa);
  assert.equal(await adoptCurrentKey(keys.keys, 'rsa-2024-02'), 'adopted');
  assert.equal(await adoptCurrentKey(keys.keys, 'rsa-2024-01'), 'superseded');
  const shown = await keys.call('key.show', currentKeyName);
  assert.deepEqual(
    shown.versions.map(({ version, state, uri, origin }) => [version, state, uri, origin]),
    [
      [1, 'deactivated', 'file:rsa-2024-01', 'adopted'],
      [2, 'active', 'file:rsa-2024-02', 'adopted'],
    ],
  );
  const { signature } = first;
  const verdict = await keys.call('key.verify', currentKeyName, { data, signature });
  assert.deepEqual([verdict.valid, verdict.version], [true, 1]);
  await keys.call('key.rotate', currentKeyName, {});
  assert.equal(await adoptCurrentKey(keys.keys, 'rsa-2024-02'), 'superseded');
});

test('a key file that is missing, lax, weak or of another kind is refused and changes nothing', async (t) => {
  const keys = await open(t);
  if (!keys.isRunnable) return;
  await assert.rejects(adoptCurrentKey(keys.keys, 'none'), { code: 'not-found' });
  await assert.rejects(adoptCurrentKey(keys.keys, '../../etc/passwd'), {
    code: 'invalid-request',
  });
  const lax = keys.makeFile('lax', ...rsa);
  execFileSync('chmod', ['644', lax]);
  await assert.rejects(adoptCurrentKey(keys.keys, 'lax'), { code: 'lax-mode' });
  rmSync(lax);
  keys.makeFile('weak', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024');
  await assert.rejects(adoptCurrentKey(keys.keys, 'weak'), { code: 'unknown-algorithm' });
  keys.makeFile('sealed', ...rsa, '-aes256', '-pass', 'pass:a passphrase');
  await assert.rejects(adoptCurrentKey(keys.keys, 'sealed'), { code: 'wrong-passphrase' });
  assert.equal(await keys.keys.store.find(currentKeyName), undefined);
  keys.makeFile('rsa', ...rsa);
  await adoptCurrentKey(keys.keys, 'rsa');
  keys.makeFile('ec', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1');
  await assert.rejects(adoptCurrentKey(keys.keys, 'ec'), { code: 'algorithm-purpose-mismatch' });
  assert.equal((await keys.call('key.show', currentKeyName)).versions.length, 1);
});
