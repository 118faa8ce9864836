import { KeyreeveError } from '../base/errors.ts';
import { DerError, DerReader, DerWriter, derTags, timeRange } from '../der/der.ts';
import { readAlgorithm, schemeOf, signatureAlgorithm } from './algorithms.ts';
import { readExtensions, understandExtensions } from './extensions-read.ts';
import { emptySequenceBytes, encodeExtensions } from './extensions-write.ts';
import { certificateBytesMaximum, serialBytesMaximum } from './limits.ts';
import { reading } from './malformed.ts';
import type { Certificate, CertificateFields, RawExtension } from './model.ts';
import { readName } from './names.ts';
import { readPublicKeyInfo } from './public-key.ts';
import { readSigned } from './signed.ts';

const { sequence, context, contextConstructed } = derTags;
const limits = { bytesMaximum: certificateBytesMaximum };
const versionTag = contextConstructed(0);
const extensionsTag = contextConstructed(3);
/** The numbers that stand for the versions (RFC 5280, section 4.1.2.1). */
const versions = { v2: 1, v3: 2 } as const;
/** Version 3 as it stands in every certificate that is written. */
const version3 = Buffer.from('a003020102', 'hex');

/** What a TBSCertificate says, which is all of a certificate but its signature. */
export type CertificateBody = Omit<Certificate, 'der' | 'tbs' | 'signature'>;

/**
 * A TBSCertificate as DER (RFC 5280, section 4.1.2), version 3. Errors: `subject-not-allowed` for
 * names that are not of their kind, `internal` for a serial number or time that cannot be written.
 */
export function encodeTbsCertificate(fields: CertificateFields): Buffer {
  checkFields(fields);
  const extensions = encodeExtensions(
    fields.extensions,
    fields.subject.length === emptySequenceBytes,
  );
  const writer = new DerWriter();
  writer.sequence(() => {
    writer.raw(version3).unsigned(fields.serial).raw(signatureAlgorithm(fields.scheme));
    writer.raw(fields.issuer);
    writer.sequence(() => writer.time(fields.notBefore).time(fields.notAfter));
    writer.raw(fields.subject).raw(fields.spki);
    if (extensions.length > emptySequenceBytes) {
      writer.constructed(extensionsTag, () => writer.raw(extensions));
    }
  });
  return writer.finish();
}

/** Reads a certificate that fills the buffer, in strict DER. Error: `certificate-malformed`. */
export function parseCertificate(der: Buffer): Certificate {
  return reading('certificate', () => {
    const { tbs, inside, algorithm, signature } = readSigned(DerReader.over(der, limits));
    const { inner, body } = readBody(inside);
    if (!inner.equals(algorithm)) throw new DerError('algorithm-mismatch');
    return { der, tbs, signature, ...body };
  });
}

/** Reads a TBSCertificate, before or after it is signed. Error: `certificate-malformed`. */
export function parseTbsCertificate(tbs: Buffer): CertificateBody {
  return reading('certificate', () => readBody(DerReader.over(tbs, limits).sequence()).body);
}

function readBody(reader: DerReader): { inner: Buffer; body: CertificateBody } {
  const version = readVersion(reader.enterOptional(versionTag));
  const serial = readSerial(reader);
  const inner = readAlgorithm(reader);
  const issuer = reader.capture(sequence);
  const validity = reader.sequence();
  const notBefore = validity.time();
  const notAfter = validity.time();
  validity.finish();
  const subject = reader.capture(sequence);
  const spki = reader.capture(sequence);
  readPublicKeyInfo(spki.inside);
  if (version >= versions.v2) skipUniqueIdentifiers(reader);
  const rawExtensions = version >= versions.v3 ? readOptionalExtensions(reader) : [];
  reader.finish();
  const body: CertificateBody = {
    ...{ serial, notBefore, notAfter, rawExtensions },
    scheme: schemeOf(inner),
    spki: spki.encoded,
    issuer: issuer.encoded,
    issuerName: readName(issuer.inside),
    subject: subject.encoded,
    subjectName: readName(subject.inside),
    extensions: understandExtensions(rawExtensions),
  };
  return { inner, body };
}

// Version 1 is the default and therefore left out (X.690, 11.5).
function readVersion(reader: DerReader | undefined): number {
  if (reader === undefined) return 0;
  const version = reader.smallNumber();
  reader.finish();
  if (version === 0) throw new DerError('default-encoded');
  if (version > versions.v3) throw new DerError('value', 'its version is not known');
  return version;
}

/**
 * A serial number. RFC 5280, section 4.1.2.2 asks for a positive one; roots of old have zero.
 */
export function readSerial(reader: DerReader): Buffer {
  const serial = reader.unsignedBytes();
  if (serial.length > serialBytesMaximum) {
    throw new DerError('value', `a serial number has more than ${serialBytesMaximum} bytes`);
  }
  return serial;
}

// RFC 5280, section 4.1.2.8: implicit BIT STRINGs that nobody writes any more.
function skipUniqueIdentifiers(reader: DerReader): void {
  for (const number of [1, 2]) {
    const tag = context(number);
    if (!reader.nextIs(tag)) continue;
    const [unused = 8] = reader.content(tag);
    if (unused > 7) throw new DerError('bit-string');
  }
}

function readOptionalExtensions(reader: DerReader): RawExtension[] {
  const tagged = reader.enterOptional(extensionsTag);
  if (tagged === undefined) return [];
  const extensions = readExtensions(tagged.sequence());
  tagged.finish();
  return extensions;
}

function checkFields({ serial, notBefore, notAfter }: CertificateFields): void {
  checkSerial(serial);
  // RFC 5280, section 4.1.2.2: positive, and 20 bytes with the one that a high first bit adds.
  if (serial[0] === 0 || (serial.length === serialBytesMaximum && serial[0]! >= 0x80)) {
    throw unwritable('has no such serial number');
  }
  if (notBefore > notAfter) throw unwritable('ends before it begins');
  checkTime(notBefore);
  checkTime(notAfter);
}

/** Refuses a serial number that is not in the form in which `readSerial` gives it: `internal`. */
export function checkSerial(serial: Buffer): void {
  const { length } = serial;
  const isMinimal = length === 1 || (length > 1 && serial[0] !== 0);
  if (!isMinimal || length > serialBytesMaximum) throw unwritable('has no such serial number');
}

/** Refuses a time that cannot be written: `internal`. */
export function checkTime(milliseconds: number): void {
  const { earliest, latest } = timeRange;
  const isInRange = milliseconds >= earliest && milliseconds <= latest;
  if (!isInRange || milliseconds % 1000 !== 0) throw unwritable('has no such time');
}

function unwritable(what: string): KeyreeveError {
  return new KeyreeveError('internal', `A certificate or revocation list ${what}.`);
}
