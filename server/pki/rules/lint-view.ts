import type { Profile } from '../../../api/profiles.ts';
import { type DerElement, DerReader, derChildren, derTags, readWholeDer } from '../../der/der.ts';
import type { Certificate } from '../../x509/x509.ts';

/** A rule that every certificate has to keep: its name, where it stands, how it is broken. */
export interface LintRule<View> {
  readonly name: string;
  readonly source: string;
  /** How the certificate breaks it, as a sentence; undefined where it keeps it. */
  readonly broken: (view: View) => string | undefined;
}

/** The bytes that are to be signed, taken apart without knowing what they mean. */
export interface StructureView {
  readonly version: DerElement | undefined;
  readonly serial: DerElement;
  readonly times: readonly DerElement[];
  readonly hasUniqueIdentifiers: boolean;
  readonly extensions: readonly { readonly oid: string; readonly value: DerElement }[] | undefined;
}

/** The certificate as relying parties will read it, and what it is held against. */
export interface CertificateView {
  readonly certificate: Omit<Certificate, 'der' | 'tbs' | 'signature'>;
  /** Undefined for a certificate that is signed by its own key. */
  readonly issuer: Certificate | undefined;
  readonly profile: Profile;
}

const tbsBytesMax = 128 * 1024;
const versionTag = derTags.contextConstructed(0);
const extensionsTag = derTags.contextConstructed(3);

/**
 * Takes a TBSCertificate apart (RFC 5280, section 4.1). Error: RangeError where the bytes are not
 * DER or not of that shape.
 */
export function readStructure(tbs: Buffer): StructureView {
  // Everything is held to DER here, so that no rule has to.
  DerReader.over(tbs, { bytesMaximum: tbsBytesMax });
  const parts = derChildren(readWholeDer(tbs, derTags.sequence));
  const version = parts[0]?.tag === versionTag ? parts.shift() : undefined;
  const [serial, , , validity, , , ...rest] = parts;
  if (serial === undefined || validity === undefined) throw new RangeError('parts are missing');
  const list = rest.find(({ tag }) => tag === extensionsTag);
  return {
    version,
    serial,
    times: derChildren(validity),
    hasUniqueIdentifiers: rest.some(({ tag }) => tag !== extensionsTag),
    extensions: list === undefined ? undefined : readExtensions(list),
  };
}

function readExtensions(list: DerElement): StructureView['extensions'] {
  return derChildren(readWholeDer(list.content, derTags.sequence)).map((extension) => {
    const [identifier, ...rest] = derChildren(extension);
    const value = rest.at(-1);
    if (identifier === undefined || value === undefined) throw new RangeError('parts are missing');
    return { oid: identifier.content.toString('hex'), value: readWholeDer(value.content) };
  });
}
