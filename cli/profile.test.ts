import assert from 'node:assert/strict';
import { randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { formatLoginCode, loginCodeSecretBytes } from '../api/login-code.ts';
import { certificatePin } from '../client/pin.ts';
import { isKeyreeveError } from '../server/base/errors.ts';
import { testCli } from '../test/doubles/command-line.ts';
import { json, startHttpsService } from '../test/doubles/https-service.ts';
import { profilePath, readProfile, writeProfile } from './profile.ts';
import { resolveSession } from './session.ts';

const content = { url: 'https://127.0.0.1:8443', token: 'secret', caPem: 'PEM', records: {} };
const lax = (error: unknown) => isKeyreeveError(error, 'lax-mode');

test('a profile is private, and comes back as it was written', (t) => {
  const context = testCli(t).context();
  assert.equal(readProfile(context), undefined);
  writeProfile(context, content);
  assert.deepEqual(readProfile(context), content);
  const path = profilePath(context);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(dirname(path)).mode & 0o777, 0o700);
});

test('a profile or folder that others may read is refused with the command that mends it', (t) => {
  const context = testCli(t).context();
  writeProfile(context, content);
  const path = profilePath(context);
  for (const mode of [0o640, 0o604, 0o644, 0o660]) {
    chmodSync(path, mode);
    assert.throws(() => readProfile(context), lax);
    assert.throws(
      () => writeProfile(context, content),
      (error) => lax(error) && (error as { hint?: string }).hint === `Run: chmod 600 ${path}`,
    );
  }
  chmodSync(path, 0o600);
  chmodSync(dirname(path), 0o755);
  assert.throws(() => readProfile(context), lax);
});

test('a login code is not spent where its token could not be kept', async (t) => {
  const cli = testCli(t);
  const service = await startHttpsService(t, (_, response) => json(response, {}));
  const pin = certificatePin(new X509Certificate(service.ca.pem)).toString('hex');
  const code = formatLoginCode(randomBytes(loginCodeSecretBytes), pin);
  mkdirSync(dirname(profilePath(cli.context())), { recursive: true, mode: 0o755 });
  const ran = await cli.run(['--url', service.url, 'login', '--code', '-'], code);
  assert.match(ran.error, /is open to others/);
  assert.equal(service.requests.length, 0);
});

test('a link in place of the profile is refused', (t) => {
  const cli = testCli(t);
  const context = cli.context();
  const path = profilePath(context);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const other = join(cli.folder, 'other.json');
  writeFileSync(other, JSON.stringify(content), { mode: 0o600 });
  symlinkSync(other, path);
  assert.throws(() => readProfile(context), lax);
});

test('a damaged profile is reported, not guessed at', (t) => {
  const context = testCli(t).context();
  writeProfile(context, content);
  writeFileSync(profilePath(context), '{"url":7}');
  assert.throws(
    () => readProfile(context),
    (error) => isKeyreeveError(error, 'invalid-request'),
  );
});

test('the profile is found where XDG_CONFIG_HOME says, and a relative one is ignored', (t) => {
  const cli = testCli(t);
  assert.equal(profilePath(cli.context()), join(cli.folder, 'config', 'keyreeve', 'profile.json'));
  cli.env.XDG_CONFIG_HOME = 'relative';
  assert.equal(profilePath(cli.context()), join(cli.folder, '.config', 'keyreeve', 'profile.json'));
});

test('token and CA of a profile go only to the service that gave them', (t) => {
  const cli = testCli(t);
  const context = cli.context();
  writeProfile(context, content);
  const own = resolveSession(context, {});
  assert.deepEqual([own.token, own.caPem], ['secret', 'PEM']);
  const other = resolveSession(context, { url: 'https://127.0.0.1:9443' });
  assert.deepEqual([other.token, other.caPem], [undefined, undefined]);
  cli.env.KEYREEVE_URL = 'https://elsewhere.example';
  assert.equal(resolveSession(context, {}).token, undefined);
  cli.env.KEYREEVE_TOKEN = 'given';
  assert.equal(resolveSession(context, {}).token, 'given');
  assert.equal(resolveSession(context, { url: content.url }).url, content.url);
});
