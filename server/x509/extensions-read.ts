import { keyUsages } from '../../api/profiles.ts';
import { DerError, DerReader, derTags } from '../der/der.ts';
import { accessMethods, extensionIdentifiers as identifiers } from './extension-identifiers.ts';
import { readGeneralName, readGeneralNames } from './general-names.ts';
import { extensionBytesMaximum, extensionsMaximum } from './limits.ts';
import { reading } from './malformed.ts';
import type { Extensions, GeneralName, RawExtension } from './model.ts';

type Mutable<Type> = { -readonly [Member in keyof Type]: Type[Member] };
type Decoder = (reader: DerReader, into: Mutable<Extensions>, raw: RawExtension) => void;

const { context, contextConstructed } = derTags;

/** How each extension that is understood is read; a reader stands before its one element. */
const decoders = new Map<string, Decoder>([
  [identifiers.basicConstraints, readBasicConstraints],
  [identifiers.keyUsage, readKeyUsage],
  [identifiers.extendedKeyUsage, readExtendedKeyUsage],
  [identifiers.subjectAltNames, readSubjectAltNames],
  [identifiers.subjectKeyId, readSubjectKeyId],
  [identifiers.authorityKeyId, readAuthorityKeyId],
  [identifiers.nameConstraints, readNameConstraints],
  [identifiers.crlDistributionPoints, readDistributionPoints],
  [identifiers.authorityInfoAccess, readAuthorityInfoAccess],
  [identifiers.certificatePolicies, readPolicies],
  [identifiers.ocspNoCheck, readNoCheck],
]);

/** What the extensions say, as far as they are understood. Error: `certificate-malformed`. */
export function decodeExtensions(raw: readonly RawExtension[]): Extensions {
  return reading('extensions', () => understandExtensions(raw));
}

/** The same. Error: DerError. */
export function understandExtensions(raw: readonly RawExtension[]): Extensions {
  const extensions: Mutable<Extensions> = {};
  for (const extension of raw) {
    const decode = decoders.get(extension.oid);
    if (decode === undefined) continue;
    decode(readerOf(extension), extensions, extension);
  }
  return extensions;
}

/** A reader of the contents of an extension. */
export function readerOf({ value }: RawExtension): DerReader {
  return DerReader.over(value, { bytesMaximum: extensionBytesMaximum });
}

/** Reads what is inside Extensions that were entered: at least one, none twice. Error: DerError. */
export function readExtensions(reader: DerReader): RawExtension[] {
  const extensions: RawExtension[] = [];
  do {
    const extension = readExtension(reader.sequence());
    if (extensions.some(({ oid }) => oid === extension.oid)) {
      throw new DerError('duplicate', `the extension ${extension.oid} stands in it twice`);
    }
    if (extensions.length === extensionsMaximum) throw new DerError('too-large');
    extensions.push(extension);
  } while (!reader.isAtEnd);
  return extensions;
}

function readExtension(reader: DerReader): RawExtension {
  const oid = reader.objectIdentifier();
  const critical = readDefaultFalse(reader);
  const value = reader.content(derTags.octetString);
  reader.finish();
  return { oid, critical, value };
}

function readDefaultFalse(reader: DerReader): boolean {
  if (!reader.nextIs(derTags.boolean)) return false;
  if (!reader.boolean()) throw new DerError('default-encoded');
  return true;
}

function readBasicConstraints(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  const isAuthority = readDefaultFalse(reader);
  const pathLength = reader.isAtEnd ? undefined : reader.smallNumber();
  reader.finish();
  into.basicConstraints = pathLength === undefined ? { isAuthority } : { isAuthority, pathLength };
}

function readKeyUsage(reader: DerReader, into: Mutable<Extensions>): void {
  into.keyUsage = reader.namedBits().map((bit) => {
    const name = keyUsages[bit];
    if (name === undefined) throw new DerError('value', 'a key usage in it is not known');
    return name;
  });
}

function readExtendedKeyUsage(
  outer: DerReader,
  into: Mutable<Extensions>,
  { critical }: RawExtension,
): void {
  const reader = outer.sequence();
  const usages: string[] = [];
  do usages.push(reader.objectIdentifier());
  while (!reader.isAtEnd);
  into.extendedKeyUsage = { usages, critical };
}

function readSubjectAltNames(reader: DerReader, into: Mutable<Extensions>): void {
  into.subjectAltNames = readGeneralNames(reader.sequence());
}

function readSubjectKeyId(reader: DerReader, into: Mutable<Extensions>): void {
  into.subjectKeyId = reader.content(derTags.octetString);
}

// RFC 5280, section 4.2.1.1: the key's identifier, or the issuer's name and serial number.
function readAuthorityKeyId(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  if (reader.nextIs(context(0))) into.authorityKeyId = reader.content(context(0));
  const issuer = reader.enterOptional(contextConstructed(1));
  if (issuer !== undefined) readGeneralNames(issuer);
  if (reader.nextIs(context(2))) reader.content(context(2));
  reader.finish();
}

function readNameConstraints(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  const permitted = readSubtrees(reader.enterOptional(contextConstructed(0)));
  const excluded = readSubtrees(reader.enterOptional(contextConstructed(1)));
  reader.finish();
  into.nameConstraints = { permitted, excluded };
}

// RFC 5280, section 4.2.1.10: a minimum other than zero and a maximum are not used.
function readSubtrees(reader: DerReader | undefined): GeneralName[] {
  const names: GeneralName[] = [];
  if (reader === undefined) return names;
  do {
    const subtree = reader.sequence();
    names.push(readGeneralName(subtree, 'constraint'));
    subtree.finish();
  } while (!reader.isAtEnd);
  return names;
}

function readDistributionPoints(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  const addresses: string[] = [];
  do {
    const point = reader.sequence();
    const name = point.enterOptional(contextConstructed(0));
    if (name !== undefined) addresses.push(...readPointName(name));
    if (point.nextIs(context(1))) point.content(context(1));
    const issuer = point.enterOptional(contextConstructed(2));
    if (issuer !== undefined) readGeneralNames(issuer);
    point.finish();
  } while (!reader.isAtEnd);
  into.crlDistributionPoints = addresses;
}

function readPointName(reader: DerReader): string[] {
  if (reader.nextIs(contextConstructed(1))) {
    reader.element();
    reader.finish();
    return [];
  }
  const names = readGeneralNames(reader.enter(contextConstructed(0)));
  reader.finish();
  return names.filter(({ kind }) => kind === 'uri').map(({ value }) => value);
}

function readAuthorityInfoAccess(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  const access = { ocsp: [] as string[], caIssuers: [] as string[] };
  do {
    const description = reader.sequence();
    const method = description.objectIdentifier();
    const { kind, value } = readGeneralName(description);
    description.finish();
    if (kind !== 'uri') continue;
    if (method === accessMethods.ocsp) access.ocsp.push(value);
    if (method === accessMethods.caIssuers) access.caIssuers.push(value);
  } while (!reader.isAtEnd);
  into.authorityInfoAccess = access;
}

function readPolicies(outer: DerReader, into: Mutable<Extensions>): void {
  const reader = outer.sequence();
  const policies: string[] = [];
  do {
    const policy = reader.sequence();
    policies.push(policy.objectIdentifier());
    if (!policy.isAtEnd) policy.element(derTags.sequence);
    policy.finish();
  } while (!reader.isAtEnd);
  into.certificatePolicies = policies;
}

function readNoCheck(reader: DerReader, into: Mutable<Extensions>): void {
  reader.null();
  into.ocspNoCheck = true;
}
