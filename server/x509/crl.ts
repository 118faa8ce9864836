import { type RevocationReason, revocationReasons } from '../../api/revocation-reasons.ts';
import { KeyreeveError } from '../base/errors.ts';
import { DerError, DerReader, DerWriter, derTags } from '../der/der.ts';
import { readAlgorithm, schemeOf, signatureAlgorithm } from './algorithms.ts';
import { checkSerial, checkTime, readSerial } from './certificate.ts';
import { extensionIdentifiers as identifiers } from './extension-identifiers.ts';
import { readExtensions, readerOf, understandExtensions } from './extensions-read.ts';
import { writeAuthorityKeyId, writeExtension } from './extensions-write.ts';
import { crlBytesMaximum, crlEntriesMaximum, crlNumberBytesMaximum } from './limits.ts';
import { reading } from './malformed.ts';
import type { Crl, CrlFields, RawExtension, RevokedEntry } from './model.ts';
import { readName } from './names.ts';
import { readSigned } from './signed.ts';

export interface CrlLimits {
  readonly bytesMaximum?: number;
  readonly entriesMaximum?: number;
}

const { sequence, enumerated, generalizedTime, contextConstructed } = derTags;
const extensionsTag = contextConstructed(0);
/** Version 2 (RFC 5280, section 5.1.2.1). */
const version2 = 1;

const reasonNames = new Map<number, RevocationReason>(
  Object.entries(revocationReasons).map(([name, code]) => [code, name as RevocationReason]),
);
/** The extension reasonCode of each reason, as it stands in entries. */
const reasonExtensions = new Map<RevocationReason, Buffer>(
  Object.entries(revocationReasons).map(([name, code]) => [
    name as RevocationReason,
    encodeReason(code),
  ]),
);

/**
 * A TBSCertList as DER (RFC 5280, section 5.1.2), version 2. Work and memory grow with the number
 * of entries alone; they are taken one by one, or in portions made by `encodeRevokedEntries`, and
 * stand in the CRL in their order. Error: `internal` for a number, serial number or time that cannot
 * be written.
 */
export function encodeTbsCrl(fields: CrlFields, entries: Iterable<RevokedEntry | Buffer>): Buffer {
  checkTime(fields.thisUpdate);
  checkTime(fields.nextUpdate);
  const writer = new DerWriter();
  writer.sequence(() => {
    writer.smallNumber(version2).raw(signatureAlgorithm(fields.scheme)).raw(fields.issuer);
    writer.time(fields.thisUpdate).time(fields.nextUpdate);
    writeEntries(writer, entries);
    writer.constructed(extensionsTag, () => {
      writer.sequence(() => {
        writeAuthorityKeyId(writer, fields.authorityKeyId);
        writeExtension(writer, identifiers.crlNumber, false, () => {
          writer.unsigned(numberBytes(fields.number));
        });
      });
    });
  });
  return writer.finish();
}

/**
 * Some entries of a CRL as DER, one behind the other: so that a large one can be made piece by
 * piece, and others have their turn in between. Error: `internal`.
 */
export function encodeRevokedEntries(entries: Iterable<RevokedEntry>): Buffer {
  const writer = new DerWriter();
  for (const entry of entries) writeEntry(writer, entry);
  return writer.finish();
}

/**
 * Reads a CRL that fills the buffer, in strict DER. An entry with a critical extension that is not
 * understood is refused, since it may be about a certificate of somebody else (RFC 5280, section
 * 5.3.3); those of the CRL itself are in `rawExtensions`. Error: `crl-malformed`.
 */
export function parseCrl(der: Buffer, limits: CrlLimits = {}): Crl {
  return reading('crl', () => {
    const outer = DerReader.over(der, { bytesMaximum: limits.bytesMaximum ?? crlBytesMaximum });
    const { tbs, inside, algorithm, signature } = readSigned(outer);
    const version = readVersion(inside);
    const inner = readAlgorithm(inside);
    if (!inner.equals(algorithm)) throw new DerError('algorithm-mismatch');
    const issuer = inside.capture(sequence);
    const thisUpdate = inside.time();
    const nextUpdate = isTime(inside) ? inside.time() : undefined;
    const entries = readEntries(inside, version, limits.entriesMaximum ?? crlEntriesMaximum);
    const rawExtensions = version === version2 ? readCrlExtensions(inside) : [];
    inside.finish();
    return {
      ...{ der, tbs, signature, thisUpdate, nextUpdate, entries, rawExtensions },
      scheme: schemeOf(algorithm),
      issuer: issuer.encoded,
      issuerName: readName(issuer.inside),
      authorityKeyId: understandExtensions(rawExtensions).authorityKeyId,
      number: readNumber(rawExtensions),
    };
  });
}

