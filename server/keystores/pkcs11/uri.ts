import type { ErrorCode } from '../../../api/error-codes.ts';
import { KeyreeveError } from '../../base/errors.ts';

/** The attributes that name a module, a slot, a token or an object (RFC 7512, 2.3 and table 1). */
const pathNames = [
  'library-manufacturer',
  'library-description',
  'library-version',
  'slot-manufacturer',
  'slot-description',
  'slot-id',
  'token',
  'manufacturer',
  'model',
  'serial',
  'object',
  'type',
  'id',
] as const;
type PathName = (typeof pathNames)[number];

/** The attributes that say how to get at it (RFC 7512, 2.3 and table 2). */
const queryNames = ['module-path', 'module-name', 'pin-source', 'pin-value'] as const;
type QueryName = (typeof queryNames)[number];

const objectTypes = ['public', 'private', 'cert', 'secret-key', 'data'] as const;
export type Pkcs11ObjectType = (typeof objectTypes)[number];

/** A PKCS #11 URI. Values are decoded; an attribute that is not there is undefined. */
export interface Pkcs11Uri {
  readonly path: { readonly [Name in Exclude<PathName, 'id' | 'type'>]?: string } & {
    readonly type?: Pkcs11ObjectType;
    /** CKA_ID: any bytes. */
    readonly id?: Buffer;
  };
  readonly query: { readonly [Name in QueryName]?: string };
  /** Attributes of vendors, in their order; those of the query may come several times. */
  readonly vendorPath: readonly VendorAttribute[];
  readonly vendorQuery: readonly VendorAttribute[];
}

export interface VendorAttribute {
  readonly name: string;
  readonly value: string;
}

const uriLengthMaximum = 8 * 1024;
const scheme = 'pkcs11:';
const vendorName = /^[A-Za-z0-9_-]+$/;
const percentEncoded = '%[0-9A-Fa-f]{2}';
// RFC 7512, 2.3: pk11-pchar and pk11-qchar.
const pathValue = new RegExp(`^(?:[A-Za-z0-9._~:[\\]@!$'()*+,=&-]|${percentEncoded})*$`);
const queryValue = new RegExp(`^(?:[A-Za-z0-9._~:[\\]@!$'()*+,=/?|-]|${percentEncoded})*$`);

/**
 * Reads a PKCS #11 URI by the grammar of RFC 7512, 2.3: nothing twice but vendors' query
 * attributes, nothing that would have to be encoded, text in UTF-8. Error: `code`.
 */
export function parsePkcs11Uri(text: string, code: ErrorCode = 'invalid-request'): Pkcs11Uri {
  const refuse = (why: string) =>
    new KeyreeveError(code, `The PKCS #11 URI is not valid. ${why}`, {
      hint: 'It looks like this: pkcs11:token=NAME?module-path=/path/module.so&pin-source=file:/path',
    });
  if (text.length > uriLengthMaximum) throw refuse('It is too long.');
  if (text.slice(0, scheme.length).toLowerCase() !== scheme) {
    throw refuse(`It does not begin with "${scheme}".`);
  }
  const rest = text.slice(scheme.length);
  const mark = rest.indexOf('?');
  const pathText = mark === -1 ? rest : rest.slice(0, mark);
  const queryText = mark === -1 ? '' : rest.slice(mark + 1);
  const path = readAttributes(pathText, ';', pathNames, pathValue, refuse);
  const query = readAttributes(queryText, '&', queryNames, queryValue, refuse);
  const seen = new Set<string>();
  for (const { name } of path.vendor) {
    if (seen.has(name)) throw refuse(`"${name}" is there twice.`);
    seen.add(name);
  }
  checkPath(path.known, refuse);
  const { id, ...texts } = path.known;
  return {
    path: {
      ...(decodeAll(texts, refuse) as Pkcs11Uri['path']),
      ...(id === undefined ? {} : { id: decodeBytes(id) }),
    },
    query: decodeAll(query.known, refuse) as Pkcs11Uri['query'],
    vendorPath: path.vendor.map((one) => ({ ...one, value: decodeText(one.value, refuse) })),
    vendorQuery: query.vendor.map((one) => ({ ...one, value: decodeText(one.value, refuse) })),
  };
}

