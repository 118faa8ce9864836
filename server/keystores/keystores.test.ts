import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createSecretKey, randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type AlgorithmName, algorithms } from '../../api/algorithms.ts';
import { requireProgram } from '../../test/tools.ts';
import { newId } from '../base/ids.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import { testKeystore } from './conformance.ts';
import { createFileKeystore } from './file.ts';
import { StoreKeys } from './store-keys.ts';
import { createWrappedKeystore } from './wrapped.ts';

const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'keyreeve-keystore-'));
  folders.push(folder);
  return folder;
}

const symmetric = (Object.keys(algorithms) as AlgorithmName[]).filter(
  (name) => algorithms[name].kind === 'symmetric',
);
const passphrase = () => new SecretBytes(Buffer.from('a passphrase of the tests'));

testKeystore({
  name: 'wrapped:',
  unsupported: [],
  open: async () => {
    const key = createSecretKey(randomBytes(32));
    const open = () => createWrappedKeystore(new StoreKeys(new Map([['sto_1', key]]), 'sto_1'));
    return { keystore: open(), reopen: async () => open() };
  },
});

for (const isEncrypted of [false, true]) {
  testKeystore({
    name: isEncrypted ? 'file: with a passphrase' : 'file:',
    unsupported: symmetric,
    open: async () => {
      const folder = temporaryFolder();
      const open = () =>
        createFileKeystore({ folder, passphrase: isEncrypted ? passphrase() : undefined });
      return { keystore: open(), reopen: async () => open() };
    },
  });
}

async function oneKeyFile(options: { passphrase?: SecretBytes } = {}) {
  const folder = temporaryFolder();
  const keystore = createFileKeystore({ folder, ...options });
  const identity = { keyId: newId('key'), version: 1, name: 'test/key' };
  const stored = await keystore.generate(identity, 'p-256');
  const location = { ...identity, ...stored, algorithm: 'p-256' as const };
  return { folder, keystore, location, path: join(folder, 'private', `${identity.keyId}-1.pem`) };
}

test('openssl reads the key files as they are, with their passphrase', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const { folder, path } = await oneKeyFile({ passphrase: passphrase() });
  assert.match(readFileSync(path, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  const publicPath = join(folder, 'public', readdirSync(join(folder, 'public'))[0]!);
  const derived = execFileSync(openssl, ['pkey', '-in', path, '-passin', 'stdin', '-pubout'], {
    input: 'a passphrase of the tests\n',
    encoding: 'utf8',
  });
  assert.equal(derived, readFileSync(publicPath, 'utf8'));
});

for (const [what, relax] of [
  ['a key file that the group may read', (path: string) => chmodSync(path, 0o640)],
  ['a key file that anybody may read', (path: string) => chmodSync(path, 0o604)],
  [
    'a folder of keys that the group may enter',
    (path: string) => chmodSync(join(path, '..'), 0o750),
  ],
] as const) {
  test(`${what} is refused, with the command that mends it`, async () => {
    const { keystore, location, path } = await oneKeyFile();
    relax(path);
    await assert.rejects(keystore.open(location), (error: { code: string; hint: string }) => {
      assert.equal(error.code, 'lax-mode');
      const [command, ...words] = error.hint.replace('Run: ', '').split(' ');
      execFileSync(command!, words);
      return true;
    });
    await keystore.open(location);
  });
}

test('a folder of public keys that anybody may read is as good as another', async () => {
  const { folder, keystore } = await oneKeyFile();
  chmodSync(join(folder, 'public'), 0o755);
  await keystore.generate({ keyId: newId('key'), version: 1, name: 'test/key' }, 'ed25519');
});

test('a link in place of a key file is refused', async () => {
  const first = await oneKeyFile();
  const second = await oneKeyFile();
  await rm(second.path);
  symlinkSync(first.path, second.path);
  await assert.rejects(second.keystore.open(second.location), { code: 'lax-mode' });
});

test('a wrong passphrase and a missing one are told apart from a damaged file', async () => {
  const { folder, location } = await oneKeyFile({ passphrase: passphrase() });
  const wrong = new SecretBytes(Buffer.from('another passphrase'));
  for (const keystore of [
    createFileKeystore({ folder, passphrase: wrong }),
    createFileKeystore({ folder }),
  ]) {
    await assert.rejects(keystore.open(location), { code: 'wrong-passphrase' });
  }
});

test('a key file that is gone is reported as such and serves again when it is back', async () => {
  const { keystore, location, path, folder } = await oneKeyFile();
  execFileSync('mv', [path, join(folder, 'away.pem')]);
  await assert.rejects(keystore.open(location), { code: 'keystore-unavailable' });
  execFileSync('mv', [join(folder, 'away.pem'), path]);
  await keystore.open(location);
});

test('an address that leads out of the folder is refused', async () => {
  const { keystore, location } = await oneKeyFile();
  for (const uri of ['file:../private/x', 'file:/etc/passwd', 'file:', 'wrapped:']) {
    await assert.rejects(keystore.open({ ...location, uri }), { code: 'integrity-failed' });
  }
});

test('a wrapped key serves only under its own id, version and algorithm', async () => {
  const key = createSecretKey(randomBytes(32));
  const keystore = createWrappedKeystore(new StoreKeys(new Map([['sto_1', key]]), 'sto_1'));
  const identity = { keyId: newId('key'), version: 1, name: 'test/key' };
  const stored = await keystore.generate(identity, 'p-256');
  const location = { ...identity, ...stored, algorithm: 'p-256' as const };
  await keystore.open(location);
  for (const change of [
    { keyId: newId('key') },
    { version: 2 },
    { algorithm: 'p-384' as const },
    { privateBlob: Buffer.concat([stored.privateBlob!, Buffer.alloc(1)]) },
  ]) {
    await assert.rejects(keystore.open({ ...location, ...change }), { code: 'integrity-failed' });
  }
});

test('every byte of a wrapped key is authenticated', async () => {
  const key = createSecretKey(randomBytes(32));
  const keystore = createWrappedKeystore(new StoreKeys(new Map([['sto_1', key]]), 'sto_1'));
  const identity = { keyId: newId('key'), version: 1, name: 'test/key' };
  const stored = await keystore.generate(identity, 'ed25519');
  for (let index = 0; index < stored.privateBlob!.length; index++) {
    const privateBlob = Buffer.from(stored.privateBlob!);
    privateBlob[index]! ^= 1;
    await assert.rejects(
      keystore.open({ ...identity, ...stored, algorithm: 'ed25519', privateBlob }),
      { code: 'integrity-failed' },
    );
  }
});
