import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { testCli } from '../test/doubles/command-line.ts';
import { requireProgram, run, tryRun } from '../test/tools.ts';
import { runGenerateKeys } from './generate-keys.ts';

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

function generator(t: TestContext) {
  const cli = testCli(t);
  const keys = join(cli.folder, 'keys');
  cli.env.CRYPTO_KEYS_PATH = keys;
  return {
    cli,
    keys,
    privatePath: (id: string) => join(keys, 'private', `${id}.pem`),
    publicPath: (id: string) => join(keys, 'public', `${id}.pub`),
    generate: async (...words: string[]) => {
      const context = cli.context();
      const code = await runGenerateKeys(words, context);
      return { code, ...context.seen() };
    },
  };
}

test('without words it makes an RSA key of 2048 bits that bears the month', async (t) => {
  const { keys, generate, privatePath, publicPath } = generator(t);
  const { code } = await generate();
  const id = `rsa-${new Date().toISOString().slice(0, 7)}`;
  assert.equal(code, 0);
  assert.equal(mode(keys), '700');
  assert.equal(mode(join(keys, 'private')), '700');
  assert.equal(mode(join(keys, 'public')), '755');
  assert.equal(mode(privatePath(id)), '600');
  assert.equal(mode(publicPath(id)), '644');
  const metadata = JSON.parse(readFileSync(join(keys, `${id}.json`), 'utf8'));
  assert.equal(metadata.algorithm, 'RSA');
  assert.equal(metadata.size, 2048);
  assert.match(
    readFileSync(join(keys, 'key-inventory.csv'), 'utf8'),
    new RegExp(`^${id},RSA,2048,[0-9TZ:.-]+,active\n$`),
  );
  assert.deepEqual(
    readdirSync(keys).filter((name) => name.startsWith('.')),
    [],
  );
});

const made = [
  { words: ['rsa', 'a', '--size', '3072'], kind: '3072 bit' },
  { words: ['ecdsa', 'b'], kind: 'prime256v1' },
  { words: ['ecdsa', 'c', '--curve', 'P-384'], kind: 'secp384r1' },
  { words: ['ecdsa', 'd', '--curve', 'p-521'], kind: 'secp521r1' },
];

for (const { words, kind } of made) {
  test(`openssl reads what "${words.join(' ')}" makes`, async (t) => {
    const openssl = requireProgram(t, 'openssl');
    if (openssl === undefined) return;
    const { generate, privatePath, publicPath } = generator(t);
    assert.equal((await generate(...words)).code, 0);
    const id = words[1]!;
    const text = run(openssl, ['pkey', '-in', privatePath(id), '-check', '-text', '-noout']);
    assert.match(text.toString(), new RegExp(kind));
    const derived = run(openssl, ['pkey', '-in', privatePath(id), '-pubout']).toString();
    assert.equal(readFileSync(publicPath(id), 'utf8'), derived);
    assert.match(readFileSync(privatePath(id), 'utf8'), /^-----BEGIN PRIVATE KEY-----/);
  });
}

