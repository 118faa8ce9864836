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

export const derTags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  sequence: 0x30,
} as const;

const lengthBytesMaximum = 4;

/**
 * Reads one element at `offset`: single-byte tags and definite, minimal lengths only (X.690, 10.1).
 * Throws a RangeError where the bytes are anything else.
 */
export function readDer(bytes: Buffer, offset = 0): DerElement {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined) throw new RangeError('DER ends too early');
  if ((tag & 0x1f) === 0x1f) throw new RangeError('DER tag of several bytes');
  let contentStart = offset + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > lengthBytesMaximum) throw new RangeError('DER length form');
    if (contentStart + count > bytes.length) throw new RangeError('DER ends too early');
    length = bytes.readUIntBE(contentStart, count);
    if (length < 0x80 || (count > 1 && length < 2 ** (8 * (count - 1)))) {
      throw new RangeError('DER length is not minimal');
    }
    contentStart += count;
  }
  const end = contentStart + length;
  if (end > bytes.length) throw new RangeError('DER ends too early');
  return { tag, start: offset, contentStart, end, content: bytes.subarray(contentStart, end) };
}

/** Reads an element that fills the buffer, with nothing behind it. */
export function readWholeDer(bytes: Buffer, tag?: number): DerElement {
  const element = readDer(bytes);
  if (element.end !== bytes.length) throw new RangeError('bytes behind the DER element');
  if (tag !== undefined && element.tag !== tag) throw new RangeError('another DER tag');
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

/** The value of a non-negative INTEGER. Throws a RangeError for anything else. */
export function derUnsigned(element: DerElement | undefined): bigint {
  const content = element?.content;
  if (element?.tag !== derTags.integer || content === undefined || content.length === 0) {
    throw new RangeError('not an INTEGER');
  }
  if (content[0]! >= 0x80) throw new RangeError('a negative INTEGER');
  return bigintFromBytes(content);
}

/** One element: tag, minimal length, the parts one after another. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const header = [tag];
  if (content.length < 0x80) {
    header.push(content.length);
  } else {
    const length = minimalBytes(BigInt(content.length));
    header.push(0x80 | length.length, ...length);
  }
  return Buffer.concat([Buffer.from(header), content]);
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
