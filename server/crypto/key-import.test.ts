import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { before, test } from 'node:test';
import { type AlgorithmName, algorithmNames, algorithms } from '../../api/algorithms.ts';
import type { ErrorCode } from '../../api/error-codes.ts';
import { requireProgram, run } from '../../test/tools.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { SecretBytes } from '../base/secret-bytes.ts';
import {
  derChildren,
  derUnsigned,
  encodeDer,
  encodeDerUnsigned,
  readWholeDer,
} from '../der/der.ts';
import { generateKeyMaterial, importPrivate, type LocalKeyMaterial, random } from './crypto.ts';

let rsa: LocalKeyMaterial;
let otherRsa: LocalKeyMaterial;
const passphrase = () => new SecretBytes(Buffer.from('correct horse'));

before(async () => {
  rsa = await generateKeyMaterial('rsa-2048');
  otherRsa = await generateKeyMaterial('rsa-2048');
});

test('keys come back as they were, from every form that openssl writes', async () => {
  for (const algorithm of algorithmNames) {
    // A signature of the small variants takes a second and checks nothing more.
    if (/\d{3}s$/.test(algorithm) || /rsa-[34]/.test(algorithm)) continue;
    const material = await generateKeyMaterial(algorithm);
    for (const form of formsOf(material)) {
      const imported = await importPrivate(algorithm, form, passphrase());
      assert.equal(imported.fingerprint, material.fingerprint, algorithm);
      assert.equal(imported.privateKey.equals(material.privateKey), true);
    }
  }
});

test('keys that the openssl command made are taken', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const made: [AlgorithmName, string[]][] = [
    ['rsa-3072', ['genrsa', '3072']],
    ['rsa-2048', ['genrsa', '-traditional', '2048']],
    ['rsa-2048', ['genrsa', '-aes256', '-passout', 'pass:correct horse', '2048']],
    // With its EC PARAMETERS block in front.
    ['p-256', ['ecparam', '-name', 'prime256v1', '-genkey']],
    [
      'secp256k1',
      ['ecparam', '-name', 'secp256k1', '-genkey', '-noout', '-conv_form', 'compressed'],
    ],
    ['p-521', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    [
      'ed25519',
      ['genpkey', '-algorithm', 'ed25519', '-aes-256-cbc', '-pass', 'pass:correct horse'],
    ],
  ];
  for (const [algorithm, command] of made) {
    const pem = new SecretBytes(run(openssl, command));
    assert.equal((await importPrivate(algorithm, pem, passphrase())).algorithm, algorithm);
  }
});

test('RSA keys with a number that does not follow from the primes are refused', async () => {
  const names = ['n', 'e', 'd', 'p', 'q', 'dp', 'dq', 'qi'];
  const own = rsaNumbers(rsa.privateKey);
  const foreign = rsaNumbers(otherRsa.privateKey);
  for (const [index, name] of names.entries()) {
    if (name === 'e') continue;
    await refused('rsa-2048', pkcs1(own.with(index, foreign[index]!)), `a foreign ${name}`);
    await refused('rsa-2048', pkcs1(own.with(index, own[index]! + 2n)), `another ${name}`);
    await refused('rsa-2048', pkcs1(own.with(index, 0n)), `no ${name}`);
  }
  for (const e of [3n, 1n, 65_536n, 65_539n, 2n ** 65n + 1n]) {
    await refused('rsa-2048', pkcs1(own.with(1, e)), `the exponent ${e}`);
  }
  // RFC 8017, 3.2: a private exponent modulo phi is another spelling of the same key.
  const phi = (own[3]! - 1n) * (own[4]! - 1n);
  const d = inverseOf(own[1]!, phi);
  const imported = await importPrivate('rsa-2048', pkcs1(own.with(2, d)));
  assert.equal(imported.privateKey.equals(rsa.privateKey), true);
});

test('RSA keys whose primes are close, unequal in size or not prime are refused', async () => {
  const [, e, , p, q] = rsaNumbers(rsa.privateKey) as [bigint, bigint, bigint, bigint, bigint];
  const because = (numbers: readonly bigint[], reason: RegExp) =>
    assert.rejects(importPrivate('rsa-2048', pkcs1(numbers)), reason);
  await because(numbersFrom(p, p + 2n ** 100n, e), /too close/);
  await because(numbersFrom(p, p, e), /too close/);
  await because(numbersFrom(p, oddLike(q, p, e), e), /not prime/);
  await because(numbersFrom(p << 8n, q >> 8n, e), /not half as long|even/);
  await refused('rsa-2048', pkcs1(numbersFrom(p * q, 1n, e)), 'a prime of one');
  const small = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey;
  await refused('rsa-2048', pkcs1(rsaNumbers(small)), '512 bits');
  await refused('rsa-3072', pkcs1(rsaNumbers(rsa.privateKey)), 'another size');
});

