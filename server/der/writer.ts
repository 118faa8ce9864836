import { longLengthBytes, writeHeader } from './header.ts';
import { derTags } from './tags.ts';
import { writeTime } from './time.ts';

const firstCapacityBytes = 2048;
const headerBytesMaximum = 6;
const timeBytesMaximum = 17;

/**
 * Writes DER from front to back into one growing buffer. The length of a constructed element is
 * written when its contents are there: one byte is kept free for it, and contents of 128 bytes and
 * more are moved once by the few bytes that are missing. So work and memory grow with the output
 * alone, and lists may be streams: a CRL moves its million entries twice, whole.
 */
export class DerWriter {
  #buffer: Buffer;
  #length = 0;

  constructor(capacityBytes = firstCapacityBytes) {
    this.#buffer = Buffer.allocUnsafe(capacityBytes);
  }

  /** Bytes that are DER already. */
  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A simple element with these contents. */
  element(tag: number, content: Uint8Array): this {
    this.#header(tag, content.length);
    return this.raw(content);
  }

  /** A simple element whose contents are a text of one byte for each character. */
  ascii(tag: number, text: string): this {
    this.#header(tag, text.length);
    this.#reserve(text.length);
    this.#length += this.#buffer.write(text, this.#length, 'latin1');
    return this;
  }

  utf8(tag: number, text: string): this {
    const length = Buffer.byteLength(text);
    this.#header(tag, length);
    this.#reserve(length);
    this.#length += this.#buffer.write(text, this.#length);
    return this;
  }

  /** A constructed element whose contents `body` writes. */
  constructed(tag: number, body: () => void): this {
    this.#reserve(headerBytesMaximum);
    const start = this.#length;
    const contentStart = start + 2;
    this.#length = contentStart;
    body();
    const length = this.#length - contentStart;
    const more = longLengthBytes(length);
    if (more > 0) {
      this.#reserve(more);
      this.#buffer.copyWithin(contentStart + more, contentStart, this.#length);
      this.#length += more;
    }
    writeHeader(this.#buffer, start, tag, length);
    return this;
  }

  /** The same, and nothing at all where `body` writes nothing. */
  constructedUnlessEmpty(tag: number, body: () => void): this {
    const start = this.#length;
    this.constructed(tag, body);
    if (this.#length === start + 2) this.#length = start;
    return this;
  }

  sequence(body: () => void): this {
    return this.constructed(derTags.sequence, body);
  }

  /** A SET OF: its members in the order of DER (X.690, 11.6). */
  setOf(members: readonly Buffer[]): this {
    const sorted = members.length < 2 ? members : [...members].sort(Buffer.compare);
    return this.constructed(derTags.set, () => {
      for (const member of sorted) this.raw(member);
    });
  }

  /** A non-negative INTEGER from bytes without leading zeros. */
  unsigned(bytes: Uint8Array): this {
    const isPadded = bytes.length === 0 || bytes[0]! >= 0x80;
    this.#header(derTags.integer, bytes.length + (isPadded ? 1 : 0));
    if (isPadded) {
      this.#reserve(1);
      this.#buffer[this.#length++] = 0;
    }
    return this.raw(bytes);
  }

  /** An INTEGER between 0 and 2^31 - 1. */
  smallNumber(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value);
    return this.unsigned(bytes.subarray(value === 0 ? 3 : Math.floor(Math.clz32(value) / 8)));
  }

  /** A BIT STRING of whole bytes. */
  bitString(bytes: Uint8Array): this {
    this.#header(derTags.bitString, bytes.length + 1);
    this.#reserve(1);
    this.#buffer[this.#length++] = 0;
    return this.raw(bytes);
  }

  /** UTCTime until 2049 and GeneralizedTime after, or always where it is asked for. */
  time(milliseconds: number, generalized = false): this {
    this.#reserve(timeBytesMaximum);
    this.#length = writeTime(this.#buffer, this.#length, milliseconds, generalized);
    return this;
  }

  /** What was written. Nothing is written after that. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #header(tag: number, length: number): void {
    this.#reserve(headerBytesMaximum);
    this.#length = writeHeader(this.#buffer, this.#length, tag, length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