test('with a passphrase the private key is encrypted, and only that opens it', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const { cli, generate, privatePath } = generator(t);
  const passphraseFile = join(cli.folder, 'passphrase');
  writeFileSync(passphraseFile, 'correct horse\n', { mode: 0o600 });
  cli.env.CRYPTO_KEY_PASSPHRASE_FILE = passphraseFile;
  assert.equal((await generate('ecdsa', 'x')).code, 0);
  assert.match(readFileSync(privatePath('x'), 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
  const open = (word: string) =>
    tryRun(openssl, ['pkey', '-in', privatePath('x'), '-noout', '-passin', `pass:${word}`]).status;
  assert.equal(open('correct horse'), 0);
  assert.notEqual(open('wrong horse'), 0);
  chmodSync(passphraseFile, 0o644);
  const lax = await generate('ecdsa', 'y');
  assert.equal(lax.code, 1);
  assert.match(lax.error, /hint: Run: chmod 600/);
  assert.equal(existsSync(privatePath('y')), false);
});

test('an id that is taken is refused, whichever of its files is there', async (t) => {
  const { keys, generate, privatePath, publicPath } = generator(t);
  await generate('ecdsa', 'one');
  const before = readFileSync(privatePath('one'), 'utf8');
  const again = await generate('ecdsa', 'one');
  assert.equal(again.code, 5);
  assert.match(again.error, /^error: .*never overwritten\nhint: Choose another id\.\n/);
  assert.equal(readFileSync(privatePath('one'), 'utf8'), before);
  // The private key of an archived pair may be elsewhere; its public key still counts.
  writeFileSync(publicPath('two'), 'public');
  assert.equal((await generate('ecdsa', 'two')).code, 5);
  assert.equal(existsSync(privatePath('two')), false);
  assert.equal(readFileSync(publicPath('two'), 'utf8'), 'public');
  assert.equal(readFileSync(join(keys, 'key-inventory.csv'), 'utf8').split('\n').length, 2);
});

test('what a killed run left is undone, and nothing else', async (t) => {
  const { keys, generate, privatePath, publicPath } = generator(t);
  await generate('ecdsa', 'first');
  const staging = join(keys, '.generating-second');
  mkdirSync(staging, { mode: 0o700 });
  // No process has this number: the largest that Linux gives is 4194304.
  writeFileSync(join(staging, 'process'), '99999999');
  writeFileSync(join(staging, '0'), 'half', { mode: 0o600 });
  linkSync(join(staging, '0'), privatePath('second'));
  assert.equal((await generate('ecdsa', 'second')).code, 0);
  assert.match(readFileSync(privatePath('second'), 'utf8'), /PRIVATE KEY/);
  assert.ok(existsSync(publicPath('second')) && existsSync(privatePath('first')));
  assert.equal(existsSync(staging), false);
});

test('a second run for the same id is refused while the first works', async (t) => {
  const { keys, generate } = generator(t);
  await generate('ecdsa', 'first');
  const staging = join(keys, '.generating-second');
  mkdirSync(staging, { mode: 0o700 });
  writeFileSync(join(staging, 'process'), String(process.pid));
  const { code, error } = await generate('ecdsa', 'second');
  assert.equal(code, 5);
  assert.match(error, /is being made right now/);
});

test('of runs for the same id at once, one makes the key and the others are refused', async (t) => {
  const { keys, privatePath, publicPath } = generator(t);
  const script = new URL('./generate-keys.ts', import.meta.url).pathname;
  const run = async () => {
    const child = spawn(process.execPath, [script, 'ecdsa', 'same'], {
      env: { ...process.env, CRYPTO_KEYS_PATH: keys },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let error = '';
    child.stderr.on('data', (bytes: Buffer) => {
      error += bytes.toString('utf8');
    });
    const [code] = (await once(child, 'close')) as [number];
    return { code, error };
  };
  for (let round = 0; round < 3; round++) {
    const results = await Promise.all(Array.from({ length: 5 }, run));
    assert.equal(results.filter(({ code }) => code === 0).length, 1);
    for (const { code, error } of results.filter((result) => result.code !== 0)) {
      assert.equal(code, 5, error);
      assert.match(error, /is being made right now|never overwritten/);
    }
    const made = createPublicKey(readFileSync(privatePath('same')));
    assert.ok(made.equals(createPublicKey(readFileSync(publicPath('same')))));
    assert.deepEqual(
      readdirSync(keys).filter((name) => name.startsWith('.')),
      [],
    );
    rmSync(keys, { recursive: true });
  }
});

test('folders that others may enter are refused with the command that mends them', async (t) => {
  const { keys, generate } = generator(t);
  mkdirSync(keys);
  chmodSync(keys, 0o755);
  const { code, error } = await generate('ecdsa', 'x');
  assert.equal(code, 1);
  assert.match(error, new RegExp(`hint: Run: chmod 700 ${keys}`));
  chmodSync(keys, 0o700);
  assert.equal((await generate('ecdsa', 'x')).code, 0);
});

test('words that it does not take are refused', async (t) => {
  const { generate, keys } = generator(t);
  for (const words of [
    ['dsa'],
    ['rsa', '../x'],
    ['rsa', '.x'],
    ['rsa', 'a,b'],
    ['rsa', 'x', 'y'],
    ['rsa', 'x', '--size', '1024'],
    ['rsa', 'x', '--curve', 'p-256'],
    ['ecdsa', 'x', '--size', '2048'],
    ['ecdsa', 'x', '--curve', 'toString'],
    ['--nonsense'],
  ]) {
    assert.equal((await generate(...words)).code, 2, words.join(' '));
  }
  assert.equal(existsSync(join(keys, 'key-inventory.csv')), false);
});
