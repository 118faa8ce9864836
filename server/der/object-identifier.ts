import { DerError } from './der-error.ts';

/** The longest in use have about 20 bytes; those made of a UUID (X.667) up to 21. */
export const objectIdentifierBytesMaximum = 64;

const textPattern = /^(?:[01]\.(?:[0-9]|[123][0-9])|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))*$/;
const safeBits = 46;

/**
 * Checks the contents of an OBJECT IDENTIFIER: whole arcs without leading zero bits (X.690, 8.19).
 */
export function checkObjectIdentifier(bytes: Buffer, start: number, end: number): void {
  if (start === end || end - start > objectIdentifierBytesMaximum || bytes[end - 1]! >= 0x80) {
    throw new DerError('object-identifier');
  }
  let atArcStart = true;
  for (let offset = start; offset < end; offset++) {
    const byte = bytes[offset]!;
    if (atArcStart && byte === 0x80) throw new DerError('object-identifier');
    atArcStart = byte < 0x80;
  }
}

/** The dotted text of checked contents. */
export function objectIdentifierText(bytes: Buffer, start = 0, end = bytes.length): string {
  let text = '';
  let offset = start;
  while (offset < end) {
    const arcStart = offset;
    let arc = 0;
    let byte: number;
    do {
      byte = bytes[offset++]!;
      arc = arc * 128 + (byte & 0x7f);
    } while (byte >= 0x80);
    const isLong = (offset - arcStart) * 7 > safeBits;
    const value = isLong ? longArc(bytes, arcStart, offset) : arc;
    text += text === '' ? firstArcs(value) : `.${value}`;
  }
  return text;
}

/** The contents of an OBJECT IDENTIFIER from its dotted text. Error: DerError. */
export function encodeObjectIdentifier(text: string): Buffer {
  if (!textPattern.test(text) || text.length > 4 * objectIdentifierBytesMaximum) {
    throw new DerError('object-identifier', 'that is no object identifier');
  }
  const [first = '0', second = '0', ...rest] = text.split('.');
  const arcs = [BigInt(first) * 40n + BigInt(second), ...rest.map(BigInt)];
  const bytes = Buffer.from(arcs.flatMap(encodeArc));
  if (bytes.length > objectIdentifierBytesMaximum) throw new DerError('object-identifier');
  return bytes;
}

// X.690, 8.19.4: the first two arcs share one number, 40 times the first plus the second.
function firstArcs(value: number | bigint): string {
  if (value < 40) return `0.${value}`;
  if (value < 80) return `1.${Number(value) - 40}`;
  return `2.${BigInt(value) - 80n}`;
}

function longArc(bytes: Buffer, start: number, end: number): bigint {
  let value = 0n;
  for (let offset = start; offset < end; offset++) {
    value = (value << 7n) | BigInt(bytes[offset]! & 0x7f);
  }
  return value;
}

function encodeArc(arc: bigint): number[] {
  const groups = [Number(arc & 0x7fn)];
  for (let rest = arc >> 7n; rest > 0n; rest >>= 7n) groups.unshift(Number(rest & 0x7fn) | 0x80);
  return groups;
}
