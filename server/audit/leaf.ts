import { isUtf8 } from 'node:buffer';
import { hash, randomFillSync } from 'node:crypto';
import { type EntryDraft, type EntryField, entryFields } from '../../api/entry.ts';
import { KeyreeveError } from '../base/errors.ts';

export const leafVersion = 0x01;
export const commitmentPrefix = 0x02;
export const saltLengthBytes = 16;
export const hashLengthBytes = 32;
export const entryValueLimitBytes = 65_536;
/** All fields of one entry together, with their salts. */
export const openingLimitBytes = 131_072;
/** Fields that every entry has: id, time, kind, action, outcome. */
export const requiredFieldCount = 5;

const leafHeaderBytes = 2;
const leafFieldBytes = 1 + hashLengthBytes;
/** Prefix, field number and salt: what stands before the value in the input of a commitment. */
const inputHeaderBytes = 2 + saltLengthBytes;
const lengthBytes = 4;

const fieldList = Object.entries(entryFields) as [EntryField, number][];
const namesByNumber = new Map<number, string>(fieldList.map(([name, number]) => [number, name]));

// Random bytes are drawn for many salts at once: a draw costs more than a hash.
const saltPool = Buffer.alloc(saltLengthBytes * 1024);
let saltOffset = saltPool.length;
// Values are laid out here before their length is known; grows to the largest entry seen.
let scratch = Buffer.alloc(16 * 1024);

export interface EncodedEntry {
  /** What the tree commits to: commitments alone, without secrets. */
  readonly leaf: Uint8Array;
  /** Salts and values. */
  readonly opening: Uint8Array;
}

export interface Commitment {
  readonly field: number;
  readonly hash: Buffer;
}

export interface OpenedField {
  readonly field: number;
  readonly salt: Buffer;
  readonly value: string;
  /** The bytes whose SHA-256 is the commitment. */
  readonly input: Buffer;
}

export interface OpeningProblem {
  readonly field: number;
  /** absent: the leaf has no such field. mismatch: it commits to another value. */
  readonly reason: 'absent' | 'mismatch';
}

/**
 * The leaf and the opening of an entry, with fresh salts (docs/record-format.md). Runs for every use
 * of a key. Throws `invalid-request` for a value above `entryValueLimitBytes`, an entry above
 * `openingLimitBytes`, and a missing required field.
 */
export function encodeEntry(draft: EntryDraft): EncodedEntry {
  let count = 0;
  let end = 1;
  for (let index = 0; index < fieldList.length; index++) {
    const [name, number] = fieldList[index]!;
    const value = draft[name];
    if (value === undefined) {
      if (number <= requiredFieldCount) throw missingField(name);
      continue;
    }
    end = layOut(end, number, name, value);
    count++;
  }
  if (end > openingLimitBytes) {
    throw new KeyreeveError(
      'invalid-request',
      `An entry is longer than ${openingLimitBytes} bytes.`,
    );
  }
  scratch[0] = count;
  const opening = Buffer.allocUnsafe(end);
  scratch.copy(opening, 0, 0, end);
  return { leaf: commitToAll(opening, count), opening };
}

/** The fields of a leaf in ascending order. Throws `integrity-failed` for any other form. */
export function decodeLeaf(leaf: Uint8Array): Commitment[] {
  const bytes = asBuffer(leaf);
  if (bytes[0] !== leafVersion)
    throw damaged(`a leaf of version ${bytes[0] ?? 'none'} is not known`);
  const count = bytes[1] ?? 0;
  if (bytes.length !== leafHeaderBytes + count * leafFieldBytes) {
    throw damaged('a leaf has not the length that its number of fields demands');
  }
  const fields: Commitment[] = [];
  let last = 0;
  for (let offset = leafHeaderBytes; offset < bytes.length; offset += leafFieldBytes) {
    const field = bytes[offset]!;
    if (field <= last) throw damaged('the fields of a leaf are not in ascending order');
    last = field;
    fields.push({ field, hash: bytes.subarray(offset + 1, offset + leafFieldBytes) });
  }
  for (let index = 0; index < requiredFieldCount; index++) {
    if (fields[index]?.field !== index + 1) throw damaged('a leaf lacks a required field');
  }
  return fields;
}

/** The fields of an opening in ascending order. Throws `integrity-failed` for any other form. */
export function decodeOpening(opening: Uint8Array): OpenedField[] {
  const bytes = asBuffer(opening);
  if (bytes.length === 0) throw damaged('an opening is empty');
  const fields: OpenedField[] = [];
  let offset = 1;
  let last = 0;
  for (let index = 0; index < bytes[0]!; index++) {
    if (offset + lengthBytes > bytes.length) throw damaged('an opening is cut short');
    const length = bytes.readUInt32BE(offset);
    offset += lengthBytes;
    if (length < inputHeaderBytes || length > inputHeaderBytes + entryValueLimitBytes) {
      throw damaged('an opening has a field of impossible length');
    }
    if (offset + length > bytes.length) throw damaged('an opening is cut short');
    const input = bytes.subarray(offset, offset + length);
    offset += length;
    if (input[0] !== commitmentPrefix) throw damaged('an opening has a field of unknown form');
    if (input[1]! <= last) throw damaged('the fields of an opening are not in ascending order');
    last = input[1]!;
    fields.push(openField(input));
  }
  if (offset !== bytes.length) throw damaged('an opening has bytes after its end');
  return fields;
}

