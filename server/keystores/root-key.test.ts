import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import {
  createRootKey,
  makeRootKeyText,
  openRootKey,
  parseSealLocation,
  rootKeyFile,
} from './root-key.ts';

const folder = mkdtempSync(join(tmpdir(), 'keyreeve-root-'));
after(() => rm(folder, { recursive: true }));
let count = 0;
const freshPlace = () => parseSealLocation(join(folder, `seal-${count++}`));

test('a root key is made once, in a private file, and opened as the same key', () => {
  const place = freshPlace();
  assert.equal(openRootKey(place, {}), undefined);
  const made = createRootKey(place);
  const path = join((place as { path: string }).path, rootKeyFile);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(openRootKey(place, {})!.fingerprint, made.fingerprint);
  assert.throws(() => createRootKey(place), { code: 'already-exists' });
});

test('what one root key wrapped, another does not open', () => {
  const one = createRootKey(freshPlace());
  const other = createRootKey(freshPlace());
  const wrapped = one.wrap('label', Buffer.from('secret'));
  assert.equal(one.unwrap('label', wrapped).toString(), 'secret');
  assert.throws(() => one.unwrap('another label', wrapped), { code: 'invalid-ciphertext' });
  assert.throws(() => other.unwrap('label', wrapped), { code: 'invalid-ciphertext' });
  assert.notEqual(one.fingerprint, other.fingerprint);
});

test('a root key comes from the environment or from systemd as well', () => {
  const text = makeRootKeyText();
  const fromVariable = openRootKey(parseSealLocation('env:SEAL'), { SEAL: text })!;
  writeFileSync(join(folder, 'credential'), text);
  const environment = { CREDENTIALS_DIRECTORY: folder };
  const fromCredential = openRootKey(parseSealLocation('credential:credential'), environment)!;
  assert.equal(fromVariable.fingerprint, fromCredential.fingerprint);
  assert.equal(openRootKey(parseSealLocation('env:SEAL'), {}), undefined);
  assert.throws(() => openRootKey(parseSealLocation('credential:x'), {}), {
    code: 'root-key-missing',
  });
  assert.throws(() => createRootKey(parseSealLocation('env:SEAL')), { code: 'root-key-missing' });
});

for (const [what, text] of [
  ['is empty', '\n'],
  ['is short', `keyreeve-root-key v1\n${Buffer.alloc(31).toString('base64')}\n`],
  ['is long', `keyreeve-root-key v1\n${Buffer.alloc(33).toString('base64')}\n`],
  ['has another header', `keyreeve-root-key v2\n${Buffer.alloc(32).toString('base64')}\n`],
  ['is not base64', `keyreeve-root-key v1\n${'!'.repeat(44)}\n`],
  ['has a third line', `${makeRootKeyText()}more\n`],
]) {
  test(`a root key that ${what} is refused`, () => {
    assert.throws(() => openRootKey(parseSealLocation('env:SEAL'), { SEAL: text }), {
      code: 'root-key-missing',
    });
  });
}

test('a root key that others may read is refused with the command that mends it', () => {
  const place = freshPlace() as { kind: 'folder'; path: string };
  createRootKey(place);
  const path = join(place.path, rootKeyFile);
  chmodSync(path, 0o644);
  assert.throws(() => openRootKey(place, {}), { code: 'lax-mode', hint: `Run: chmod 600 ${path}` });
  chmodSync(path, 0o600);
  chmodSync(place.path, 0o755);
  assert.throws(() => openRootKey(place, {}), {
    code: 'lax-mode',
    hint: `Run: chmod 700 ${place.path}`,
  });
});

test('a root key shows itself in no text', () => {
  const place = freshPlace() as { kind: 'folder'; path: string };
  const key = createRootKey(place);
  const secret = readFileSync(join(place.path, rootKeyFile), 'utf8').split('\n')[1]!;
  for (const text of [inspect(key, { depth: 9, showHidden: true }), JSON.stringify(key)]) {
    assert.equal(text.includes(secret.slice(0, 20)), false);
  }
});
