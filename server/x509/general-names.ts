import { checkDer, DerError, type DerReader, DerWriter, derTags, encodeDer } from '../der/der.ts';
import { addressBytes, addressText, networkBytes, networkText } from './addresses.ts';
import { generalNamesMaximum } from './limits.ts';
import { nameNotAllowed } from './malformed.ts';
import type { GeneralName } from './model.ts';
import { formatName, parseName } from './name-text.ts';
import { encodeName, readName } from './names.ts';

/** Where a name stands: as one name, or as a constraint on names, which has networks. */
export type Place = 'name' | 'constraint';

/** The tags of GeneralName (RFC 5280, section 4.2.1.6). */
const tags = {
  email: derTags.context(1),
  dns: derTags.context(2),
  dn: derTags.contextConstructed(4),
  uri: derTags.context(6),
  ip: derTags.context(7),
} as const;

const otherTags: readonly number[] = [
  derTags.contextConstructed(0),
  derTags.contextConstructed(3),
  derTags.contextConstructed(5),
];
const registeredIdentifier = derTags.context(8);

/** GeneralNames as DER. Error: `subject-not-allowed` where a value is not of its kind. */
export function encodeGeneralNames(names: readonly GeneralName[]): Buffer {
  const writer = new DerWriter(256);
  writer.sequence(() => {
    for (const name of names) writer.raw(encodeGeneralName(name));
  });
  return writer.finish();
}

/** One GeneralName as DER. */
export function encodeGeneralName({ kind, value }: GeneralName, place: Place = 'name'): Buffer {
  switch (kind) {
    case 'dns':
    case 'email':
    case 'uri':
      if (!/^[\x20-\x7e]*$/.test(value) || (value === '' && place === 'name')) {
        throw nameNotAllowed(`A name of the kind ${kind} is empty or not in ASCII.`);
      }
      return encodeDer(tags[kind], Buffer.from(value, 'latin1'));
    case 'ip': {
      const bytes = place === 'name' ? addressBytes(value) : networkBytes(value);
      if (bytes === undefined) throw nameNotAllowed(`${JSON.stringify(value)} is not an address.`);
      return encodeDer(tags.ip, bytes);
    }
    case 'dn':
      // A CHOICE is tagged explicitly (X.680, 31.2.7).
      return encodeDer(tags.dn, encodeName(parseName(value)));
    case 'other':
      return encodeOther(value);
  }
}

/** Reads what is inside GeneralNames that were entered: at least one. Error: DerError. */
export function readGeneralNames(reader: DerReader): GeneralName[] {
  const names: GeneralName[] = [];
  do {
    if (names.length === generalNamesMaximum)
      throw new DerError('too-large', 'it has too many names');
    names.push(readGeneralName(reader));
  } while (!reader.isAtEnd);
  return names;
}

export function readGeneralName(reader: DerReader, place: Place = 'name'): GeneralName {
  const tag = reader.nextTag;
  switch (tag) {
    case tags.dns:
      return { kind: 'dns', value: asciiOf(reader, tag).toLowerCase() };
    case tags.email:
      return { kind: 'email', value: asciiOf(reader, tag) };
    case tags.uri:
      return { kind: 'uri', value: asciiOf(reader, tag) };
    case tags.dn:
      return { kind: 'dn', value: readDirectoryName(reader) };
    case tags.ip:
      return readAddress(reader, place);
    default:
      if (!otherTags.includes(tag) && tag !== registeredIdentifier) throw new DerError('structure');
      return { kind: 'other', value: reader.element().toString('hex') };
  }
}

function readDirectoryName(reader: DerReader): string {
  const inner = reader.enter(tags.dn);
  const name = readName(inner.sequence());
  inner.finish();
  return formatName(name);
}

// A mask that is no prefix is legal and can only be kept as it is.
function readAddress(reader: DerReader, place: Place): GeneralName {
  const bytes = reader.content(tags.ip);
  const text = place === 'name' ? addressText(bytes) : networkText(bytes);
  if (text !== undefined) return { kind: 'ip', value: text };
  if (place === 'constraint' && (bytes.length === 8 || bytes.length === 32)) {
    return { kind: 'other', value: encodeDer(tags.ip, bytes).toString('hex') };
  }
  throw new DerError('value', 'an IP address has the wrong length');
}

// IA5String: seven bits. Control characters would hide in what people read.
function asciiOf(reader: DerReader, tag: number): string {
  const text = reader.content(tag).toString('latin1');
  if (!/^[\x20-\x7e]*$/.test(text)) throw new DerError('text');
  return text;
}

function encodeOther(value: string): Buffer {
  const encoded = Buffer.from(value, 'hex');
  try {
    if (encoded.toString('hex') !== value) throw new DerError('value');
    checkDer(encoded);
  } catch {
    throw nameNotAllowed('A name of another kind is not DER in hexadecimal.');
  }
  return encoded;
}
