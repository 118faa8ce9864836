import assert from 'node:assert/strict';
import {
  checkPrimeSync,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { ErrorCode } from '../../api/error-codes.ts';
import type { RequestOf } from '../../client/api-client.ts';
import { isKeyreeveError } from '../../server/base/errors.ts';
import {
  derChildren,
  derUnsigned,
  encodeDer,
  encodeDerUnsigned,
  readWholeDer,
} from '../../server/der/der.ts';
import { eventually } from '../eventually.ts';
import { pythonValues } from '../python-values.ts';
import { refusalsFor } from '../refusals.ts';
import { startLoggedIn } from '../service.ts';
import { requirePythonCryptography } from '../tools.ts';

type Import = RequestOf<'key.import'>['body'];

const keyFolder = mkdtempSync(join(tmpdir(), 'keyreeve-key-files-'));
after(() => rmSync(keyFolder, { recursive: true, force: true }));
const { client } = await startLoggedIn({ after }, { CRYPTO_KEYS_PATH: keyFolder });

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const foreignRsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const foreignEc = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
const rsaBytes = rsa.export({ format: 'der', type: 'pkcs8' });

/** Nothing of a key that was refused is left, neither in the database nor among the key files. */
async function refused(name: string, body: Import, code: ErrorCode): Promise<void> {
  const before = await client.call('key.list', { query: { limit: 500 } });
  for (const keystore of ['wrapped', 'file']) {
    const files = filesOf('private');
    const call = client.call('key.import', { body: { ...body, keystore } });
    await assert.rejects(call, (error) => {
      assert.ok(isKeyreeveError(error), String(error));
      assert.equal(error.code, code, `${name}: ${error.message}`);
      return true;
    });
    assert.deepEqual(filesOf('private'), files, `${name}: a key file was left`);
  }
  const show = client.call('key.show', { params: { key: body.name } });
  await assert.rejects(show, (error) => isKeyreeveError(error, 'not-found'));
  const now = await client.call('key.list', { query: { limit: 500 } });
  assert.equal(now.items.length, before.items.length, `${name}: a key was left`);
}

function filesOf(part: 'private' | 'public'): string[] {
  try {
    return readdirSync(join(keyFolder, part)).sort();
  } catch {
    return [];
  }
}

const name = 'imported/refused';
const rsaKey = { name, algorithm: 'rsa-2048', purpose: 'sign' } as const;
const ecKey = { name, algorithm: 'p-256', purpose: 'sign' } as const;

/** n, e, d, p, q, d mod p-1, d mod q-1, 1/q mod p (RFC 8017, A.1.2). */
function numbersOf(key: typeof rsa): bigint[] {
  const encoded = key.export({ format: 'der', type: 'pkcs1' });
  return derChildren(readWholeDer(encoded)).slice(1).map(derUnsigned);
}

function pkcs1(numbers: readonly bigint[]): string {
  return text(encodeDer(0x30, ...[0n, ...numbers].map(encodeDerUnsigned)));
}

test('RSA keys with a foreign number are refused, though OpenSSL takes them', async () => {
  const own = numbersOf(rsa);
  const foreign = numbersOf(foreignRsa);
  for (const [index, part] of ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'].entries()) {
    if (part === 'e') continue;
    const material = pkcs1(own.with(index, foreign[index]!));
    await refused(`a foreign ${part}`, { ...rsaKey, material }, 'invalid-key-material');
  }
  const believed = Buffer.from(pkcs1(own.with(2, foreign[2]!)), 'base64');
  createPrivateKey({ key: believed, format: 'der', type: 'pkcs1' });
});

test('RSA keys that are too small or whose primes are too close are refused', async () => {
  const small = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey;
  const material = text(small.export({ format: 'der', type: 'pkcs8' }));
  await refused('512 bits', { ...rsaKey, material }, 'invalid-key-material');
  await refused(
    'another size',
    { ...rsaKey, algorithm: 'rsa-3072', material: text(rsaBytes) },
    'invalid-key-material',
  );
  await refused('close primes', { ...rsaKey, material: closePrimes() }, 'invalid-key-material');
});

/** Two primes of 1024 bits that differ by less than 2^20: found by trying (FIPS 186-5, A.1.3). */
function closePrimes(): string {
  const p = numbersOf(rsa)[3]!;
  let q = p + 2n;
  while (!checkPrimeSync(q) || (q - 1n) % 65_537n === 0n) q += 2n;
  const d = inverseOf(65_537n, (p - 1n) * (q - 1n));
  return pkcs1([p * q, 65_537n, d, p, q, d % (p - 1n), d % (q - 1n), inverseOf(q, p)]);
}

function inverseOf(value: bigint, modulus: bigint): bigint {
  let [r0, r1, t0, t1] = [modulus, value % modulus, 0n, 1n];
  while (r1 > 0n) {
    const quotient = r0 / r1;
    [r0, r1, t0, t1] = [r1, r0 - quotient * r1, t1, t0 - quotient * t1];
  }
  return ((t0 % modulus) + modulus) % modulus;
}

test('EC keys with a foreign public half or of another curve are refused', async () => {
  const sec1 = ec.export({ format: 'der', type: 'sec1' });
  const foreign = foreignEc.export({ format: 'der', type: 'sec1' });
  // The public point ends both: 64 bytes of coordinates.
  const mixed = Buffer.concat([sec1.subarray(0, -64), foreign.subarray(-64)]);
  await refused('a foreign half', { ...ecKey, material: text(mixed) }, 'invalid-key-material');
  for (const namedCurve of ['secp384r1', 'secp256k1', 'brainpoolP256r1']) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve });
    const material = text(privateKey.export({ format: 'der', type: 'pkcs8' }));
    await refused(namedCurve, { ...ecKey, material }, 'invalid-key-material');
  }
});

