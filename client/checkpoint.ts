/**
 * Signed checkpoints of the record as a client checks them, after docs/record-format.md. On its own
 * feet on purpose: the client does not take the word of the service for it.
 */
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import { KeyreeveError } from '../server/base/errors.ts';

export interface OpenedCheckpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: string;
}

interface KnownKey {
  readonly name: string;
  readonly id: string;
  readonly publicKey: KeyObject;
}

/** Before the 32 bytes of an Ed25519 public key: RFC 8410, section 4. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');
const ed25519Type = 0x01;
const noteLengthMax = 262_144;

/**
 * Reads a checkpoint and checks that a key of `keyLines` (one to a line) with the origin as its
 * name signed it. Throws `record-corrupt`.
 */
export function openSignedCheckpoint(note: string, keyLines: string): OpenedCheckpoint {
  const border = note.lastIndexOf('\n\n');
  if (note.length > noteLengthMax || border < 1) throw refused('is not one');
  const text = note.slice(0, border + 1);
  const [origin = '', size = '', root = ''] = text.split('\n');
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !/^[A-Za-z0-9+/]{43}=$/.test(root)) {
    throw refused('is not one');
  }
  const keys = keyLines
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map(parseKeyLine);
  const isSigned = note
    .slice(border + 2)
    .split('\n')
    .some((line) => keys.some((key) => key.name === origin && isSignature(line, key, text)));
  if (!isSigned) throw refused('is not signed by a key that you hold');
  return { origin, size: Number(size), root };
}

function isSignature(line: string, key: KnownKey, text: string): boolean {
  const [, name, encoded = ''] = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  return (
    name === key.name &&
    bytes.toString('hex', 0, 4) === key.id &&
    verify(null, Buffer.from(text, 'utf8'), key.publicKey, bytes.subarray(4))
  );
}

function parseKeyLine(line: string): KnownKey {
  const [, name = '', id = '', encoded = ''] =
    /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})$/u.exec(line) ?? [];
  const typed = Buffer.from(encoded, 'base64');
  const found = createHash('sha256').update(`${name}\n`).update(typed).digest('hex').slice(0, 8);
  if (typed.length !== 33 || typed[0] !== ed25519Type || found !== id) {
    throw new KeyreeveError('invalid-key-material', 'the key line of the log is not valid', {
      hint: 'It has the form <name>+<key id>+<key>, as in log-key.pub.',
    });
  }
  const der = Buffer.concat([spkiPrefix, typed.subarray(1)]);
  return { name, id, publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

function refused(why: string): KeyreeveError {
  return new KeyreeveError('record-corrupt', `the checkpoint ${why}`, {
    hint: 'Compare the key of the log with the one that you kept. If it is another, look into it.',
  });
}
