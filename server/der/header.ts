import { DerError } from './der-error.ts';
import { tagBits } from './tags.ts';

/** Lengths up to 4 GiB: more than any buffer here holds. */
const lengthBytesMaximum = 4;

/**
 * A place in a buffer. `advance` steps over one element and leaves in the fields where it begins,
 * where its contents begin and where it ends, so that reading a million of them makes no objects.
 */
export class HeaderCursor {
  tag = 0;
  start = 0;
  contentStart = 0;
  end = 0;

  /**
   * Steps over the element at `offset`, which has to end at `limit` or before. Tags of one byte and
   * definite, minimal lengths only (X.690, 10.1 and 8.1.2.4).
   */
  advance(bytes: Buffer, offset: number, limit: number): void {
    if (offset + 2 > limit) throw new DerError('truncated');
    const tag = bytes[offset]!;
    if ((tag & tagBits.numberMask) === tagBits.numberMask) throw new DerError('tag');
    let length = bytes[offset + 1]!;
    let contentStart = offset + 2;
    if (length >= 0x80) {
      const count = length & 0x7f;
      if (count === 0 || count > lengthBytesMaximum) throw new DerError('length-form');
      if (contentStart + count > limit) throw new DerError('truncated');
      length = bytes.readUIntBE(contentStart, count);
      if (length < 0x80 || length < 2 ** (8 * (count - 1)))
        throw new DerError('length-not-minimal');
      contentStart += count;
    }
    if (contentStart + length > limit) throw new DerError('truncated');
    this.tag = tag;
    this.start = offset;
    this.contentStart = contentStart;
    this.end = contentStart + length;
  }
}

/** How many bytes the length of so many bytes takes behind the first one: none below 128. */
export function longLengthBytes(length: number): number {
  if (length < 0x80) return 0;
  if (length <= 0xff) return 1;
  if (length <= 0xffff) return 2;
  return length <= 0xff_ffff ? 3 : 4;
}

/** Writes tag and minimal length; returns the offset behind them. */
export function writeHeader(target: Buffer, offset: number, tag: number, length: number): number {
  const count = longLengthBytes(length);
  target[offset] = tag;
  if (count === 0) {
    target[offset + 1] = length;
    return offset + 2;
  }
  target[offset + 1] = 0x80 | count;
  return target.writeUIntBE(length, offset + 2, count);
}