/** Writes the one form that we use: attributes in the order of the tables, `id` all encoded. */
export function formatPkcs11Uri(
  uri: Pick<Pkcs11Uri, 'path'> & Partial<Omit<Pkcs11Uri, 'path'>>,
): string {
  const path: string[] = [];
  for (const name of pathNames) {
    const value = uri.path[name];
    if (value === undefined) continue;
    path.push(`${name}=${name === 'id' ? encodeBytes(value as Buffer) : encode(value as string)}`);
  }
  for (const { name, value } of uri.vendorPath ?? []) path.push(`${name}=${encode(value)}`);
  const query: string[] = [];
  for (const name of queryNames) {
    const value = uri.query?.[name];
    if (value !== undefined) query.push(`${name}=${encode(value, '/:=')}`);
  }
  for (const { name, value } of uri.vendorQuery ?? [])
    query.push(`${name}=${encode(value, '/:=')}`);
  return `${scheme}${path.join(';')}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}

type Refuse = (why: string) => KeyreeveError;

function readAttributes(
  text: string,
  separator: string,
  names: readonly string[],
  allowed: RegExp,
  refuse: Refuse,
): { known: Record<string, string>; vendor: VendorAttribute[] } {
  const known: Record<string, string> = {};
  const vendor: VendorAttribute[] = [];
  for (const part of text === '' ? [] : text.split(separator)) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0));
    const value = part.slice(equals + 1);
    // Values are not shown: a PIN may be among them.
    if (equals === -1 || !vendorName.test(name)) throw refuse('An attribute has no name.');
    if (!allowed.test(value)) {
      throw refuse(`The value of "${name}" has a character that must be percent-encoded.`);
    }
    if (!names.includes(name)) vendor.push({ name, value });
    else if (Object.hasOwn(known, name)) throw refuse(`"${name}" is there twice.`);
    else known[name] = value;
  }
  return { known, vendor };
}

function checkPath(path: Record<string, string>, refuse: Refuse): void {
  const { type } = path;
  if (type !== undefined && !(objectTypes as readonly string[]).includes(type)) {
    throw refuse(`"type" is one of: ${objectTypes.join(', ')}.`);
  }
  if (path['slot-id'] !== undefined && !/^[0-9]{1,20}$/.test(path['slot-id'])) {
    throw refuse('"slot-id" is a number.');
  }
  const version = path['library-version'];
  if (version !== undefined && !/^[0-9]{1,3}(?:\.[0-9]{1,3})?$/.test(version)) {
    throw refuse('"library-version" is a number, or two with a point between.');
  }
}

function decodeAll(values: Record<string, string>, refuse: Refuse): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, decodeText(value, refuse)]),
  );
}

function decodeText(value: string, refuse: Refuse): string {
  try {
    const text = decodeURIComponent(value);
    if (!text.includes('\0')) return text;
  } catch {
    // No UTF-8: said below.
  }
  throw refuse('A value is not text in UTF-8.');
}

function decodeBytes(value: string): Buffer {
  const hex = value.replaceAll(/%([0-9A-Fa-f]{2})|([^%])/g, (_all, encoded, plain) =>
    encoded === undefined ? plain.charCodeAt(0).toString(16).padStart(2, '0') : encoded,
  );
  return Buffer.from(hex, 'hex');
}

function encodeBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0').toUpperCase()}`).join(
    '',
  );
}

/** Everything but RFC 3986's unreserved characters, and those of `also`. */
function encode(text: string, also = ''): string {
  return Array.from(text, (character) =>
    /^[A-Za-z0-9._~-]$/.test(character) || (also !== '' && also.includes(character))
      ? character
      : encodeBytes(Buffer.from(character, 'utf8')),
  ).join('');
}
