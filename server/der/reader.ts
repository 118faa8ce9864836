import { DerError } from './der-error.ts';
import { bigintFromBytes } from './elements.ts';
import { HeaderCursor } from './header.ts';
import { objectIdentifierText } from './object-identifier.ts';
import { derTags } from './tags.ts';
import { readTime } from './time.ts';
import { checkDer, derDepthMaximum } from './verify.ts';

export interface DerLimits {
  readonly bytesMaximum: number;
  readonly depthMaximum?: number;
}

/**
 * Reads one element after another out of a buffer, without copying: what it returns as Buffer is a
 * part of the input. Each method steps over one element and refuses any other than the one asked
 * for. Error: DerError.
 */
export class DerReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  readonly #cursor = new HeaderCursor();
  #offset: number;

  private constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#offset = start;
    this.#end = end;
  }

  /** A reader of bytes from outside: first all of them are held to DER and to the limits. */
  static over(bytes: Buffer, { bytesMaximum, depthMaximum }: DerLimits): DerReader {
    if (bytes.length > bytesMaximum) throw new DerError('too-large');
    checkDer(bytes, 0, bytes.length, depthMaximum ?? derDepthMaximum);
    return new DerReader(bytes, 0, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#end;
  }

  /** Whether the next element has this tag. */
  nextIs(tag: number): boolean {
    return this.#offset < this.#end && this.#bytes[this.#offset] === tag;
  }

  /** The tag of the next element. */
  get nextTag(): number {
    if (this.isAtEnd) throw new DerError('structure');
    return this.#bytes[this.#offset]!;
  }

  /** A reader of what is inside the next element, which is constructed and has this tag. */
  enter(tag: number): DerReader {
    const { contentStart, end } = this.#step(tag);
    return new DerReader(this.#bytes, contentStart, end);
  }

  sequence(): DerReader {
    return this.enter(derTags.sequence);
  }

  /** The same for an element that may be left out. */
  enterOptional(tag: number): DerReader | undefined {
    return this.nextIs(tag) ? this.enter(tag) : undefined;
  }

  /** The next element whole, header and contents, whatever it is or with this tag. */
  element(tag?: number): Buffer {
    const { start, end } = this.#step(tag);
    return this.#bytes.subarray(start, end);
  }

  /** The next element whole, and a reader of what is inside. */
  capture(tag: number): { readonly encoded: Buffer; readonly inside: DerReader } {
    const { start, contentStart, end } = this.#step(tag);
    return {
      encoded: this.#bytes.subarray(start, end),
      inside: new DerReader(this.#bytes, contentStart, end),
    };
  }

  /** The next element, whatever it is: its tag, the whole of it, its contents. */
  any(): { readonly tag: number; readonly encoded: Buffer; readonly content: Buffer } {
    const { tag, start, contentStart, end } = this.#step(undefined);
    const encoded = this.#bytes.subarray(start, end);
    return { tag, encoded, content: encoded.subarray(contentStart - start) };
  }

  /** The contents of the next element: of an OCTET STRING, or of a type that the caller knows. */
  content(tag: number): Buffer {
    const { contentStart, end } = this.#step(tag);
    return this.#bytes.subarray(contentStart, end);
  }

  boolean(): boolean {
    return this.#bytes[this.#step(derTags.boolean).contentStart] === 0xff;
  }

  null(): void {
    this.#step(derTags.null);
  }

  objectIdentifier(): string {
    const { contentStart, end } = this.#step(derTags.objectIdentifier);
    return objectIdentifierText(this.#bytes, contentStart, end);
  }

  /** A non-negative INTEGER as bytes without leading zeros; zero is one zero byte. */
  unsignedBytes(): Buffer {
    const { contentStart, end } = this.#step(derTags.integer);
    const first = this.#bytes[contentStart]!;
    if (first >= 0x80) throw new DerError('value', 'an INTEGER is negative');
    const isPadded = first === 0 && end - contentStart > 1;
    return this.#bytes.subarray(isPadded ? contentStart + 1 : contentStart, end);
  }

  /** A non-negative INTEGER of so many bytes at most. */
  unsigned(bytesMaximum: number): bigint {
    const bytes = this.unsignedBytes();
    if (bytes.length > bytesMaximum) throw new DerError('value', 'an INTEGER is too large');
    return bigintFromBytes(bytes);
  }

  /** An INTEGER or ENUMERATED between 0 and 2^31 - 1; `tag` for implicit tagging. */
  smallNumber(tag: number = derTags.integer): number {
    const { contentStart, end } = this.#step(tag);
    const length = end - contentStart;
    if (length < 1 || length > 4 || this.#bytes[contentStart]! >= 0x80) {
      throw new DerError('value', 'a number is negative or too large');
    }
    return this.#bytes.readUIntBE(contentStart, length);
  }

  /** A BIT STRING of whole bytes. */
  bitStringBytes(): Buffer {
    const { contentStart, end } = this.#step(derTags.bitString);
    if (this.#bytes[contentStart] !== 0) throw new DerError('bit-string');
    return this.#bytes.subarray(contentStart + 1, end);
  }

  /** The numbers of the bits that are set in a named bit list (X.690, 11.2.2: no zeros behind). */
  namedBits(): number[] {
    const { contentStart, end } = this.#step(derTags.bitString);
    const bits: number[] = [];
    for (let offset = contentStart + 1; offset < end; offset++) {
      for (let bit = 0; bit < 8; bit++) {
        if ((this.#bytes[offset]! & (0x80 >> bit)) === 0) continue;
        bits.push((offset - contentStart - 1) * 8 + bit);
      }
    }
    const length = (end - contentStart - 1) * 8 - this.#bytes[contentStart]!;
    if ((bits.at(-1) ?? -1) !== length - 1) throw new DerError('bit-string');
    return bits;
  }

  /** A UTCTime or GeneralizedTime in milliseconds since 1970. */
  time(tag = this.nextTag): number {
    if (tag !== derTags.utcTime && tag !== derTags.generalizedTime) {
      throw new DerError('structure');
    }
    const { contentStart, end } = this.#step(tag);
    return readTime(tag, this.#bytes, contentStart, end);
  }

  /** Refuses anything that is still there. */
  finish(): void {
    if (!this.isAtEnd) throw new DerError('structure');
  }

  #step(tag: number | undefined): HeaderCursor {
    if (this.isAtEnd) throw new DerError('structure');
    const cursor = this.#cursor;
    cursor.advance(this.#bytes, this.#offset, this.#end);
    if (tag !== undefined && cursor.tag !== tag) throw new DerError('structure');
    this.#offset = cursor.end;
    return cursor;
  }
}
