import assert from 'node:assert/strict';
import {
  createPublicKey,
  generateKeyPairSync,
  generatePrimeSync,
  type KeyObject,
} from 'node:crypto';
import { test } from 'node:test';
import { algorithmNames, schemesFor } from '../../../api/algorithms.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { generateKeyMaterial } from '../../crypto/crypto.ts';
import { checkPublicKey, publicKeyFacts } from './public-key.ts';
import { builtIn, customProfile, keyPair, refused } from './rules.fixture.ts';

const server = builtIn('tls-server');
const authority = builtIn('intermediate');

const der = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' });

function bytesOf(value: bigint): Buffer {
  const digits = value.toString(16);
  return Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
}

function rsaKey(modulus: bigint, exponent = 65_537n): Buffer {
  const [n, e] = [modulus, exponent].map((value) => bytesOf(value).toString('base64url'));
  return der(createPublicKey({ key: { kty: 'RSA', n: n!, e: e! }, format: 'jwk' }));
}

/** A prime whose two highest bits are set, so that products have their full length. */
function prime(bits: number): bigint {
  for (;;) {
    const found = generatePrimeSync(bits, { bigint: true });
    if (found >> BigInt(bits - 2) === 3n) return found;
  }
}

test('every algorithm that signs is certified, and no other one', async () => {
  let certified = 0;
  for (const algorithm of algorithmNames) {
    // The small variants of SLH-DSA are slow to make and differ in nothing that counts here.
    if (/^slh-dsa-.*s$/.test(algorithm)) continue;
    const { spki } = await generateKeyMaterial(algorithm);
    if (spki === undefined) continue;
    if (schemesFor(algorithm, 'sign').length > 0) {
      checkPublicKey(spki, server);
      assert.equal(publicKeyFacts(spki).algorithm, algorithm);
      certified++;
    } else {
      refused('public-key-refused', /cannot sign/, () => checkPublicKey(spki, server));
    }
    if (schemesFor(algorithm, 'ca').length > 0) checkPublicKey(spki, authority);
    else refused('public-key-refused', /algorithm/, () => checkPublicKey(spki, authority));
  }
  assert.ok(certified > 15);
});

test('a profile that lists algorithms takes no other', () => {
  const profile = customProfile({ algorithms: ['p-384', 'rsa-3072'] });
  checkPublicKey(keyPair('secp384r1').spki, profile);
  refused('public-key-refused', /does not take the algorithm p-256/, () =>
    checkPublicKey(keyPair().spki, profile),
  );
});

test('RSA keys of other sizes are refused, with the size', () => {
  for (const modulusLength of [1024, 2040, 2056]) {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength });
    refused('public-key-refused', new RegExp(`this one has ${modulusLength}.* size`), () =>
      checkPublicKey(der(publicKey), server),
    );
  }
});

test('curves and kinds of keys that are not known here are refused', () => {
  for (const curve of ['secp224r1', 'brainpoolP256r1']) {
    refused('public-key-refused', /not known here/, () =>
      checkPublicKey(keyPair(curve).spki, server),
    );
  }
  const { publicKey } = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
  refused('public-key-refused', /not known here/, () => checkPublicKey(der(publicKey), server));
});

test('RSA exponents that are even, small or huge are refused', () => {
  const modulus = prime(1024) * prime(1024);
  checkPublicKey(rsaKey(modulus, 65_539n), server);
  for (const exponent of [3n, 17n, 65_535n, 65_538n, 2n ** 64n + 13n]) {
    refused('public-key-refused', /exponent/, () =>
      checkPublicKey(rsaKey(modulus, exponent), server),
    );
  }
});

test('a weak RSA modulus is refused, and the error says by which check and what to do', () => {
  const p = prime(1024);
  const even = prime(1024) * prime(1024) + 1n;
  refused('public-key-refused', /even/, () => checkPublicKey(rsaKey(even), server));
  refused('public-key-refused', /small factor.*small-factor/, () =>
    checkPublicKey(rsaKey(3n * (2n ** 2046n + 1n)), server),
  );
  assert.throws(
    () => checkPublicKey(rsaKey(p * p), server),
    (error) => {
      assert.ok(error instanceof KeyreeveError);
      assert.equal(error.data.check, 'fermat');
      assert.match(error.hint ?? '', /Make a new key/);
      return true;
    },
  );
});

test('a refused key is refused again: only sound ones are remembered', () => {
  const p = prime(1024);
  const weak = rsaKey(p * p);
  for (let round = 0; round < 2; round++) {
    refused('public-key-refused', /fermat/, () => checkPublicKey(weak, server));
  }
  // What one profile takes, another one may not.
  const spki = keyPair().spki;
  checkPublicKey(spki, server);
  refused('public-key-refused', /algorithm/, () =>
    checkPublicKey(spki, customProfile({ algorithms: ['ed25519'] })),
  );
});

test('points off their curve, at infinity or of small order are refused', () => {
  const sound = keyPair().spki;
  const off = Buffer.from(sound);
  off[off.length - 1] = off.at(-1)! ^ 1;
  refused('public-key-refused', /./, () => checkPublicKey(off, server));
  const edwards = der(generateKeyPairSync('ed25519').publicKey);
  // The neutral element: y = 1 (RFC 8032, section 5.1.4).
  const neutral = Buffer.concat([edwards.subarray(0, 12), Buffer.from([1]), Buffer.alloc(31)]);
  refused('public-key-refused', /small order/, () => checkPublicKey(neutral, server));
  // 00 alone is the point at infinity (SEC 1, section 2.3.3).
  const infinity = Buffer.from('3019301306072a8648ce3d020106082a8648ce3d03010703020000', 'hex');
  refused('public-key-refused', /./, () => checkPublicKey(infinity, server));
});

test('bytes that are no key, or a key and more, are refused', () => {
  const { spki } = keyPair();
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('3000', 'hex'),
    spki.subarray(0, -1),
    Buffer.concat([spki, Buffer.from([0])]),
  ]) {
    refused('public-key-refused', /well-formed/, () => checkPublicKey(bytes, server));
  }
});
