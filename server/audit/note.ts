import {
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes,
} from 'node:crypto';
import { KeyreeveError } from '../base/errors.ts';
import { hashLengthBytes } from './leaf.ts';
import { digest } from './tree.ts';

const signatureTypeEd25519 = 0x01;
const keyIdLengthBytes = 4;
const publicKeyLengthBytes = 32;
const signatureLengthBytes = 64;
/** Longer notes are refused unread. */
export const noteLimitBytes = 256 * 1024;
/** Before the 32 bytes of an Ed25519 public key: RFC 8410 section 4. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
/** Before the 32 bytes of an Ed25519 seed: RFC 8410 section 7. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');

/** One who may sign notes: C2SP signed-note. */
export interface Verifier {
  readonly name: string;
  readonly keyId: string;
  readonly publicKey: KeyObject;
  /** The key line, `<name>+<key id>+<key>`. */
  readonly line: string;
}

export interface Signer {
  readonly verifier: Verifier;
  readonly privateKey: KeyObject;
}

export interface NoteSignature {
  readonly name: string;
  readonly keyId: string;
  readonly signature: Buffer;
}

export interface Note {
  /** With its last newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface TreeHead {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
}

/** C2SP tlog-checkpoint. */
export interface Checkpoint extends TreeHead {
  /** The last state of the log that this one continues after a restore. */
  readonly continues: TreeHead | undefined;
}

/** The signer of this name whose Ed25519 private key has this seed of 32 bytes. */
export function signerFromSeed(name: string, seed: Uint8Array): Signer {
  const der = Buffer.concat([pkcs8Prefix, seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { verifier: makeVerifier(name, spki.subarray(spkiPrefix.length)), privateKey };
}

/** Reads a key line. Throws `invalid-key-material`. */
export function parseVerifier(line: string): Verifier {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(line.trim());
  const key = match === null ? undefined : decodeBase64(match[3]!);
  if (
    match === null ||
    key?.length !== 1 + publicKeyLengthBytes ||
    key[0] !== signatureTypeEd25519
  ) {
    throw invalidKey('has not the form <name>+<key id>+<Ed25519 key>');
  }
  const verifier = makeVerifier(match[1]!, key.subarray(1));
  if (verifier.keyId !== match[2]) throw invalidKey('has a key id that is not that of its key');
  return verifier;
}

/** The verifiers of a file of key lines; empty lines and lines that begin with `#` are passed over. */
export function parseVerifiers(text: string): Verifier[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#')).map(parseVerifier);
}

export function signNote(text: string, signer: Signer): string {
  const { name, keyId } = signer.verifier;
  const signature = signBytes(null, Buffer.from(text, 'utf8'), signer.privateKey);
  const line = Buffer.concat([Buffer.from(keyId, 'hex'), signature]).toString('base64');
  return `${text}\n\u2014 ${name} ${line}\n`;
}

/** Takes a signed note apart, without checking a signature. Throws `record-corrupt`. */
export function parseNote(note: string): Note {
  if (Buffer.byteLength(note) > noteLimitBytes) throw invalidNote('is too long');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the standard forbids them.
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) throw invalidNote('holds control characters');
  const border = note.lastIndexOf('\n\n');
  if (border < 1 || !note.endsWith('\n')) throw invalidNote('has no signatures');
  const signatures = note
    .slice(border + 2, -1)
    .split('\n')
    .map(parseSignature);
  return { text: note.slice(0, border + 1), signatures };
}

/**
 * The verifier whose signature the note carries. A wrong signature in the name of a known key
 * refuses the note, as C2SP signed-note says. Throws `record-corrupt`.
 */
export function verifyNote(note: Note, verifiers: readonly Verifier[]): Verifier {
  let found: Verifier | undefined;
  for (const { name, keyId, signature } of note.signatures) {
    const verifier = verifiers.find((known) => known.name === name && known.keyId === keyId);
    if (verifier === undefined) continue;
    const good =
      signature.length === signatureLengthBytes &&
      verifyBytes(null, Buffer.from(note.text, 'utf8'), verifier.publicKey, signature);
    if (!good) throw invalidNote(`carries a wrong signature of ${name}`);
    found ??= verifier;
  }
  if (found === undefined) throw invalidNote('is not signed by a key that you hold');
  return found;
}

export function checkpointText(checkpoint: Checkpoint): string {
  const { origin, size, root, continues } = checkpoint;
  const extension =
    continues === undefined
      ? ''
      : `continues ${continues.origin} ${continues.size} ${continues.root.toString('base64')}\n`;
  return `${origin}\n${size}\n${root.toString('base64')}\n${extension}`;
}

/** Reads the text of a checkpoint. Extension lines of others are passed over. Throws `record-corrupt`. */
export function parseCheckpointText(text: string): Checkpoint {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length < 3 || lines.includes('')) {
    throw invalidNote('is not a checkpoint');
  }
  const [origin, size, root, ...extensions] = lines;
  const continues = extensions.find((line) => line.startsWith('continues '))?.split(' ');
  if (continues !== undefined && continues.length !== 4) throw invalidNote('is not a checkpoint');
  return {
    ...parseTreeHead(origin!, size!, root!),
    continues: continues && parseTreeHead(continues[1]!, continues[2]!, continues[3]!),
  };
}

/**
 * Reads a checkpoint and checks its signature: its key must be one of the verifiers and have the
 * origin as its name. Throws `record-corrupt`.
 */
export function openCheckpoint(note: string, verifiers: readonly Verifier[]): Checkpoint {
  const parsed = parseNote(note);
  const checkpoint = parseCheckpointText(parsed.text);
  const verifier = verifyNote(parsed, verifiers);
  if (verifier.name !== checkpoint.origin) {
    throw invalidNote(`of ${checkpoint.origin} is signed by ${verifier.name}`);
  }
  return checkpoint;
}

/** Reads origin, size and root from text. Throws `record-corrupt`. */
export function parseTreeHead(origin: string, size: string, root: string): TreeHead {
  const hash = decodeBase64(root);
  const count = /^(0|[1-9][0-9]{0,15})$/.test(size) ? Number(size) : Number.NaN;
  if (origin === '' || !Number.isSafeInteger(count) || hash?.length !== hashLengthBytes) {
    throw invalidNote('is not a checkpoint');
  }
  return { origin, size: count, root: hash };
}

function parseSignature(line: string): NoteSignature {
  const match = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line);
  const bytes = match === null ? undefined : decodeBase64(match[2]!);
  if (match === null || bytes === undefined || bytes.length <= keyIdLengthBytes) {
    throw invalidNote('has a signature line of wrong form');
  }
  return {
    name: match[1]!,
    keyId: bytes.toString('hex', 0, keyIdLengthBytes),
    signature: bytes.subarray(keyIdLengthBytes),
  };
}

function makeVerifier(name: string, publicKey: Uint8Array): Verifier {
  const typed = Buffer.concat([Buffer.of(signatureTypeEd25519), publicKey]);
  const keyId = digest(Buffer.concat([Buffer.from(`${name}\n`, 'utf8'), typed])).toString(
    'hex',
    0,
    4,
  );
  return {
    name,
    keyId,
    publicKey: createPublicKey({
      key: Buffer.concat([spkiPrefix, publicKey]),
      format: 'der',
      type: 'spki',
    }),
    line: `${name}+${keyId}+${typed.toString('base64')}`,
  };
}

/** Only the one right spelling is taken: RFC 4648 sections 3.5 and 4. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function invalidNote(reason: string): KeyreeveError {
  return new KeyreeveError('record-corrupt', `The checkpoint ${reason}.`);
}

function invalidKey(reason: string): KeyreeveError {
  return new KeyreeveError('invalid-key-material', `The key line of the log ${reason}.`, {
    hint: 'Take it from the file log-key.pub in the folder of the checkpoints.',
  });
}
