import { DerError, DerReader, derTags } from '../der/der.ts';

const surrogates = { first: 0xd800, last: 0xdfff } as const;

/**
 * The text of the checked contents of a string type; undefined for any other type. Teletex strings are
 * read as Latin-1, which is what is in them everywhere.
 */
export function readText(tag: number, content: Buffer): string | undefined {
  switch (tag) {
    case derTags.utf8String:
      return content.toString('utf8');
    case derTags.printableString:
    case derTags.ia5String:
    case derTags.numericString:
    case derTags.teletexString:
      return content.toString('latin1');
    case derTags.bmpString:
      return fromUnits(content, 2);
    case derTags.universalString:
      return fromUnits(content, 4);
    default:
      return undefined;
  }
}

/** The text of one element as DER; undefined where it is none of a string type, or no DER. */
export function textOfElement(encoded: Buffer): string | undefined {
  try {
    const { tag, content } = DerReader.over(encoded, { bytesMaximum: encoded.length }).any();
    return readText(tag, content);
  } catch {
    return undefined;
  }
}

// X.690, 8.23.5: two or four bytes for each character; a BMPString has no surrogates.
function fromUnits(content: Buffer, unitBytes: 2 | 4): string {
  let text = '';
  for (let offset = 0; offset < content.length; offset += unitBytes) {
    const unit = content.readUIntBE(offset, unitBytes);
    if (unit > 0x10_ffff || (unit >= surrogates.first && unit <= surrogates.last)) {
      throw new DerError('text');
    }
    text += String.fromCodePoint(unit);
  }
  return text;
}
