import {
  checkDer,
  DerError,
  DerReader,
  DerWriter,
  derTags,
  encodeDer,
  encodeObjectIdentifier,
} from '../der/der.ts';
import { type AttributeRow, attributeRow } from './attributes.ts';
import { nameBytesMaximum } from './limits.ts';
import { nameNotAllowed, reading } from './malformed.ts';
import type { DistinguishedName, NameAttribute } from './model.ts';
import { readText, textOfElement } from './text.ts';

/**
 * A value of an attribute that is not in the table and is no plain text: its DER, as RFC 4514,
 * section 2.4 writes it.
 */
export const hexValuePattern = /^#(?:[0-9a-f]{2})+$/;

const printablePattern = /^[A-Za-z0-9 '()+,\-./:=?]*$/;
const ia5Pattern = /^[\x20-\x7e]*$/;
// RFC 5280, section 4.1.2.4 allows them in UTF8Strings; terminals obey them.
const controlPattern = /[\p{Cc}\p{Cs}\u2028\u2029]/u;

/** What names hold beside text (x500UniqueIdentifier; postalAddress); OpenSSL takes no more. */
const otherValueTags: readonly number[] = [derTags.bitString, derTags.sequence];

/**
 * A distinguished name as DER (RFC 5280, section 4.1.2.4): PrintableString for C and serialNumber,
 * IA5String for DC and emailAddress, UTF8String for the rest. Error: `subject-not-allowed` for
 * values that are empty, too long (RFC 5280, A.1), or have characters that their type has not.
 */
export function encodeName(name: DistinguishedName): Buffer {
  const writer = new DerWriter(256);
  writer.sequence(() => {
    for (const relative of name) {
      checkRelative(relative);
      writer.setOf(relative.map(encodeAttribute));
    }
  });
  const encoded = writer.finish();
  if (encoded.length <= nameBytesMaximum) return encoded;
  throw nameNotAllowed(`The name is longer than ${nameBytesMaximum} bytes.`);
}

/** Reads a distinguished name that fills the buffer. Error: `certificate-malformed`. */
export function decodeName(der: Buffer): DistinguishedName {
  return reading('name', () =>
    readName(DerReader.over(der, { bytesMaximum: nameBytesMaximum }).sequence()),
  );
}

/** Reads what is inside a Name that was entered. Error: DerError. */
export function readName(reader: DerReader): DistinguishedName {
  const name: NameAttribute[][] = [];
  while (!reader.isAtEnd) {
    const members = reader.enter(derTags.set);
    const relative: NameAttribute[] = [];
    do relative.push(readAttribute(members.sequence()));
    while (!members.isAtEnd);
    name.push(relative);
  }
  return name;
}

function readAttribute(reader: DerReader): NameAttribute {
  const type = reader.objectIdentifier();
  const { tag, encoded, content } = reader.any();
  reader.finish();
  const row = attributeRow(type);
  const text = readText(tag, content);
  if (row !== undefined) {
    if (text === undefined) throw new DerError('text', `${row.short} in it is no text`);
    return { type, value: text };
  }
  if (text === undefined && !otherValueTags.includes(tag)) throw new DerError('text');
  const isPlain = text !== undefined && !text.startsWith('#');
  return { type, value: isPlain ? text : `#${encoded.toString('hex')}` };
}

// X.501, 9.3: a part has one attribute or several of different types.
function checkRelative(relative: DistinguishedName[number]): void {
  if (relative.length === 1) return;
  const types = new Set(relative.map(({ type }) => type));
  if (relative.length === 0) throw nameNotAllowed('A part of the name has no attribute.');
  if (types.size < relative.length) {
    throw nameNotAllowed('A part of the name has the same attribute twice.');
  }
}

function encodeAttribute({ type, value }: NameAttribute): Buffer {
  const row = attributeRow(type);
  return row === undefined
    ? encodeDer(derTags.sequence, encodeType(type), encodeOther(type, value))
    : encodeDer(derTags.sequence, row.encodedType, encodeKnown(row, value));
}

function encodeType(type: string): Buffer {
  try {
    return encodeDer(derTags.objectIdentifier, encodeObjectIdentifier(type));
  } catch (error) {
    if (!(error instanceof DerError)) throw error;
    throw nameNotAllowed(`${type} is no object identifier.`);
  }
}

function encodeKnown({ short, form, lengthMaximum }: AttributeRow, value: string): Buffer {
  checkValue(short, value, lengthMaximum);
  if (form === 'utf8') return encodeDer(derTags.utf8String, Buffer.from(value));
  const pattern = form === 'printable' ? printablePattern : ia5Pattern;
  if (!pattern.test(value)) {
    throw nameNotAllowed(`${short} in the name has a character that is not allowed there.`);
  }
  if (short === 'C' && !/^[A-Z]{2}$/.test(value)) {
    throw nameNotAllowed('C in the name has to be the two capital letters of a country.');
  }
  const tag = form === 'printable' ? derTags.printableString : derTags.ia5String;
  return encodeDer(tag, Buffer.from(value, 'latin1'));
}

function encodeOther(type: string, value: string): Buffer {
  if (!hexValuePattern.test(value)) {
    checkValue(type, value, nameBytesMaximum);
    return encodeDer(derTags.utf8String, Buffer.from(value));
  }
  const encoded = Buffer.from(value.slice(1), 'hex');
  if (textOfElement(encoded) === undefined && !isOtherValue(encoded)) {
    throw nameNotAllowed(`The value of ${type} in the name is not the DER of a text.`);
  }
  return encoded;
}

function isOtherValue(encoded: Buffer): boolean {
  try {
    checkDer(encoded);
    return otherValueTags.includes(encoded[0]!);
  } catch {
    return false;
  }
}

function checkValue(title: string, value: string, lengthMaximum: number): void {
  if (value === '') throw nameNotAllowed(`${title} in the name is empty.`);
  // Several code units can make one character: code points are what the bounds count.
  if (value.length > lengthMaximum && [...value].length > lengthMaximum) {
    throw nameNotAllowed(`${title} in the name is longer than ${lengthMaximum} characters.`);
  }
  if (controlPattern.test(value)) {
    throw nameNotAllowed(`${title} in the name has a control character.`);
  }
}
