import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandLine, startLoggedIn } from '../service.ts';
import { requirePythonCryptography, run } from '../tools.ts';

const reader = fileURLToPath(new URL('../read-encrypted-file.py', import.meta.url));
const { client, installation, service, login } = await startLoggedIn({ after });
const command = commandLine(installation, service, login);
const key = 'files/letters';
const chunk = 64 * 1024;
const at = (name: string) => join(installation.folder, name);

before(async () => {
  for (const name of [key, 'files/other']) {
    await client.call('key.create', { body: { name, algorithm: 'aes-256', purpose: 'encrypt' } });
  }
});

async function encrypt(name: string, content: Buffer): Promise<string> {
  writeFileSync(at(name), content);
  const sealed = at(`${name}.keyreeve`);
  const { code, stderr } = await command(['encrypt', key, '--in', at(name), '--out', sealed]);
  assert.equal(code, 0, stderr);
  return sealed;
}

test('a file comes back as it was, in any size, and only for its owner to read', async () => {
  for (const size of [0, 1, chunk - 1, chunk, chunk + 1, 5 * chunk, 5 * chunk + 17]) {
    const content = randomBytes(size);
    const sealed = await encrypt(`size-${size}`, content);
    assert.equal(statSync(sealed).mode & 0o077, 0);
    const opened = at(`opened-${size}`);
    const { code, stderr } = await command(['decrypt', key, '--in', sealed, '--out', opened]);
    assert.equal(code, 0, stderr);
    assert.deepEqual(readFileSync(opened), content, `${size} bytes`);
  }
});

test('a second reader opens the file with the data key that the service unwraps', async (t) => {
  const python = requirePythonCryptography(t);
  if (python === undefined) return;
  const content = randomBytes(3 * chunk + 5);
  const sealed = await encrypt('second', content);
  const header = readHeader(sealed);
  const answer = await client.call('key.decrypt', {
    params: { key },
    body: { ciphertext: header.wrappedDataKey.toString('base64'), version: header.keyVersion },
  });
  const keyFile = at('data-key');
  writeFileSync(keyFile, Buffer.from(answer.plaintext, 'base64').toString('hex'));
  run(python, [reader, '--data-key-file', keyFile, sealed, at('by-python')]);
  assert.deepEqual(readFileSync(at('by-python')), content);
});

test('a file of before a rotation opens after it, and can be brought to the new version', async () => {
  const content = randomBytes(chunk + 100);
  const sealed = await encrypt('rotated', content);
  const rotated = await client.call('key.rotate', { params: { key }, body: {} });
  const version = rotated.currentVersion!;
  const header = readHeader(sealed);
  assert.equal(header.keyVersion, version - 1);
  assert.equal((await command(['decrypt', key, '--in', sealed, '--out', at('old')])).code, 0);
  assert.deepEqual(readFileSync(at('old')), content);

  const wrapped = header.wrappedDataKey.toString('base64');
  const brought = await client.call('key.re-encrypt', {
    params: { key },
    body: { ciphertext: wrapped },
  });
  assert.equal(brought.version, version);
  const open = (ciphertext: string, of: number) =>
    client.call('key.decrypt', { params: { key }, body: { ciphertext, version: of } });
  const [before, now] = [await open(wrapped, version - 1), await open(brought.ciphertext, version)];
  assert.equal(before.plaintext, now.plaintext);

  const again = await encrypt('again', content);
  assert.equal(readHeader(again).keyVersion, version);
});

test('a cut, changed or extended file is refused, and nothing is left of it', async () => {
  const content = randomBytes(2 * chunk + 1000);
  const sealed = readFileSync(await encrypt('damaged', content));
  const changed = (offset: number) => {
    const bytes = Buffer.from(sealed);
    bytes[offset]! ^= 1;
    return bytes;
  };
  const swapped = Buffer.from(sealed);
  const body = sealed.length - (2 * (chunk + 16) + 1016);
  sealed.copy(swapped, body, body + chunk + 16, body + 2 * (chunk + 16));
  sealed.copy(swapped, body + chunk + 16, body, body + chunk + 16);
  const damages: Record<string, Buffer> = {
    'cut by a byte': sealed.subarray(0, -1),
    'cut at a chunk': sealed.subarray(0, -1016),
    'cut in its header': sealed.subarray(0, 60),
    'one byte of the wrapped key': changed(60),
    'one byte of the first chunk': changed(body + 5),
    'one byte of the last chunk': changed(sealed.length - 5),
    'two chunks exchanged': swapped,
    'a byte behind it': Buffer.concat([sealed, Buffer.of(0)]),
    'no such file at all': Buffer.from('just words'),
  };
  for (const [what, bytes] of Object.entries(damages)) {
    const damaged = at('damaged.in');
    writeFileSync(damaged, bytes);
    const before = readdirSync(installation.folder);
    const out = at('damaged.out');
    const { code, stdout, stderr } = await command(['decrypt', key, '--in', damaged, '--out', out]);
    assert.notEqual(code, 0, what);
    assert.match(stderr, /^error: /, what);
    assert.equal(stdout, '');
    assert.equal(existsSync(out), false, `${what}: an output was left`);
    assert.deepEqual(readdirSync(installation.folder), before, `${what}: something was left`);
  }
});

test('a file of another key is refused, and an output is not replaced unasked', async () => {
  const sealed = await encrypt('mine', Buffer.from('mine'));
  const out = at('mine.out');
  const other = await command(['decrypt', 'files/other', '--in', sealed, '--out', out]);
  assert.notEqual(other.code, 0);
  assert.equal(existsSync(out), false);
  writeFileSync(out, 'what was there');
  const taken = await command(['decrypt', key, '--in', sealed, '--out', out]);
  assert.equal(taken.code, 5, taken.stderr);
  assert.equal(readFileSync(out, 'utf8'), 'what was there');
  const forced = await command(['decrypt', key, '--in', sealed, '--out', out, '--force']);
  assert.equal(forced.code, 0, forced.stderr);
  assert.equal(readFileSync(out, 'utf8'), 'mine');
});

/** Read after docs/file-format.md alone. */
function readHeader(path: string): { keyVersion: number; wrappedDataKey: Buffer } {
  const bytes = readFileSync(path);
  const length = bytes.readUInt16BE(49);
  return { keyVersion: bytes.readUInt32BE(45), wrappedDataKey: bytes.subarray(51, 51 + length) };
}