/**
 * Calls `found` for those fields of an opening whose number is wanted, quicker than decoding all.
 * Stops where the opening cannot be read.
 */
export function scanOpening(
  opening: Uint8Array,
  wanted: (field: number) => boolean,
  found: (field: number, value: string) => void,
): void {
  const bytes = asBuffer(opening);
  for (let offset = 1; offset + lengthBytes + inputHeaderBytes <= bytes.length; ) {
    const start = offset + lengthBytes;
    offset = start + bytes.readUInt32BE(start - lengthBytes);
    const field = bytes[start + 1]!;
    if (wanted(field)) found(field, bytes.toString('utf8', start + inputHeaderBytes, offset));
  }
}

/** An opening of these fields alone, in the form of the database. */
export function encodeOpening(fields: readonly OpenedField[]): Buffer {
  const parts: Buffer[] = [Buffer.of(fields.length)];
  for (const { input } of fields) {
    const length = Buffer.alloc(lengthBytes);
    length.writeUInt32BE(input.length);
    parts.push(length, input);
  }
  return Buffer.concat(parts);
}

/** The input of a commitment, for salts and values that come from a file. */
export function commitmentInput(field: number, salt: Uint8Array, value: string): Buffer {
  return Buffer.concat([Buffer.of(commitmentPrefix, field), salt, Buffer.from(value, 'utf8')]);
}

/**
 * Compares each opened field with the leaf. An empty answer means that all are right; fields that
 * the leaf has and the opening has not were kept back, and are no problem.
 */
export function checkOpening(
  leaf: readonly Commitment[],
  opening: readonly OpenedField[],
): OpeningProblem[] {
  const problems: OpeningProblem[] = [];
  let index = 0;
  for (const { field, input } of opening) {
    while (index < leaf.length && leaf[index]!.field < field) index++;
    const commitment = leaf[index];
    if (commitment?.field !== field) problems.push({ field, reason: 'absent' });
    else if (hash('sha256', input, 'binary') !== commitment.hash.toString('latin1')) {
      problems.push({ field, reason: 'mismatch' });
    }
  }
  return problems;
}

/** The name of a field; `field-<number>` for one that a newer version added. */
export function fieldName(field: number): string {
  return namesByNumber.get(field) ?? `field-${field}`;
}

/** The number of a field by its name, or undefined. */
export function fieldNumber(name: string): number | undefined {
  if (Object.hasOwn(entryFields, name)) return entryFields[name as EntryField];
  const match = /^field-([1-9][0-9]{0,2})$/.exec(name);
  const number = match === null ? 0 : Number(match[1]);
  return number > 0 && number < 256 && !namesByNumber.has(number) ? number : undefined;
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function layOut(start: number, field: number, name: string, value: string): number {
  // A UTF-16 unit takes three bytes of UTF-8 at most.
  const room = start + lengthBytes + inputHeaderBytes + value.length * 3;
  if (value.length > entryValueLimitBytes) throw tooLong(name);
  if (room > scratch.length) {
    const larger = Buffer.alloc(room * 2);
    scratch.copy(larger, 0, 0, start);
    scratch = larger;
  }
  const input = start + lengthBytes;
  const length = scratch.write(value, input + inputHeaderBytes, 'utf8');
  if (length > entryValueLimitBytes) throw tooLong(name);
  scratch.writeUInt32BE(inputHeaderBytes + length, start);
  scratch[input] = commitmentPrefix;
  scratch[input + 1] = field;
  if (saltOffset === saltPool.length) {
    randomFillSync(saltPool);
    saltOffset = 0;
  }
  saltPool.copy(scratch, input + 2, saltOffset, saltOffset + saltLengthBytes);
  saltOffset += saltLengthBytes;
  return input + inputHeaderBytes + length;
}

function commitToAll(opening: Buffer, count: number): Buffer {
  const leaf = Buffer.allocUnsafe(leafHeaderBytes + count * leafFieldBytes);
  leaf[0] = leafVersion;
  leaf[1] = count;
  let offset = 1;
  for (let at = leafHeaderBytes; at < leaf.length; at += leafFieldBytes) {
    const start = offset + lengthBytes;
    const end = start + opening.readUInt32BE(offset);
    leaf[at] = opening[start + 1]!;
    // As a string of bytes: four times as quick as the form that makes a buffer for each hash.
    const digest = hash('sha256', opening.subarray(start, end), 'binary');
    leaf.write(digest, at + 1, hashLengthBytes, 'latin1');
    offset = end;
  }
  return leaf;
}

function openField(input: Buffer): OpenedField {
  const value = input.subarray(inputHeaderBytes);
  if (!isUtf8(value)) throw damaged('a value of an opening is not UTF-8');
  return {
    field: input[1]!,
    salt: input.subarray(2, inputHeaderBytes),
    value: value.toString('utf8'),
    input,
  };
}

function damaged(message: string): KeyreeveError {
  return new KeyreeveError('integrity-failed', `The record is damaged: ${message}.`, {
    hint: 'Run `keyreeve audit verify` to see what is damaged.',
  });
}

function missingField(name: string): KeyreeveError {
  return new KeyreeveError('invalid-request', `An entry of the record needs the field ${name}.`);
}

function tooLong(name: string): KeyreeveError {
  return new KeyreeveError(
    'invalid-request',
    `The field ${name} of an entry is longer than ${entryValueLimitBytes} bytes.`,
  );
}