test('what is no key is refused', async () => {
  const pem = ec.export({ format: 'pem', type: 'pkcs8' }) as string;
  const der = ec.export({ format: 'der', type: 'pkcs8' });
  const inputs: Record<string, Uint8Array> = {
    nothing: Buffer.alloc(0),
    words: Buffer.from('not a key'),
    'random bytes': randomBytes(200),
    'a cut file': der.subarray(0, -1),
    'bytes behind it': Buffer.concat([der, Buffer.of(0)]),
    'two keys': Buffer.from(pem + pem),
    'far too much': Buffer.alloc(65 * 1024, 0x30),
  };
  for (const [what, bytes] of Object.entries(inputs)) {
    await refused(what, { ...ecKey, material: text(bytes) }, 'invalid-key-material');
  }
  await refused('no base64', { ...ecKey, material: '%%%%' }, 'invalid-request');
  await refused('no material', { ...ecKey }, 'invalid-request');
  await refused(
    'both ways',
    { ...ecKey, material: text(der), wrapped: text(der) },
    'invalid-request',
  );
  const secret = { name, algorithm: 'aes-256', purpose: 'encrypt', keystore: 'wrapped' } as const;
  for (const length of [0, 16, 31, 33]) {
    const call = client.call('key.import', {
      body: { ...secret, material: text(randomBytes(length)) },
    });
    await assert.rejects(call, (error) => isKeyreeveError(error, 'invalid-key-material'));
  }
});

test('what a key is for is asked before anything is taken in', async () => {
  const material = text(rsaBytes);
  await refused(
    'no such algorithm',
    { ...rsaKey, algorithm: 'rsa-1024', material },
    'unknown-algorithm',
  );
  await refused(
    'no such scheme',
    { ...rsaKey, schemes: ['rsa-pss-sha1'], material },
    'unknown-scheme',
  );
  await refused(
    'another purpose',
    { ...rsaKey, purpose: 'mac', material },
    'algorithm-purpose-mismatch',
  );
  await refused(
    'a folder of the service',
    { ...rsaKey, name: 'system/mine', material },
    'forbidden',
  );
});

test('an encrypted key needs its passphrase', async () => {
  const cipher = { cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const;
  const material = text(Buffer.from(rsa.export({ format: 'pem', type: 'pkcs8', ...cipher })));
  await refused('none', { ...rsaKey, material }, 'wrong-passphrase');
  const passphrase = 'battery staple';
  await refused('wrong', { ...rsaKey, material, passphrase }, 'wrong-passphrase');
  const body = { ...rsaKey, name: 'imported/encrypted', material, passphrase: 'correct horse' };
  assert.equal((await client.call('key.import', { body })).versions[0]?.origin, 'imported');
});

for (const [wrapper, scheme] of [
  ['rsa-2048', 'rsa-aes-kwp'],
  ['aes-256', 'aes-kwp'],
] as const) {
  test(`a key wrapped by ${scheme} is taken in, an altered one is not`, async (t) => {
    const python = requirePythonCryptography(t);
    if (python === undefined) return;
    const wrappingKey = `imported/by-${scheme}`;
    const held = wrapper === 'aes-256' ? randomBytes(32) : rsaBytes;
    await client.call('key.import', {
      body: { name: wrappingKey, algorithm: wrapper, purpose: 'wrap', material: text(held) },
    });
    const target = ec.export({ format: 'der', type: 'pkcs8' });
    const [wrapped] = pythonValues(python, [{ scheme, key: held, data: target }]);
    const privateKey = wrapper === 'aes-256' ? createSecretKey(held) : rsa;
    const publicKey = wrapper === 'aes-256' ? undefined : createPublicKey(rsa);
    const context = { scheme, data: target, privateKey, publicKey };
    for (const { name: what, mutate } of refusalsFor(scheme)) {
      const changed = mutate(Buffer.from(wrapped!), context);
      await refused(what, { ...ecKey, wrapped: text(changed), wrappingKey }, 'invalid-ciphertext');
    }
    const [noKey] = pythonValues(python, [{ scheme, key: held, data: Buffer.from('not a key') }]);
    await refused(
      'wrapped words',
      { ...ecKey, wrapped: text(noKey!), wrappingKey },
      'invalid-key-material',
    );
    await refused(
      'no such key',
      { ...ecKey, wrapped: text(wrapped!), wrappingKey: 'imported/none' },
      'not-found',
    );
    await refused('no wrapping key', { ...ecKey, wrapped: text(wrapped!) }, 'invalid-request');
    for (const keystore of ['wrapped', 'file']) {
      const body = {
        ...ecKey,
        name: `imported/${keystore}-${scheme}`,
        keystore,
        wrapped: text(wrapped!),
        wrappingKey,
      };
      const made = await client.call('key.import', { body });
      const spki = createPublicKey(ec).export({ format: 'pem', type: 'spki' });
      assert.equal(made.versions[0]?.publicKey, spki);
    }
  });
}

test('what was refused is on the record with its code', async () => {
  const correlationId = 'refused-import';
  const body = { ...ecKey, material: text(Buffer.from('not a key')) };
  await assert.rejects(client.call('key.import', { body, correlationId }));
  const found = async () => (await client.call('audit.list', { query: { correlationId } })).items;
  await eventually(async () => (await found()).length > 0);
  const [entry, ...more] = await found();
  assert.deepEqual(more, []);
  assert.equal(entry?.outcome, 'invalid-key-material');
  assert.equal(entry?.keyName, name);
});
