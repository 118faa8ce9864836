import { createPrivateKey, type KeyObject } from 'node:crypto';
import { KeyreeveError } from '../base/errors.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import {
  type DerElement,
  derChildren,
  derTags,
  derUnsigned,
  readDer,
  readWholeDer,
} from '../der/der.ts';

export const privateInputMaximumBytes = 64 * 1024;

/** Opening happens on the event loop, so what a file may cost is limited: well under a second. */
export const pbkdf2IterationsMaximum = 2_000_000n;
/** N x r x p of scrypt (RFC 7914): the usual 2^14 x 8 x 1 is an eighth of it. */
export const scryptCostMaximum = 2n ** 20n;

// DER contents of the object identifiers of RFC 8018 (PBES2, PBKDF2) and RFC 7914 (scrypt).
const pbes2 = Buffer.from('2a864886f70d01050d', 'hex');
const pbkdf2 = Buffer.from('2a864886f70d01050c', 'hex');
const scrypt = Buffer.from('2b06010401da47040b', 'hex');

const pemBegin = '-----BEGIN ';
const pemPrivateEnd = 'PRIVATE KEY-----';

/**
 * Reads a private key from PEM or DER: PKCS#8, PKCS#1 or SEC1, encrypted or not. Nothing in it is
 * believed yet. Errors: `invalid-key-material`, `wrong-passphrase`.
 */
export function readPrivateInput(input: SecretBytes, passphrase?: SecretBytes): KeyObject {
  const bytes = input.reveal();
  if (bytes.length > privateInputMaximumBytes) {
    throw invalidPrivate(`It is longer than ${privateInputMaximumBytes} bytes.`);
  }
  return bytes[0] === derTags.sequence ? readDerKey(bytes, passphrase) : readPem(bytes, passphrase);
}

/** The error for private keys that are not accepted. The reason never holds a part of the key. */
export function invalidPrivate(reason: string): KeyreeveError {
  return new KeyreeveError('invalid-key-material', `The private key is refused. ${reason}`);
}

function readPem(bytes: Buffer, passphrase: SecretBytes | undefined): KeyObject {
  const blocks = privateBlocks(bytes);
  if (blocks.length === 0) throw invalidPrivate('It is neither PEM nor DER.');
  if (blocks.length > 1) throw invalidPrivate('There is more than one private key in it.');
  const block = blocks[0]!;
  const pkcs8Encrypted = block.label === 'ENCRYPTED PRIVATE KEY';
  // The old form of encrypted PEM (RFC 1421) hashes the passphrase once: it needs no limit.
  const encrypted = pkcs8Encrypted || block.body.includes('Proc-Type: 4,ENCRYPTED');
  if (pkcs8Encrypted) {
    limitPassphraseCost(Buffer.from(block.body.toString('latin1'), 'base64'));
  }
  return open({ key: bytes, format: 'pem' }, encrypted, passphrase);
}

interface PemBlock {
  readonly label: string;
  readonly body: Buffer;
}

function privateBlocks(bytes: Buffer): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (let start = bytes.indexOf(pemBegin); start !== -1; ) {
    const labelStart = start + pemBegin.length;
    const labelEnd = bytes.indexOf('-----', labelStart);
    if (labelEnd === -1) break;
    const next = bytes.indexOf('-----END ', labelEnd);
    if (next === -1) break;
    if (
      bytes
        .subarray(labelStart, labelEnd + 5)
        .toString('latin1')
        .endsWith(pemPrivateEnd)
    ) {
      const label = bytes.toString('latin1', labelStart, labelEnd);
      blocks.push({ label, body: bytes.subarray(labelEnd + 5, next) });
    }
    start = bytes.indexOf(pemBegin, next);
  }
  return blocks;
}

function readDerKey(bytes: Buffer, passphrase: SecretBytes | undefined): KeyObject {
  const type = derTypeOf(bytes);
  if (type === 'encrypted') {
    limitPassphraseCost(bytes);
    return open({ key: bytes, format: 'der', type: 'pkcs8' }, true, passphrase);
  }
  return open({ key: bytes, format: 'der', type }, false, undefined);
}

// PKCS#8: version, algorithm. PKCS#1: version, modulus. SEC1: version, octets. Encrypted PKCS#8:
// algorithm, octets.
function derTypeOf(bytes: Buffer): 'pkcs8' | 'pkcs1' | 'sec1' | 'encrypted' {
  let tags: number[];
  try {
    tags = derChildren(readWholeDer(bytes, derTags.sequence)).map((child) => child.tag);
  } catch {
    throw invalidPrivate('Its DER is damaged, or something follows it.');
  }
  if (tags[0] === derTags.sequence) return 'encrypted';
  if (tags[1] === derTags.integer) return 'pkcs1';
  return tags[1] === derTags.octetString ? 'sec1' : 'pkcs8';
}

type Encoded =
  | { readonly key: Buffer; readonly format: 'pem' }
  | { readonly key: Buffer; readonly format: 'der'; readonly type: 'pkcs8' | 'pkcs1' | 'sec1' };

function open(input: Encoded, encrypted: boolean, passphrase: SecretBytes | undefined): KeyObject {
  if (encrypted && passphrase === undefined) {
    throw new KeyreeveError('wrong-passphrase', 'The private key is encrypted.', {
      hint: 'Give the passphrase it was encrypted with.',
    });
  }
  try {
    return createPrivateKey(
      encrypted && passphrase !== undefined ? { ...input, passphrase: passphrase.reveal() } : input,
    );
  } catch {
    // A wrong passphrase cannot always be told from a damaged file: padding may fit by chance.
    if (encrypted) {
      throw new KeyreeveError('wrong-passphrase', 'The passphrase does not open the private key.');
    }
    throw invalidPrivate('It cannot be read as PKCS#8, PKCS#1 or SEC1.');
  }
}

// Whoever wrote the file chose how often the passphrase is hashed: 2^31 times would take minutes.
function limitPassphraseCost(encrypted: Buffer): void {
  let tooCostly: boolean;
  try {
    tooCostly = isTooCostly(encrypted);
  } catch {
    throw invalidPrivate('Its encryption parameters cannot be read.');
  }
  if (tooCostly) {
    throw invalidPrivate('Its passphrase hashing costs more than is allowed: encrypt it again.');
  }
}

function isTooCostly(encrypted: Buffer): boolean {
  const algorithm = children(readDer(encrypted))[0]!;
  const [identifier, parameters] = children(algorithm);
  if (!identifier!.content.equals(pbes2)) {
    // PBES1 (RFC 8018, A.3) and PKCS#12: salt, iterations.
    return derUnsigned(children(parameters!)[1]) > pbkdf2IterationsMaximum;
  }
  const [derivation, settings] = children(children(parameters!)[0]!);
  const values = children(settings!);
  if (derivation!.content.equals(pbkdf2)) return derUnsigned(values[1]) > pbkdf2IterationsMaximum;
  if (!derivation!.content.equals(scrypt)) return true;
  const cost = derUnsigned(values[1]) * derUnsigned(values[2]) * derUnsigned(values[3]);
  return cost > scryptCostMaximum;
}

function children(element: DerElement): DerElement[] {
  if (element.tag !== derTags.sequence) throw new RangeError('not a SEQUENCE');
  return derChildren(element);
}