test('RSA keys of several primes and RSASSA-PSS keys are refused', async (t) => {
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey;
  await refused('rsa-2048', pkcs8(pss), 'an RSASSA-PSS key');
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const multi = run(openssl, ['genrsa', '-primes', '3', '2048']);
  await refused('rsa-2048', new SecretBytes(multi), 'three primes');
});

test('EC keys with a foreign public half, a bad scalar or explicit parameters are refused', async (t) => {
  for (const algorithm of ['p-256', 'p-384', 'p-521', 'secp256k1'] as const) {
    const [own, foreign] = [
      await generateKeyMaterial(algorithm),
      await generateKeyMaterial(algorithm),
    ];
    const sec1 = own.privateKey.export({ format: 'der', type: 'sec1' });
    const point = pointOf(own.publicKey!);
    const at = sec1.indexOf(point);
    const withPoint = Buffer.from(sec1);
    pointOf(foreign.publicKey!).copy(withPoint, at);
    await refused(algorithm, new SecretBytes(withPoint), 'a foreign public half');
    const scalar = scalarOf(own.privateKey);
    for (const byte of [0x00, 0xff]) {
      const withScalar = Buffer.from(sec1);
      const start = withScalar.indexOf(scalar);
      withScalar.fill(byte, start, start + scalar.length);
      await refused(algorithm, new SecretBytes(withScalar), `a scalar of bytes ${byte}`);
    }
  }
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const explicit = [
    'ecparam',
    '-name',
    'prime256v1',
    '-param_enc',
    'explicit',
    '-genkey',
    '-noout',
  ];
  await refused('p-256', new SecretBytes(run(openssl, explicit)), 'explicit parameters');
});

test('SLH-DSA keys with a foreign root are refused', async () => {
  const material = await generateKeyMaterial('slh-dsa-sha2-128f');
  const encoded = material.privateKey.export({ format: 'der', type: 'pkcs8' });
  encoded[encoded.length - 1]! ^= 1;
  await refused('slh-dsa-sha2-128f', new SecretBytes(encoded), 'a foreign root');
});

test('a key of another algorithm is refused', async () => {
  const p256 = await generateKeyMaterial('p-256');
  for (const algorithm of algorithmNames) {
    if (algorithm === 'p-256') continue;
    await refused(algorithm, pkcs8(p256.privateKey), algorithm);
  }
});

test('secret keys have exactly their length', async () => {
  for (const algorithm of ['aes-256', 'hmac-sha256', 'hmac-sha384', 'hmac-sha512'] as const) {
    const bytes = algorithms[algorithm].node.bits / 8;
    const imported = await importPrivate(algorithm, new SecretBytes(random(bytes)));
    assert.match(imported.fingerprint, /^[0-9a-f]{32}$/);
    for (const length of [bytes - 1, bytes + 1, 16]) {
      await refused(algorithm, new SecretBytes(random(length)), `${length} bytes`);
    }
  }
});

test('what is no key, or more than one, is refused', async () => {
  const { privateKey } = await generateKeyMaterial('ed25519');
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  const der = privateKey.export({ format: 'der', type: 'pkcs8' });
  const inputs: Record<string, Buffer> = {
    nothing: Buffer.alloc(0),
    words: Buffer.from('not a key'),
    'a cut file': der.subarray(0, -1),
    'bytes behind it': Buffer.concat([der, Buffer.of(0)]),
    'two keys': Buffer.from(pem + pem),
    'a public key': Buffer.from(
      createPublicKey(privateKey).export({ format: 'pem', type: 'spki' }),
    ),
    'a block without an end': Buffer.from(pem.split('-----END')[0]!),
    'far too much': Buffer.alloc(64 * 1024 + 1, 0x30),
  };
  for (const [name, bytes] of Object.entries(inputs)) {
    await refused('ed25519', new SecretBytes(bytes), name);
  }
});

