import { subjectAttributes } from '../../api/profiles.ts';
import { derTags, encodeDer, encodeObjectIdentifier } from '../der/der.ts';

/** An attribute of a name: what it is called, how its value is written, how long it may be. */
export interface AttributeRow {
  readonly short: string;
  /** Its identifier as DER. */
  readonly encodedType: Buffer;
  readonly form: 'utf8' | 'printable' | 'ia5';
  /** Upper bound in characters (RFC 5280, appendix A.1). */
  readonly lengthMaximum: number;
}

/** RFC 5280, A.1 sets no bound for some; this one keeps names readable. */
const otherLengthMaximum = 1024;

const rows = {
  CN: ['utf8', 64],
  SN: ['utf8', 32_768],
  serialNumber: ['printable', 64],
  C: ['printable', 2],
  L: ['utf8', 128],
  ST: ['utf8', 128],
  street: ['utf8', 128],
  O: ['utf8', 64],
  OU: ['utf8', 64],
  title: ['utf8', 64],
  GN: ['utf8', 32_768],
  organizationIdentifier: ['utf8', otherLengthMaximum],
  UID: ['utf8', 256],
  DC: ['ia5', 63],
  emailAddress: ['ia5', 255],
} as const satisfies Record<
  keyof typeof subjectAttributes,
  readonly [AttributeRow['form'], number]
>;

/** Further names by which people and programs write them; compared in lower case. */
const aliases = {
  commonname: 'CN',
  surname: 'SN',
  countryname: 'C',
  localityname: 'L',
  stateorprovincename: 'ST',
  s: 'ST',
  streetaddress: 'street',
  organizationname: 'O',
  organizationalunitname: 'OU',
  givenname: 'GN',
  g: 'GN',
  userid: 'UID',
  domaincomponent: 'DC',
  e: 'emailAddress',
  email: 'emailAddress',
} as const satisfies Record<string, keyof typeof subjectAttributes>;

const rowsByIdentifier = new Map<string, AttributeRow>();
const identifiersByName = new Map<string, string>();
for (const [name, identifier] of Object.entries(subjectAttributes)) {
  const [form, lengthMaximum] = rows[name as keyof typeof rows];
  const encodedType = encodeDer(derTags.objectIdentifier, encodeObjectIdentifier(identifier));
  rowsByIdentifier.set(identifier, { short: name, encodedType, form, lengthMaximum });
  identifiersByName.set(name.toLowerCase(), identifier);
}
for (const [alias, name] of Object.entries(aliases)) {
  identifiersByName.set(alias, subjectAttributes[name]);
}

/** What is known of an attribute, by its object identifier. */
export function attributeRow(identifier: string): AttributeRow | undefined {
  return rowsByIdentifier.get(identifier);
}

/** The object identifier of an attribute by its name, in upper or lower case. */
export function attributeIdentifier(name: string): string | undefined {
  return identifiersByName.get(name.toLowerCase());
}
