import { DerError } from './der-error.ts';
import { HeaderCursor, longLengthBytes, writeHeader } from './header.ts';
import { derTags } from './tags.ts';

/** One DER element inside a buffer: its tag and where its contents start and end. */
export interface DerElement {
  readonly tag: number;
  /** Offset of the tag. */
  readonly start: number;
  /** Offset of the first byte of the contents. */
  readonly contentStart: number;
  /** Offset behind the last byte of the contents. */
  readonly end: number;
  readonly content: Buffer;
}

/**
 * Reads the header of the element at `offset`: single-byte tags and definite, minimal lengths only
 * (X.690, 10.1). Its contents are not looked at. Error: DerError, a RangeError.
 */
export function readDer(bytes: Buffer, offset = 0): DerElement {
  const { tag, start, contentStart, end } = headerAt(bytes, offset);
  return { tag, start, contentStart, end, content: bytes.subarray(contentStart, end) };
}

/** Reads an element that fills the buffer, with nothing behind it. */
export function readWholeDer(bytes: Buffer, tag?: number): DerElement {
  const element = readDer(bytes);
  if (element.end !== bytes.length) throw new DerError('trailing');
  if (tag !== undefined && element.tag !== tag) throw new DerError('structure');
  return element;
}

/** The elements inside a constructed one. */
export function derChildren(element: DerElement): DerElement[] {
  const children: DerElement[] = [];
  let offset = 0;
  while (offset < element.content.length) {
    const child = readDer(element.content, offset);
    children.push(child);
    offset = child.end;
  }
  return children;
}

/** The value of a non-negative INTEGER. Error: DerError. */
export function derUnsigned(element: DerElement | undefined): bigint {
  const content = element?.content;
  if (element?.tag !== derTags.integer || content === undefined || content.length === 0) {
    throw new DerError('structure', 'an INTEGER is missing');
  }
  if (content[0]! >= 0x80) throw new DerError('value', 'an INTEGER is negative');
  return bigintFromBytes(content);
}

/** One element: tag, minimal length, the parts one after another. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const element = Buffer.allocUnsafe(2 + longLengthBytes(length) + length);
  let offset = writeHeader(element, 0, tag, length);
  for (const part of parts) {
    element.set(part, offset);
    offset += part.length;
  }
  return element;
}

/** A non-negative INTEGER. */
export function encodeDerUnsigned(value: bigint): Buffer {
  const bytes = minimalBytes(value);
  const sign = bytes[0]! >= 0x80 ? [0] : [];
  return encodeDer(derTags.integer, Buffer.from(sign), bytes);
}

/** Big-endian bytes to a number. Key components go this way so that none becomes a string. */
export function bigintFromBytes(bytes: Uint8Array): bigint {
  let value = 0n;
  const padded = Buffer.alloc(Math.ceil(bytes.length / 8) * 8);
  padded.set(bytes, padded.length - bytes.length);
  for (let offset = 0; offset < padded.length; offset += 8) {
    value = (value << 64n) | padded.readBigUInt64BE(offset);
  }
  padded.fill(0);
  return value;
}

/** How many bits a positive number has. */
export function bitLength(value: bigint): number {
  const bytes = minimalBytes(value);
  return (bytes.length - 1) * 8 + (32 - Math.clz32(bytes[0]!));
}

function minimalBytes(value: bigint): Buffer {
  const limbs: Buffer[] = [];
  let rest = value;
  do {
    const limb = Buffer.alloc(8);
    limb.writeBigUInt64BE(rest & 0xffff_ffff_ffff_ffffn);
    limbs.unshift(limb);
    rest >>= 64n;
  } while (rest > 0n);
  const bytes = Buffer.concat(limbs);
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  return bytes.subarray(start);
}

function headerAt(bytes: Buffer, offset: number): HeaderCursor {
  const cursor = new HeaderCursor();
  cursor.advance(bytes, offset, bytes.length);
  return cursor;
}
