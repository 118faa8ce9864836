import { type DerElement, derChildren, derTags } from '../../der/der.ts';
import type { LintRule, StructureView } from './lint-view.ts';

const serialBytesMax = 20;
const serialBytesMin = 8;
// 2.5.29.19, as its contents are encoded: an empty one says that this is no CA.
const basicConstraints = '551d13';
const constructed = 0x20;

/** Rules of the encoding, before anybody asks what it means. */
export const structureRules: readonly LintRule<StructureView>[] = [
  {
    name: 'version-is-3',
    source: 'RFC 5280, 4.1.2.1',
    broken: ({ version }) =>
      version?.content.equals(Buffer.from([derTags.integer, 1, 2])) === true
        ? undefined
        : 'The version is not 3, which extensions need.',
  },
  {
    name: 'serial-is-positive',
    source: 'RFC 5280, 4.1.2.2',
    broken: ({ serial }) =>
      serial.content[0]! >= 0x80 || serial.content.every((byte) => byte === 0)
        ? 'The serial number is not positive.'
        : undefined,
  },
  {
    name: 'serial-has-20-octets-at-most',
    source: 'RFC 5280, 4.1.2.2',
    broken: ({ serial }) =>
      serial.content.length > serialBytesMax ? 'The serial number is too long.' : undefined,
  },
  {
    name: 'serial-has-64-bits-at-least',
    source: 'CA/Browser Forum BR, 7.1.2.7',
    broken: ({ serial }) =>
      serial.content.length < serialBytesMin
        ? 'The serial number is too short to be random.'
        : undefined,
  },
  {
    name: 'times-have-their-form',
    source: 'RFC 5280, 4.1.2.5',
    broken: ({ times }) =>
      times.length === 2 && times.every(hasRightForm)
        ? undefined
        : 'A time before 2050 is not a UTCTime, or a later one not a GeneralizedTime.',
  },
  {
    name: 'no-unique-identifiers',
    source: 'RFC 5280, 4.1.2.8',
    broken: ({ hasUniqueIdentifiers }) =>
      hasUniqueIdentifiers ? 'There are unique identifiers, or parts nobody knows.' : undefined,
  },
  {
    name: 'extensions-are-there',
    source: 'RFC 5280, 4.1.2.9',
    broken: ({ extensions }) =>
      extensions === undefined || extensions.length === 0 ? 'There are no extensions.' : undefined,
  },
  {
    name: 'extensions-stand-once',
    source: 'RFC 5280, 4.2',
    broken: ({ extensions = [] }) =>
      new Set(extensions.map(({ oid }) => oid)).size < extensions.length
        ? 'An extension is there twice.'
        : undefined,
  },
  {
    name: 'no-empty-lists',
    source: 'RFC 5280, 4.2.1 (SIZE (1..MAX))',
    broken: ({ extensions = [] }) =>
      extensions.some(({ oid, value }) => oid !== basicConstraints && hasEmptyList(value))
        ? 'An extension has an empty list.'
        : undefined,
  },
];

function hasRightForm({ tag, content }: DerElement): boolean {
  if (tag === derTags.utcTime) return true;
  return tag === derTags.generalizedTime && Number(content.toString('latin1', 0, 4)) >= 2050;
}

function hasEmptyList(element: DerElement): boolean {
  if ((element.tag & constructed) === 0) return false;
  const children = derChildren(element);
  return children.length === 0 || children.some(hasEmptyList);
}
