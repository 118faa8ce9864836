import { type KeyUsageName, keyUsages } from '../../api/profiles.ts';
import { DerWriter, derTags, encodeObjectIdentifier } from '../der/der.ts';
import { accessMethods, extensionIdentifiers as identifiers } from './extension-identifiers.ts';
import { encodeGeneralName, encodeGeneralNames } from './general-names.ts';
import type { Extensions, GeneralName } from './model.ts';

/** The length of a SEQUENCE of nothing: Extensions may not be empty (RFC 5280, section 4.1). */
export const emptySequenceBytes = 2;

const { context, contextConstructed } = derTags;

// Identifiers of extensions and usages come from small sets and are in every certificate. What
// profiles of operators add is bounded by the number of entries.
const identifierCache = new Map<string, Buffer>();
const identifiersCachedMaximum = 500;

/**
 * Extensions as DER, critical as RFC 5280 says: basicConstraints of a CA, keyUsage, nameConstraints,
 * and subjectAltNames where the subject is empty. Empty lists are left out. Error:
 * `subject-not-allowed` for names that are not of their kind.
 */
export function encodeExtensions(extensions: Extensions, subjectIsEmpty: boolean): Buffer {
  const writer = new DerWriter(1024);
  writer.sequence(() => {
    writeKeyIdentifiers(writer, extensions);
    writeUsages(writer, extensions);
    writeNames(writer, extensions, subjectIsEmpty);
    writeAddresses(writer, extensions);
  });
  return writer.finish();
}

/** One extension, whose contents `body` writes. */
export function writeExtension(
  writer: DerWriter,
  oid: string,
  critical: boolean,
  body: () => void,
): void {
  writer.sequence(() => {
    writeIdentifier(writer, oid);
    if (critical) writer.element(derTags.boolean, trueContent);
    writer.constructed(derTags.octetString, body);
  });
}

/** The extension authorityKeyIdentifier with the identifier of the key alone. */
export function writeAuthorityKeyId(writer: DerWriter, keyId: Buffer): void {
  writeExtension(writer, identifiers.authorityKeyId, false, () => {
    writer.sequence(() => writer.element(context(0), keyId));
  });
}

const trueContent = Buffer.of(0xff);

function writeKeyIdentifiers(writer: DerWriter, extensions: Extensions): void {
  const { authorityKeyId, subjectKeyId } = extensions;
  if (authorityKeyId !== undefined) writeAuthorityKeyId(writer, authorityKeyId);
  if (subjectKeyId === undefined) return;
  writeExtension(writer, identifiers.subjectKeyId, false, () => {
    writer.element(derTags.octetString, subjectKeyId);
  });
}

function writeUsages(writer: DerWriter, extensions: Extensions): void {
  const {
    keyUsage = [],
    extendedKeyUsage,
    basicConstraints,
    certificatePolicies = [],
  } = extensions;
  if (keyUsage.length > 0) {
    writeExtension(writer, identifiers.keyUsage, true, () => {
      writer.element(derTags.bitString, namedBits(keyUsage));
    });
  }
  if (certificatePolicies.length > 0) {
    writeExtension(writer, identifiers.certificatePolicies, false, () => {
      writeSequenceOf(writer, certificatePolicies, (policy) => {
        writer.sequence(() => writeIdentifier(writer, policy));
      });
    });
  }
  if (basicConstraints !== undefined) {
    const { isAuthority, pathLength } = basicConstraints;
    writeExtension(writer, identifiers.basicConstraints, isAuthority, () => {
      writer.sequence(() => {
        if (isAuthority) writer.element(derTags.boolean, trueContent);
        if (pathLength !== undefined) writer.smallNumber(pathLength);
      });
    });
  }
  if (extendedKeyUsage !== undefined && extendedKeyUsage.usages.length > 0) {
    const { usages, critical } = extendedKeyUsage;
    writeExtension(writer, identifiers.extendedKeyUsage, critical, () => {
      writeSequenceOf(writer, usages, (usage) => writeIdentifier(writer, usage));
    });
  }
  if (extensions.ocspNoCheck === true) {
    writeExtension(writer, identifiers.ocspNoCheck, false, () => {
      writer.element(derTags.null, Buffer.alloc(0));
    });
  }
}

