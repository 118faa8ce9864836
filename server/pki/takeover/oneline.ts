import { subjectAttributes } from '../../../api/profiles.ts';
import { type DistinguishedName, formatName, parseName } from '../../x509/x509.ts';

/**
 * Subjects as `openssl ca` writes them into its index (X509_NAME_oneline): `/C=DE/O=Example/CN=x`, the
 * bytes of the values as they are in the certificate, and those outside printable ASCII as `\xHH`.
 * Newer versions put a backslash before a slash in a value, older ones nothing; neither do so before
 * a backslash. So the text cannot be taken apart for certain: a certificate is held against it.
 */

/** The bytes behind the text, slashes as they are; undefined where it is not of that form. */
export function onelineBytes(text: string): Buffer | undefined {
  if (text !== '' && !text.startsWith('/')) return undefined;
  // openssl has put everything else into escapes.
  if (!/^[ -~]*$/.test(text)) return undefined;
  const pieces: Buffer[] = [];
  let from = 0;
  for (const found of text.matchAll(/\\x([0-9A-Fa-f]{2})/g)) {
    pieces.push(Buffer.from(text.slice(from, found.index), 'latin1'));
    pieces.push(Buffer.from(found[1]!, 'hex'));
    from = found.index + found[0].length;
  }
  pieces.push(Buffer.from(text.slice(from), 'latin1'));
  return Buffer.concat(pieces);
}

/** The subject for people, where no certificate is known: RFC 4514 if it can be read as a name. */
export function onelineText(oneline: Buffer): string {
  const text = decoded(oneline);
  try {
    return formatName(parseName(text));
  } catch {
    return text;
  }
}

/** A name in the same form, in the letters that it has. */
export function onelineOf(name: DistinguishedName): Buffer {
  const parts = name.flat().map(({ type, value }) => `/${labels.get(type) ?? type}=${value}`);
  return Buffer.from(parts.join(''), 'utf8');
}

/** Whether the line can be the one that openssl writes for this name. */
export function onelineMatches(oneline: Buffer, name: DistinguishedName): boolean {
  let rest = oneline;
  for (const [index, attribute] of name.flat().entries()) {
    const equals = rest.indexOf('=');
    const separator = rest.subarray(0, 1).toString('latin1');
    if (equals === -1 || (separator !== '/' && (index === 0 || separator !== '+'))) return false;
    const label = rest.subarray(1, equals).toString('latin1');
    const expected = labels.get(attribute.type);
    // Of other attributes openssl may know a short name: their values are compared alone.
    if (expected !== undefined && label !== expected) return false;
    rest = rest.subarray(equals + 1);
    const value = encodings(attribute.value).find((bytes) => startsWith(rest, bytes));
    if (value === undefined) return false;
    rest = rest.subarray(value.length);
  }
  return rest.length === 0;
}

/** The short names of ours are those of openssl. */
const labels: ReadonlyMap<string, string> = new Map(
  Object.entries(subjectAttributes).map(([label, type]) => [type, label]),
);

/**
 * The bytes that a value may have: ASCII and UTF8String, T61String, BMPString; each as it is, and with
 * the escapes of newer versions.
 */
function encodings(value: string): Buffer[] {
  const found = [Buffer.from(value, 'utf16le').swap16(), Buffer.from(value, 'utf8')];
  // Beyond Latin-1, letters would lose their upper half.
  if (/^[\0-\xff]*$/.test(value)) found.push(Buffer.from(value, 'latin1'));
  return found.flatMap((bytes) => [escaped(bytes), bytes]);
}

function escaped(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1').replaceAll(/[/+]/g, '\\$&');
  return Buffer.from(text, 'latin1');
}

function startsWith(bytes: Buffer, start: Buffer): boolean {
  return bytes.length >= start.length && bytes.subarray(0, start.length).equals(start);
}

function decoded(oneline: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(oneline);
  } catch {
    return oneline.toString('latin1');
  }
}