// RFC 5280, section 5.1.2.6: without entries, the list of them is left out.
function writeEntries(writer: DerWriter, entries: Iterable<RevokedEntry | Buffer>): void {
  writer.constructedUnlessEmpty(sequence, () => {
    for (const entry of entries) {
      if (Buffer.isBuffer(entry)) writer.raw(entry);
      else writeEntry(writer, entry);
    }
  });
}

function writeEntry(writer: DerWriter, { serial, revokedAt, reason, invalidFrom }: RevokedEntry) {
  checkSerial(serial);
  checkTime(revokedAt);
  writer.sequence(() => {
    writer.unsigned(serial).time(revokedAt);
    if (reason === 'unspecified' && invalidFrom === undefined) return;
    writer.sequence(() => {
      if (reason !== 'unspecified') writer.raw(reasonExtensions.get(reason)!);
      if (invalidFrom === undefined) return;
      checkTime(invalidFrom);
      writeExtension(writer, identifiers.invalidityDate, false, () => {
        writer.time(invalidFrom, true);
      });
    });
  });
}

function encodeReason(code: number): Buffer {
  const writer = new DerWriter(32);
  writeExtension(writer, identifiers.reason, false, () => {
    writer.element(enumerated, Buffer.of(code));
  });
  return writer.finish();
}

function numberBytes(number: bigint): Buffer {
  const digits = number.toString(16);
  const bytes = Buffer.from(digits.padStart(digits.length + (digits.length % 2), '0'), 'hex');
  const contentLength = bytes.length + (bytes[0]! >= 0x80 ? 1 : 0);
  if (number < 0n || contentLength > crlNumberBytesMaximum) {
    throw new KeyreeveError('internal', 'A revocation list has no such number.');
  }
  return bytes;
}

function readVersion(reader: DerReader): number {
  if (!reader.nextIs(derTags.integer)) return 0;
  const version = reader.smallNumber();
  if (version !== version2) throw new DerError('value', 'its version is not known');
  return version;
}

function isTime(reader: DerReader): boolean {
  return reader.nextIs(derTags.utcTime) || reader.nextIs(generalizedTime);
}

function readEntries(reader: DerReader, version: number, entriesMaximum: number): RevokedEntry[] {
  const entries: RevokedEntry[] = [];
  const list = reader.enterOptional(sequence);
  if (list === undefined) return entries;
  while (!list.isAtEnd) {
    if (entries.length === entriesMaximum) {
      throw new DerError('too-large', `it has more than ${entriesMaximum} entries`);
    }
    entries.push(readEntry(list.sequence(), version));
  }
  return entries;
}

function readEntry(reader: DerReader, version: number): RevokedEntry {
  const serial = readSerial(reader);
  const revokedAt = reader.time();
  if (reader.isAtEnd || version !== version2) {
    reader.finish();
    return { serial, revokedAt, reason: 'unspecified' };
  }
  const extensions = readExtensions(reader.sequence());
  reader.finish();
  let reason: RevocationReason = 'unspecified';
  let invalidFrom: number | undefined;
  for (const extension of extensions) {
    if (extension.oid === identifiers.reason) reason = readReason(extension);
    else if (extension.oid === identifiers.invalidityDate) {
      invalidFrom = readerOf(extension).time(generalizedTime);
    } else if (extension.critical) {
      throw new DerError('value', `an entry has the critical extension ${extension.oid}`);
    }
  }
  return { serial, revokedAt, reason, invalidFrom };
}

function readReason(extension: RawExtension): RevocationReason {
  const reason = reasonNames.get(readerOf(extension).smallNumber(enumerated));
  if (reason === undefined) throw new DerError('value', 'a reason of revocation is not known');
  return reason;
}

function readCrlExtensions(reader: DerReader): RawExtension[] {
  const tagged = reader.enterOptional(extensionsTag);
  if (tagged === undefined) return [];
  const extensions = readExtensions(tagged.sequence());
  tagged.finish();
  return extensions;
}

function readNumber(extensions: readonly RawExtension[]): bigint | undefined {
  const extension = extensions.find(({ oid }) => oid === identifiers.crlNumber);
  return extension === undefined ? undefined : readerOf(extension).unsigned(crlNumberBytesMaximum);
}