test('an encrypted key needs its passphrase', async () => {
  const material = await generateKeyMaterial('ed25519');
  const cipher = { cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const;
  const encrypted = [
    Buffer.from(material.privateKey.export({ format: 'pem', type: 'pkcs8', ...cipher })),
    material.privateKey.export({ format: 'der', type: 'pkcs8', ...cipher }),
    Buffer.from(rsa.privateKey.export({ format: 'pem', type: 'pkcs1', ...cipher })),
  ];
  for (const [index, bytes] of encrypted.entries()) {
    const algorithm = index === 2 ? 'rsa-2048' : 'ed25519';
    const input = () => new SecretBytes(Buffer.from(bytes));
    await importPrivate(algorithm, input(), passphrase());
    const wrong = new SecretBytes(Buffer.from('wrong'));
    await rejected(importPrivate(algorithm, input(), wrong), 'wrong-passphrase');
    await rejected(importPrivate(algorithm, input()), 'wrong-passphrase');
  }
});

test('a file may not say that its passphrase is to be hashed for minutes', async (t) => {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return;
  const plain = rsa.privateKey.export({ format: 'pem', type: 'pkcs8' });
  const convert = (...options: string[]) =>
    run(openssl, ['pkcs8', '-topk8', '-passout', 'pass:correct horse', ...options], plain);
  for (const bytes of [convert('-iter', '100000'), convert('-scrypt')]) {
    const imported = await importPrivate('rsa-2048', new SecretBytes(bytes), passphrase());
    assert.equal(imported.fingerprint, rsa.fingerprint);
  }
  // The counts are raised in the file itself: nobody has to wait for openssl to hash that often.
  const pbkdf2 = convert('-outform', 'DER', '-iter', '1000000');
  const count = pbkdf2.indexOf(Buffer.from('02030f4240', 'hex'));
  pbkdf2.writeUIntBE(0x7fffff, count + 2, 3);
  await refused('rsa-2048', new SecretBytes(pbkdf2), 'PBKDF2');
  const scrypt = convert('-outform', 'DER', '-scrypt', '-scrypt_p', '9');
  await refused('rsa-2048', new SecretBytes(scrypt), 'scrypt');
});

async function refused(algorithm: AlgorithmName, input: SecretBytes, name: string): Promise<void> {
  await rejected(importPrivate(algorithm, input, passphrase()), 'invalid-key-material', name);
}

async function rejected(promise: Promise<unknown>, code: ErrorCode, name = ''): Promise<void> {
  await assert.rejects(promise, (error) => isKeyreeveError(error, code), name);
}

function formsOf({ privateKey }: LocalKeyMaterial): SecretBytes[] {
  if (privateKey.type === 'secret') return [new SecretBytes(privateKey.export())];
  const types = ['pkcs8', ...(typesOf[privateKey.asymmetricKeyType!] ?? [])] as (
    | 'pkcs8'
    | 'sec1'
  )[];
  const forms: SecretBytes[] = [];
  for (const type of types) {
    forms.push(new SecretBytes(privateKey.export({ format: 'der', type })));
    forms.push(new SecretBytes(Buffer.from(privateKey.export({ format: 'pem', type }))));
  }
  const encrypted = { cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const;
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8', ...encrypted });
  return [...forms, new SecretBytes(Buffer.from(pem))];
}

const typesOf: Readonly<Record<string, readonly string[]>> = { rsa: ['pkcs1'], ec: ['sec1'] };

function pkcs8(key: KeyObject): SecretBytes {
  return new SecretBytes(key.export({ format: 'der', type: 'pkcs8' }));
}

function rsaNumbers(key: KeyObject): bigint[] {
  const encoded = key.export({ format: 'der', type: 'pkcs1' });
  return derChildren(readWholeDer(encoded)).slice(1).map(derUnsigned);
}

function pkcs1(numbers: readonly bigint[]): SecretBytes {
  return new SecretBytes(encodeDer(0x30, ...[0n, ...numbers].map(encodeDerUnsigned)));
}

/** A key that is right in all but what its primes are. */
function numbersFrom(p: bigint, q: bigint, e: bigint): bigint[] {
  const phi = (p - 1n) * (q - 1n);
  const d = phi === 0n ? 1n : inverseOf(e, phi);
  const modulo = (prime: bigint) => (prime === 1n ? 0n : d % (prime - 1n));
  return [p * q, e, d, p, q, modulo(p), modulo(q), p === q ? 1n : inverseOf(q, p)];
}

/** An odd number near `q`, almost surely composite, for which the exponent has an inverse. */
function oddLike(q: bigint, p: bigint, e: bigint): bigint {
  let odd = q - 2n;
  while ((odd - 1n) % e === 0n || (p * odd) >> 2047n !== 1n) odd -= 2n;
  return odd;
}

function inverseOf(value: bigint, modulus: bigint): bigint {
  let [r0, r1, t0, t1] = [modulus, value % modulus, 0n, 1n];
  while (r1 > 0n) {
    const quotient = r0 / r1;
    [r0, r1, t0, t1] = [r1, r0 - quotient * r1, t1, t0 - quotient * t1];
  }
  return ((t0 % modulus) + modulus) % modulus;
}

function pointOf(key: KeyObject): Buffer {
  return key.export({ format: 'raw-public' });
}

function scalarOf(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).d as string, 'base64url');
}
