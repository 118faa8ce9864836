import { derTags, encodeDer, encodeObjectIdentifier } from '../../der/der.ts';
import { encodeName, parseName } from '../../x509/x509.ts';

const { sequence, set, integer, bitString, octetString, context, contextConstructed } = derTags;

/** An extension by hand: identifier, flag, the DER of its value. */
export type HandExtension = readonly [oid: string, critical: boolean, value: Buffer];

/** A TBSCertificate in its parts, each as DER, so that tests can put anything into any of them. */
export interface HandParts {
  readonly version?: Buffer;
  readonly serial: Buffer;
  readonly algorithm: Buffer;
  readonly issuer: Buffer;
  readonly validity: Buffer;
  readonly subject: Buffer;
  readonly spki: Buffer;
  readonly behind?: readonly Buffer[];
  readonly extensions?: readonly HandExtension[];
}

/** The parts one after another: nothing is checked. */
export function handMade(parts: HandParts): Buffer {
  const { extensions = [] } = parts;
  const list = extensions.map(([oid, critical, value]) =>
    encodeDer(
      sequence,
      oidOf(oid),
      ...(critical ? [encodeDer(derTags.boolean, Buffer.from([0xff]))] : []),
      encodeDer(octetString, value),
    ),
  );
  return encodeDer(
    sequence,
    parts.version ?? encodeDer(contextConstructed(0), encodeDer(integer, Buffer.from([2]))),
    parts.serial,
    parts.algorithm,
    parts.issuer,
    parts.validity,
    parts.subject,
    parts.spki,
    ...(parts.behind ?? []),
    ...(parts.extensions === undefined
      ? []
      : [encodeDer(contextConstructed(3), encodeDer(sequence, ...list))]),
  );
}

export const ecdsaSha256 = encodeDer(sequence, oidOf('1.2.840.10045.4.3.2'));

export function oidOf(oid: string): Buffer {
  return encodeDer(derTags.objectIdentifier, encodeObjectIdentifier(oid));
}

export function sequenceOf(...parts: readonly Buffer[]): Buffer {
  return encodeDer(sequence, ...parts);
}

export function integerOf(hex: string): Buffer {
  return encodeDer(integer, Buffer.from(hex, 'hex'));
}

export function octets(bytes: Buffer): Buffer {
  return encodeDer(octetString, bytes);
}

/** The tag that stands for the form, and the text as it is. */
export function timeOf(form: 'utcTime' | 'generalizedTime', text: string): Buffer {
  return encodeDer(derTags[form], Buffer.from(text));
}

export function nameOf(text: string): Buffer {
  return encodeName(text === '' ? [] : parseName(text));
}

/** A name with one attribute and its text as UTF8String, allowed or not. */
export function rawName(...attributes: readonly (readonly [oid: string, text: string])[]): Buffer {
  return encodeDer(
    sequence,
    ...attributes.map(([oid, text]) =>
      encodeDer(set, sequenceOf(oidOf(oid), encodeDer(derTags.utf8String, Buffer.from(text)))),
    ),
  );
}

/** A BIT STRING with these bits set, in the least number of bytes (X.690, section 11.2). */
export function bits(...numbers: readonly number[]): Buffer {
  const last = Math.max(...numbers);
  const bytes = Buffer.alloc((last >> 3) + 1);
  for (const number of numbers) bytes[number >> 3] = bytes[number >> 3]! | (0x80 >> (number & 7));
  return encodeDer(bitString, Buffer.from([7 - (last & 7)]), bytes);
}

/** GeneralNames of DNS names, or with another tag in their place. */
export function dnsNames(...names: readonly string[]): Buffer {
  return sequenceOf(...names.map((name) => encodeDer(context(2), Buffer.from(name))));
}

export function uriName(address: string): Buffer {
  return encodeDer(context(6), Buffer.from(address));
}

/** CRLDistributionPoints with one address (RFC 5280, section 4.2.1.13). */
export function distributionPoint(address: string): Buffer {
  const fullName = encodeDer(contextConstructed(0), uriName(address));
  return sequenceOf(sequenceOf(encodeDer(contextConstructed(0), fullName)));
}
