import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { AsnConvert, OctetString } from '@peculiar/asn1-schema';
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_serverAuth,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509';
import { pemText } from '../base/pem.ts';
import { type CertificateNames, fullAddress } from './certificate-names.ts';

// Loaded only when a certificate has to be made: the ASN.1 schemas take a while to build.

const commonNameAttribute = '2.5.4.3';
const ecdsaWithSha256 = '1.2.840.10045.4.3.2';
const serialBytes = 16;
const commonNameLengthMax = 64;
const signAsync = promisify(sign);

interface Validities {
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** The certificate of the CA, signed by its own key, as PEM (RFC 5280, section 4). */
export async function issueCaCertificate(
  commonName: string,
  caKey: KeyObject,
  validity: Validities,
): Promise<string> {
  const spki = publicSpki(caKey);
  const name = distinguishedName(commonName);
  return issue(caKey, spki, name, name, validity, [
    // Only certificates of servers come from it, so no CA may stand below it (section 4.2.1.9).
    extension(
      id_ce_basicConstraints,
      new BasicConstraints({ cA: true, pathLenConstraint: 0 }),
      true,
    ),
    keyUsage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(spki))),
  ]);
}

/** A certificate for the server, signed by the CA, as PEM. */
export async function issueServerCertificate(
  names: CertificateNames,
  serverKey: KeyObject,
  caKey: KeyObject,
  caCommonName: string,
  validity: Validities,
): Promise<string> {
  const spki = publicSpki(serverKey);
  const subject = names.dns.find((name) => name.length <= commonNameLengthMax) ?? 'localhost';
  const alternatives = [
    ...names.dns.map((name) => new GeneralName({ dNSName: name })),
    ...names.ip.map((address) => new GeneralName({ iPAddress: fullAddress(address) })),
  ];
  const issuerKey = new KeyIdentifier(keyIdentifier(publicSpki(caKey)));
  return issue(caKey, spki, distinguishedName(caCommonName), distinguishedName(subject), validity, [
    extension(id_ce_basicConstraints, new BasicConstraints({ cA: false }), true),
    keyUsage(KeyUsageFlags.digitalSignature),
    extension(id_ce_extKeyUsage, new ExtendedKeyUsage([id_kp_serverAuth])),
    extension(id_ce_subjectAltName, new SubjectAlternativeName(alternatives)),
    extension(id_ce_subjectKeyIdentifier, new SubjectKeyIdentifier(keyIdentifier(spki))),
    extension(
      id_ce_authorityKeyIdentifier,
      new AuthorityKeyIdentifier({ keyIdentifier: issuerKey }),
    ),
  ]);
}

async function issue(
  caKey: KeyObject,
  spki: SubjectPublicKeyInfo,
  issuer: Name,
  subject: Name,
  { notBefore, notAfter }: Validities,
  extensions: Extension[],
): Promise<string> {
  const algorithm = new AlgorithmIdentifier({ algorithm: ecdsaWithSha256 });
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: exact(serialNumber()),
    signature: algorithm,
    issuer,
    validity: new Validity({ notBefore: new Date(notBefore), notAfter: new Date(notAfter) }),
    subject,
    subjectPublicKeyInfo: spki,
    extensions: new Extensions(extensions),
  });
  const toSign = Buffer.from(AsnConvert.serialize(tbsCertificate));
  const signature = await signAsync('sha256', toSign, caKey);
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: algorithm,
    signatureValue: exact(signature),
  });
  return pemText('CERTIFICATE', new Uint8Array(AsnConvert.serialize(certificate)));
}

/** 128 random bits as the contents of a positive, minimal INTEGER (X.690, section 8.3). */
function serialNumber(): Uint8Array {
  const random = randomBytes(serialBytes);
  const first = random.findIndex((byte) => byte !== 0);
  if (first === -1) return serialNumber();
  const minimal = random.subarray(first);
  return minimal[0]! < 0x80 ? minimal : Buffer.concat([Buffer.of(0), minimal]);
}

function publicSpki(key: KeyObject): SubjectPublicKeyInfo {
  const publicKey = key.type === 'public' ? key : createPublicKey(key);
  return AsnConvert.parse(publicKey.export({ type: 'spki', format: 'der' }), SubjectPublicKeyInfo);
}

/** The leftmost 160 bits of the SHA-256 of the public key (RFC 7093, section 2, method 1). */
function keyIdentifier(spki: SubjectPublicKeyInfo): ArrayBuffer {
  const digest = createHash('sha256').update(Buffer.from(spki.subjectPublicKey)).digest();
  return exact(digest.subarray(0, 20));
}

function distinguishedName(commonName: string): Name {
  const value = new AttributeValue({ utf8String: commonName });
  const attribute = new AttributeTypeAndValue({ type: commonNameAttribute, value });
  return new Name([new RelativeDistinguishedName([attribute])]);
}

function extension(id: string, value: unknown, critical = false): Extension {
  const extnValue = new OctetString(AsnConvert.serialize(value));
  return new Extension({ extnID: id, critical, extnValue });
}

function keyUsage(flags: number): Extension {
  return extension(id_ce_keyUsage, new KeyUsage(flags), true);
}

function exact(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
