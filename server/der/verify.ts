import { isAscii, isUtf8 } from 'node:buffer';
import { DerError } from './der-error.ts';
import { HeaderCursor } from './header.ts';
import { checkObjectIdentifier } from './object-identifier.ts';
import { derTags, tagBits } from './tags.ts';
import { readTime } from './time.ts';

/** Certificates need about ten levels. */
export const derDepthMaximum = 16;

interface Level {
  readonly end: number;
  /** In a SET: where the member before begins and ends; -1 where order does not matter. */
  memberStart: number;
  memberEnd: number;
}

/**
 * Holds the bytes from `start` to `end`, one element and nothing behind it, to DER: every length,
 * every value of a universal type and the order of every SET, down to the last element, without
 * recursion. Only the contents of simple context-specific elements stay unseen, since their type is
 * known to the standard of the whole alone. Error: DerError.
 */
export function checkDer(
  bytes: Buffer,
  start = 0,
  end = bytes.length,
  depthMaximum = derDepthMaximum,
): void {
  const cursor = new HeaderCursor();
  const levels: Level[] = [];
  let limit = end;
  let offset = start;
  do {
    cursor.advance(bytes, offset, limit);
    const level = levels.at(-1);
    if (level !== undefined && level.memberStart >= 0) checkOrder(bytes, level, cursor);
    offset = checkElement(bytes, cursor, levels, depthMaximum) ? cursor.contentStart : cursor.end;
    limit = levels.at(-1)?.end ?? end;
    while (levels.length > 0 && offset === limit) {
      levels.pop();
      limit = levels.at(-1)?.end ?? end;
    }
  } while (levels.length > 0);
  if (offset !== end) throw new DerError('trailing');
}

/** Checks one element; a constructed one becomes the innermost level, and the answer is true. */
function checkElement(
  bytes: Buffer,
  { tag, contentStart, end }: HeaderCursor,
  levels: Level[],
  depthMaximum: number,
): boolean {
  const isUniversal = (tag & tagBits.classMask) === 0;
  if ((tag & tagBits.constructed) === 0) {
    if (isUniversal) checkSimple(bytes, tag, contentStart, end);
    return false;
  }
  if (isUniversal && tag !== derTags.sequence && tag !== derTags.set) {
    throw new DerError('constructed');
  }
  if (levels.length >= depthMaximum) throw new DerError('too-deep');
  const memberStart = tag === derTags.set ? contentStart : -1;
  levels.push({ end, memberStart, memberEnd: contentStart });
  return true;
}

// X.690, 11.6: the members of a SET OF in ascending order of their encodings, compared as if the
// shorter one were padded with zero bytes. Every SET of X.509 is a SET OF.
function checkOrder(bytes: Buffer, level: Level, { start, end }: HeaderCursor): void {
  const { memberStart, memberEnd } = level;
  if (memberEnd > memberStart && bytes.compare(bytes, start, end, memberStart, memberEnd) > 0) {
    throw new DerError('set-order');
  }
  level.memberStart = start;
  level.memberEnd = end;
}

function checkSimple(bytes: Buffer, tag: number, start: number, end: number): void {
  switch (tag) {
    case derTags.boolean:
      if (end - start !== 1 || (bytes[start] !== 0 && bytes[start] !== 0xff)) {
        throw new DerError('boolean');
      }
      return;
    case derTags.integer:
    case derTags.enumerated:
      checkInteger(bytes, start, end);
      return;
    case derTags.bitString:
      checkBitString(bytes, start, end);
      return;
    case derTags.octetString:
      return;
    case derTags.null:
      if (start !== end) throw new DerError('null');
      return;
    case derTags.objectIdentifier:
      checkObjectIdentifier(bytes, start, end);
      return;
    case derTags.utcTime:
    case derTags.generalizedTime:
      readTime(tag, bytes, start, end);
      return;
    default:
      checkText(bytes, tag, start, end);
  }
}

function checkInteger(bytes: Buffer, start: number, end: number): void {
  if (start === end) throw new DerError('integer');
  const first = bytes[start]!;
  if (end - start === 1 || (first !== 0 && first !== 0xff)) return;
  // X.690, 8.3.2: the first nine bits are not all the same.
  if ((first === 0) === bytes[start + 1]! < 0x80) throw new DerError('integer');
}

function checkBitString(bytes: Buffer, start: number, end: number): void {
  const unused = bytes[start];
  if (start === end || unused === undefined || unused > 7) throw new DerError('bit-string');
  if (unused === 0) return;
  // X.690, 11.2.1: unused bits are zero.
  if (end - start === 1 || (bytes[end - 1]! & ((1 << unused) - 1)) !== 0) {
    throw new DerError('bit-string');
  }
}

// Old certificates have `@`, `*` and `_` in PrintableStrings: seven bits are asked for, no more.
function checkText(bytes: Buffer, tag: number, start: number, end: number): void {
  const content = bytes.subarray(start, end);
  switch (tag) {
    case derTags.utf8String:
      if (!isUtf8(content)) throw new DerError('text');
      return;
    case derTags.numericString:
    case derTags.printableString:
    case derTags.ia5String:
    case derTags.visibleString:
      if (!isAscii(content)) throw new DerError('text');
      return;
    case derTags.teletexString:
    case derTags.generalString:
      return;
    case derTags.bmpString:
      if (content.length % 2 !== 0) throw new DerError('text');
      return;
    case derTags.universalString:
      if (content.length % 4 !== 0) throw new DerError('text');
      return;
    default:
      throw new DerError('tag');
  }
}
