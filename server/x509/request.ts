import { DerError, DerReader, DerWriter, derTags, encodeObjectIdentifier } from '../der/der.ts';
import { extensionRequestAttributes } from './extension-identifiers.ts';
import { readExtensions, understandExtensions } from './extensions-read.ts';
import { emptySequenceBytes, encodeExtensions } from './extensions-write.ts';
import { requestBytesMaximum } from './limits.ts';
import { reading } from './malformed.ts';
import type { CertificateRequest, Extensions, RawExtension } from './model.ts';
import { readName } from './names.ts';
import { readPublicKeyInfo } from './public-key.ts';
import { readSigned } from './signed.ts';

const attributesTag = derTags.contextConstructed(0);
const extensionRequest = encodeObjectIdentifier(extensionRequestAttributes[0]!);

/**
 * A CertificationRequestInfo as DER (RFC 2986, section 4.1): what the holder of the key signs.
 * `subject` is a distinguished name as DER. Error: `subject-not-allowed`.
 */
export function encodeRequest(subject: Buffer, extensions: Extensions, spki: Buffer): Buffer {
  const encoded = encodeExtensions(extensions, subject.length === emptySequenceBytes);
  const writer = new DerWriter();
  writer.sequence(() => {
    writer.smallNumber(0).raw(subject).raw(spki);
    writer.constructed(attributesTag, () => {
      if (encoded.length <= emptySequenceBytes) return;
      writer.sequence(() => {
        writer.element(derTags.objectIdentifier, extensionRequest).setOf([encoded]);
      });
    });
  });
  return writer.finish();
}

/** Reads a request (PKCS#10) that fills the buffer, in strict DER. Error: `request-malformed`. */
export function parseRequest(der: Buffer): CertificateRequest {
  return reading('request', () => {
    const outer = DerReader.over(der, { bytesMaximum: requestBytesMaximum });
    const { tbs, inside, scheme, signature } = readSigned(outer);
    if (inside.smallNumber() !== 0) throw new DerError('value', 'its version is not known');
    const subject = inside.capture(derTags.sequence);
    const spki = inside.capture(derTags.sequence);
    readPublicKeyInfo(spki.inside);
    const rawExtensions = readAttributes(inside.enter(attributesTag));
    inside.finish();
    return {
      ...{ der, tbs, scheme, signature, rawExtensions },
      spki: spki.encoded,
      subject: subject.encoded,
      subjectName: readName(subject.inside),
      extensions: understandExtensions(rawExtensions),
    };
  });
}

/** The extensions that are asked for; other attributes, such as passwords, are passed over. */
function readAttributes(reader: DerReader): RawExtension[] {
  let extensions: RawExtension[] | undefined;
  let before: Buffer | undefined;
  while (!reader.isAtEnd) {
    const { encoded, inside } = reader.capture(derTags.sequence);
    // Attributes are a SET OF under a tag of their own (X.690, 11.6).
    if (before !== undefined && before.compare(encoded) > 0) throw new DerError('set-order');
    before = encoded;
    const type = inside.objectIdentifier();
    const values = inside.enter(derTags.set);
    inside.finish();
    if (!extensionRequestAttributes.includes(type)) continue;
    if (extensions !== undefined) throw new DerError('duplicate', 'it asks for extensions twice');
    extensions = readExtensions(values.sequence());
    values.finish();
  }
  return extensions ?? [];
}
