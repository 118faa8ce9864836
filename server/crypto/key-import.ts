import {
  createECDH,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  ECDH,
  type KeyObject,
} from 'node:crypto';
import {
  type AlgorithmName,
  type AlgorithmRow,
  algorithms,
  type NodeKey,
} from '../../api/algorithms.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { derChildren, derTags, encodeDer, encodeDerUnsigned, readWholeDer } from '../der/der.ts';
import { decapsulate, encapsulate } from './agreement.ts';
import { algorithmOfKey, keyMatches } from './key-kind.ts';
import { type KeyMaterial, type LocalKeyMaterial, materialOf } from './key-material.ts';
import { invalidPrivate, readPrivateInput } from './private-input.ts';
import { rebuildRsa } from './rsa-private.ts';
import { sign, verify } from './signatures.ts';

const consistencyText = Buffer.from('keyreeve import consistency');
/** The tags [0] and [1] of RFC 5915's optional fields. */
const sec1Tags = { parameters: 0xa0, publicKey: 0xa1 } as const;

/**
 * The algorithm of a private key from outside, before it is imported. Errors:
 * `invalid-key-material`, `wrong-passphrase`, `unknown-algorithm` for a kind that is none of ours.
 */
export function algorithmOfPrivate(input: SecretBytes, passphrase?: SecretBytes): AlgorithmName {
  const algorithm = algorithmOfKey(readPrivateInput(input, passphrase));
  if (algorithm !== undefined) return algorithm;
  throw new KeyreeveError('unknown-algorithm', 'The private key is of no algorithm known here.', {
    hint: `Known are: ${Object.keys(algorithms).join(', ')}.`,
  });
}

/**
 * Takes a private key from outside: PEM or DER in PKCS#8, PKCS#1 or SEC1, encrypted under a
 * passphrase or not; for symmetric algorithms the bytes themselves. No component is believed that
 * follows from others: RSA keys are rebuilt from their primes, EC and Curve25519 keys from their
 * scalar, ML-DSA and ML-KEM keys from their seed, and what comes out must agree with what came in
 * and work with its public half. Input and passphrase are read before the promise is returned and
 * may be disposed of then. Errors: `invalid-key-material`, `wrong-passphrase`.
 */
export async function importPrivate(
  algorithm: AlgorithmName,
  input: SecretBytes,
  passphrase?: SecretBytes,
): Promise<LocalKeyMaterial> {
  const row: AlgorithmRow = algorithms[algorithm];
  if (row.node.type === 'secret') return importSecret(algorithm, row.node.bits, input);
  const given = readPrivateInput(input, passphrase);
  if (!keyMatches(algorithm, given)) {
    throw invalidPrivate(`It is not a key of the algorithm ${algorithm}.`);
  }
  const material = materialOf(algorithm, await rebuild(given, row.node));
  const givenSpki = createPublicKey(given).export({ format: 'der', type: 'spki' });
  // OpenSSL believes the public half that came with the key; the rebuilt one has its own.
  if (row.node.type !== 'ec' && material.spki?.equals(givenSpki) !== true) {
    throw invalidPrivate('Its public half belongs to another key.');
  }
  await checkPair(row, material);
  return material;
}

function importSecret(
  algorithm: AlgorithmName,
  bits: number,
  input: SecretBytes,
): LocalKeyMaterial {
  if (input.length * 8 !== bits) {
    throw invalidPrivate(`A key of the algorithm ${algorithm} has exactly ${bits / 8} bytes.`);
  }
  return materialOf(algorithm, createSecretKey(input.reveal()));
}

async function rebuild(given: KeyObject, node: NodeKey): Promise<KeyObject> {
  if (node.type === 'rsa') return rebuildRsa(given, node.modulusBits);
  if (node.type === 'ec') return rebuildEc(given, node.curve);
  return rebuildOctets(given);
}

// RFC 5915: version 1, the scalar, [0] the curve, [1] the public point.
function rebuildEc(given: KeyObject, curve: string): KeyObject {
  const encoded = given.export({ format: 'der', type: 'sec1' });
  try {
    const [, scalar, ...options] = derChildren(readWholeDer(encoded, derTags.sequence));
    const parameters = options.find((option) => option.tag === sec1Tags.parameters);
    const point = options.find((option) => option.tag === sec1Tags.publicKey);
    if (scalar === undefined || parameters?.content[0] !== derTags.objectIdentifier) {
      throw invalidPrivate('Its curve is given by explicit parameters instead of its name.');
    }
    const publicPoint = pointOf(curve, scalar.content);
    if (point !== undefined && !samePoint(curve, point.content, publicPoint)) {
      throw invalidPrivate('Its public half belongs to another key.');
    }
    const rebuilt = encodeDer(
      derTags.sequence,
      encodeDerUnsigned(1n),
      encodeDer(derTags.octetString, scalar.content),
      encodeDer(sec1Tags.parameters, parameters.content),
      encodeDer(
        sec1Tags.publicKey,
        encodeDer(derTags.bitString, Buffer.concat([Buffer.of(0), publicPoint])),
      ),
    );
    try {
      return createPrivateKey({ key: rebuilt, format: 'der', type: 'sec1' });
    } finally {
      rebuilt.fill(0);
    }
  } finally {
    encoded.fill(0);
  }
}

function pointOf(curve: string, scalar: Buffer): Buffer {
  const ecdh = createECDH(curve);
  try {
    ecdh.setPrivateKey(scalar);
  } catch {
    throw invalidPrivate('Its scalar is zero or not below the order of the curve.');
  }
  return ecdh.getPublicKey();
}

function samePoint(curve: string, bitString: Buffer, expected: Buffer): boolean {
  try {
    const point = readWholeDer(bitString, derTags.bitString).content.subarray(1);
    const plain = ECDH.convertKey(point, curve, undefined, undefined, 'uncompressed');
    return Buffer.from(plain as Uint8Array).equals(expected);
  } catch {
    return false;
  }
}

/**
 * Rebuilds a key that is one string of octets from its seed (ML-DSA, ML-KEM) or from its private
 * octets (Ed25519, X25519, SLH-DSA). Post-quantum keys may come in their expanded form alone; that
 * cannot be rebuilt, and the check of the pair has to do.
 */
function rebuildOctets(given: KeyObject): KeyObject {
  for (const format of ['raw-seed', 'raw-private'] as const) {
    let raw: Buffer;
    try {
      raw = given.export({ format });
    } catch {
      continue;
    }
    try {
      return createPrivateKey({ key: raw, format, asymmetricKeyType: given.asymmetricKeyType! });
    } finally {
      raw.fill(0);
    }
  }
  return given;
}

/** Uses the private half and checks the result with the public one (FIPS 140-3 IG 10.3.A). */
async function checkPair(row: AlgorithmRow, { privateKey, publicKey }: KeyMaterial): Promise<void> {
  const signScheme = row.purposes.sign?.default[0];
  let works = true;
  if (signScheme !== undefined) {
    const signature = await sign(signScheme, privateKey, consistencyText);
    works = await verify(signScheme, publicKey!, consistencyText, signature);
  }
  if (row.purposes.encapsulate !== undefined) {
    const { ciphertext, sharedSecret } = await encapsulate(publicKey!);
    using made = sharedSecret;
    using opened = await decapsulate(privateKey, ciphertext);
    works = made.equals(opened);
  }
  if (!works) throw invalidPrivate('Its private and its public half do not work together.');
}