function writeNames(writer: DerWriter, extensions: Extensions, subjectIsEmpty: boolean): void {
  const { subjectAltNames = [], nameConstraints } = extensions;
  if (subjectAltNames.length > 0) {
    writeExtension(writer, identifiers.subjectAltNames, subjectIsEmpty, () => {
      writer.raw(encodeGeneralNames(subjectAltNames));
    });
  }
  const { permitted = [], excluded = [] } = nameConstraints ?? {};
  if (permitted.length + excluded.length === 0) return;
  writeExtension(writer, identifiers.nameConstraints, true, () => {
    writer.sequence(() => {
      writeSubtrees(writer, contextConstructed(0), permitted);
      writeSubtrees(writer, contextConstructed(1), excluded);
    });
  });
}

function writeSubtrees(writer: DerWriter, tag: number, names: readonly GeneralName[]): void {
  if (names.length === 0) return;
  writer.constructed(tag, () => {
    for (const name of names) {
      writer.sequence(() => writer.raw(encodeGeneralName(name, 'constraint')));
    }
  });
}

function writeAddresses(writer: DerWriter, extensions: Extensions): void {
  const { crlDistributionPoints = [], authorityInfoAccess } = extensions;
  if (crlDistributionPoints.length > 0) {
    writeExtension(writer, identifiers.crlDistributionPoints, false, () => {
      writeSequenceOf(writer, crlDistributionPoints, (address) => {
        writer.sequence(() => {
          // DistributionPointName, fullName, GeneralNames (RFC 5280, section 4.2.1.13).
          writer.constructed(contextConstructed(0), () => {
            writer.constructed(contextConstructed(0), () => writeUri(writer, address));
          });
        });
      });
    });
  }
  const { ocsp = [], caIssuers = [] } = authorityInfoAccess ?? {};
  if (ocsp.length + caIssuers.length === 0) return;
  writeExtension(writer, identifiers.authorityInfoAccess, false, () => {
    writer.sequence(() => {
      for (const address of ocsp) writeAccess(writer, accessMethods.ocsp, address);
      for (const address of caIssuers) writeAccess(writer, accessMethods.caIssuers, address);
    });
  });
}

function writeAccess(writer: DerWriter, method: string, address: string): void {
  writer.sequence(() => {
    writeIdentifier(writer, method);
    writeUri(writer, address);
  });
}

function writeUri(writer: DerWriter, address: string): void {
  writer.raw(encodeGeneralName({ kind: 'uri', value: address }));
}

function writeSequenceOf<Item>(
  writer: DerWriter,
  items: readonly Item[],
  write: (item: Item) => void,
): void {
  writer.sequence(() => {
    for (const item of items) write(item);
  });
}

function writeIdentifier(writer: DerWriter, oid: string): void {
  let encoded = identifierCache.get(oid);
  if (encoded === undefined) {
    encoded = encodeObjectIdentifier(oid);
    if (identifierCache.size < identifiersCachedMaximum) identifierCache.set(oid, encoded);
  }
  writer.element(derTags.objectIdentifier, encoded);
}

/** Contents of a BIT STRING: the unused bits, then the named ones without zeros behind them. */
function namedBits(names: readonly KeyUsageName[]): Buffer {
  let bits = 0;
  let last = 0;
  for (const name of names) {
    const bit = keyUsages.indexOf(name);
    bits |= 0x8000 >> bit;
    last = Math.max(last, bit);
  }
  const unused = 7 - (last % 8);
  const bytes = [unused, bits >> 8, bits & 0xff];
  return Buffer.from(last < 8 ? bytes.slice(0, 2) : bytes);
}
