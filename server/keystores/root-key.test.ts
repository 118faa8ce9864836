import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import { createRootKey, openRootKey, parseSealLocation } from './root-key.ts';
import { makeRootKeyText, rootKeyFile } from './root-key-bytes.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-root-'));
after(() => rm(folder, { recursive: true }));
let count = 0;
const freshPlace = () => parseSealLocation(join(folder, `seal-${count++}`));

test('a root key is made once, in a private file, and opened as the same key', async () => {
  const place = freshPlace();
  const environment = {};
  assert.equal(await openRootKey(place, { environment }), undefined);
  const made = await createRootKey(place);
  const path = join((place as { path: string }).path, rootKeyFile);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal((await openRootKey(place, { environment }))!.fingerprint, made.fingerprint);
  await assert.rejects(createRootKey(place), { code: 'already-exists' });
});

test('what one root key wrapped, another does not open', async () => {
  const one = await createRootKey(freshPlace());
  const other = await createRootKey(freshPlace());
  const wrapped = await one.wrap('label', Buffer.from('secret'));
  assert.equal((await one.unwrap('label', wrapped)).toString(), 'secret');
  await assert.rejects(one.unwrap('another label', wrapped), { code: 'invalid-ciphertext' });
  await assert.rejects(other.unwrap('label', wrapped), { code: 'invalid-ciphertext' });
  assert.notEqual(one.fingerprint, other.fingerprint);
});

test('a root key comes from the environment or from systemd as well', async () => {
  const text = makeRootKeyText();
  const variable = parseSealLocation('env:SEAL');
  const fromVariable = (await openRootKey(variable, { environment: { SEAL: text } }))!;
  writeFileSync(join(folder, 'credential'), text);
  const environment = { CREDENTIALS_DIRECTORY: folder };
  const fromCredential = await openRootKey(parseSealLocation('credential:credential'), {
    environment,
  });
  assert.equal(fromVariable.fingerprint, fromCredential!.fingerprint);
  assert.equal(await openRootKey(variable, { environment: {} }), undefined);
  await assert.rejects(openRootKey(parseSealLocation('credential:x'), { environment: {} }), {
    code: 'root-key-missing',
  });
  await assert.rejects(createRootKey(variable), { code: 'root-key-missing' });
});

for (const [what, text] of [
  ['is empty', '\n'],
  ['is short', `keyreeve-root-key v1\n${Buffer.alloc(31).toString('base64')}\n`],
  ['is long', `keyreeve-root-key v1\n${Buffer.alloc(33).toString('base64')}\n`],
  ['has another header', `keyreeve-root-key v2\n${Buffer.alloc(32).toString('base64')}\n`],
  ['is not base64', `keyreeve-root-key v1\n${'!'.repeat(44)}\n`],
  ['has a third line', `${makeRootKeyText()}more\n`],
]) {
  test(`a root key that ${what} is refused`, async () => {
    const environment = { SEAL: text };
    await assert.rejects(openRootKey(parseSealLocation('env:SEAL'), { environment }), {
      code: 'root-key-missing',
    });
  });
}

test('a root key that others may read is refused with the command that mends it', async () => {
  const place = freshPlace() as { kind: 'folder'; path: string };
  await createRootKey(place);
  const path = join(place.path, rootKeyFile);
  chmodSync(path, 0o644);
  await assert.rejects(openRootKey(place), {
    code: 'lax-mode',
    hint: `Run: chmod 600 ${path}`,
  });
  chmodSync(path, 0o600);
  chmodSync(place.path, 0o755);
  await assert.rejects(openRootKey(place), {
    code: 'lax-mode',
    hint: `Run: chmod 700 ${place.path}`,
  });
});

test('a root key shows itself in no text', async () => {
  const place = freshPlace() as { kind: 'folder'; path: string };
  const key = await createRootKey(place);
  const secret = readFileSync(join(place.path, rootKeyFile), 'utf8').split('\n')[1]!;
  for (const text of [inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key)]) {
    assert.equal(text.includes(secret.slice(0, 20)), false);
  }
});
