import { derTags, encodeDer } from '../der/der.ts';
import { attributeIdentifier, attributeRow } from './attributes.ts';
import { nameTextLengthMaximum } from './limits.ts';
import { nameNotAllowed } from './malformed.ts';
import type { DistinguishedName, NameAttribute } from './model.ts';
import { hexValuePattern } from './names.ts';
import { textOfElement } from './text.ts';

const hint = 'Write it like CN=www.example.org,O=Example,C=DE; a comma in a value is written \\,';
const identifierPattern = /^(?:OID\.)?([0-2](?:\.(?:0|[1-9][0-9]*))+)$/i;
const hiddenPattern = /[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}]/u;
const specialCharacters = '"+,;<>\\';
const escapablePattern = /[ "#+,;<=>\\/]/;

/**
 * Reads a distinguished name: RFC 4514, the most specific part first (`CN=x,O=y,C=DE`), or
 * `/C=DE/O=y/CN=x`, the most general part first. Attributes by short name or object identifier; `+`
 * joins the attributes of one part. Error: `subject-not-allowed`.
 */
export function parseName(text: string): DistinguishedName {
  if (text.length > nameTextLengthMaximum) {
    throw nameNotAllowed(`The name is longer than ${nameTextLengthMaximum} characters.`);
  }
  const trimmed = text.trim();
  if (trimmed === '') return [];
  const isSlashed = trimmed.startsWith('/');
  const scanner = new Scanner(isSlashed ? text.trimStart().slice(1) : text, isSlashed ? '/' : ',;');
  const name: NameAttribute[][] = [];
  do {
    const relative: NameAttribute[] = [];
    do relative.push(scanner.attribute());
    while (scanner.accept('+'));
    name.push(relative);
  } while (scanner.acceptSeparator());
  return isSlashed ? name : name.reverse();
}

/** The name after RFC 4514: the most specific part first, special characters escaped. */
export function formatName(name: DistinguishedName): string {
  return name
    .map((relative) => relative.map(formatAttribute).join('+'))
    .reverse()
    .join(',');
}

function formatAttribute({ type, value }: NameAttribute): string {
  const row = attributeRow(type);
  if (row === undefined && hexValuePattern.test(value)) return `${type}=${value}`;
  return `${row?.short ?? type}=${escapeValue(value)}`;
}

// RFC 4514, section 2.4. Control characters, and those that turn the order of others round, are
// written as the hexadecimal of their UTF-8.
function escapeValue(value: string): string {
  let escaped = '';
  for (let index = 0; index < value.length; index++) {
    const character = value[index]!;
    const isOuterSpace = character === ' ' && (index === 0 || index === value.length - 1);
    if (
      specialCharacters.includes(character) ||
      isOuterSpace ||
      (index === 0 && character === '#')
    ) {
      escaped += `\\${character}`;
    } else if (hiddenPattern.test(character)) {
      for (const byte of Buffer.from(character)) escaped += `\\${hexByte(byte)}`;
    } else {
      escaped += character;
    }
  }
  return escaped;
}

function hexByte(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

/** Walks over the text of a name. */
class Scanner {
  readonly #text: string;
  readonly #separators: string;
  #index = 0;

  constructor(text: string, separators: string) {
    this.#text = text;
    this.#separators = separators;
  }

  accept(character: string): boolean {
    if (this.#text[this.#index] !== character) return false;
    this.#index++;
    return true;
  }

  acceptSeparator(): boolean {
    if (this.#index === this.#text.length) return false;
    this.#index++;
    return true;
  }

  attribute(): NameAttribute {
    const equals = this.#text.indexOf('=', this.#index);
    if (equals === -1) throw nameNotAllowed('A part of the name has no "=".', hint);
    const written = this.#text.slice(this.#index, equals).trim();
    const type = attributeIdentifier(written) ?? identifierPattern.exec(written)?.[1];
    if (type === undefined) {
      throw nameNotAllowed(`The name has an attribute that is not known: ${quote(written)}.`, hint);
    }
    this.#index = equals + 1;
    return { type, value: this.#value(type, written) };
  }

  #value(type: string, written: string): string {
    this.#skipSpaces();
    const isHex = this.#text[this.#index] === '#';
    const value = isHex ? this.#hexValue(type) : this.#textValue();
    if (value === '') throw nameNotAllowed(`${quote(written)} in the name is empty.`, hint);
    return value;
  }

  /** `#` and the DER of the value (RFC 4514, section 2.4). */
  #hexValue(type: string): string {
    const start = this.#index;
    while (this.#index < this.#text.length && !this.#endsValue()) this.#index++;
    const written = this.#text.slice(start, this.#index).trim().toLowerCase();
    if (!hexValuePattern.test(written)) {
      throw nameNotAllowed('A value of the name begins with "#" and is not hexadecimal.', hint);
    }
    const encoded = Buffer.from(written.slice(1), 'hex');
    const text = textOfElement(encoded);
    if (attributeRow(type) === undefined) {
      const isPlain = text !== undefined && encoded.equals(utf8Element(text));
      return isPlain && !text.startsWith('#') ? text : written;
    }
    if (text === undefined) throw nameNotAllowed('A value of the name is no text.', hint);
    return text;
  }

  #textValue(): string {
    const bytes: Buffer[] = [];
    let length = 0;
    let pending = 0;
    while (this.#index < this.#text.length && !this.#endsValue()) {
      const isEscaped = this.#text[this.#index] === '\\';
      const piece = isEscaped ? this.#escaped() : this.#plain();
      bytes.push(piece);
      // Spaces at the end count where they are escaped only.
      pending = !isEscaped && piece.length === 1 && piece[0] === 0x20 ? pending + 1 : 0;
      length = bytes.length - pending;
    }
    const text = Buffer.concat(bytes.slice(0, length)).toString('utf8');
    if (text.includes('\ufffd')) throw nameNotAllowed('The name is not well-formed Unicode.');
    return text;
  }

  #plain(): Buffer {
    const character = String.fromCodePoint(this.#text.codePointAt(this.#index)!);
    if (this.#separators !== '/' && '"<>'.includes(character)) {
      throw nameNotAllowed(`The name has a ${character} without \\ before it.`, hint);
    }
    this.#index += character.length;
    return Buffer.from(character);
  }

  #escaped(): Buffer {
    const next = this.#text[this.#index + 1] ?? '';
    if (next !== '' && escapablePattern.test(next)) {
      this.#index += 2;
      return Buffer.from(next);
    }
    const pair = this.#text.slice(this.#index + 1, this.#index + 3);
    if (!/^[0-9A-Fa-f]{2}$/.test(pair)) {
      throw nameNotAllowed('The name has a \\ before a character that needs none.', hint);
    }
    this.#index += 3;
    return Buffer.from(pair, 'hex');
  }

  #endsValue(): boolean {
    const character = this.#text[this.#index]!;
    return character === '+' || this.#separators.includes(character);
  }

  #skipSpaces(): void {
    while (this.#text[this.#index] === ' ') this.#index++;
  }
}

function utf8Element(text: string): Buffer {
  return encodeDer(derTags.utf8String, Buffer.from(text));
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 40));
}
