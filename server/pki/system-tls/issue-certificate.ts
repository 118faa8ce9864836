import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { extendedKeyUsages, subjectAttributes } from '../../../api/profiles.ts';
import {
  assembleSigned,
  type CertificateFields,
  certificatePem,
  encodeName,
  encodeTbsCertificate,
  type GeneralName,
  keyIdentifier,
} from '../../x509/x509.ts';
import { newSerial } from '../rules/rules.ts';
import type { CertificateNames } from './certificate-names.ts';

const scheme = 'ecdsa-sha256';
const commonNameLengthMax = 64;
const signAsync = promisify(sign);
/** What stands under this CA proves servers and nothing else, whoever trusts it. */
const serverAuth = { usages: [extendedKeyUsages.serverAuth], critical: false } as const;

interface Validities {
  /** Milliseconds since 1970, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * The certificate of the CA, signed by its own key, as PEM (RFC 5280, section 4). It is held to
 * servers by its extended key usage; to names it cannot be held, since those of a server change
 * while the certificate stands.
 */
export async function issueCaCertificate(
  commonName: string,
  caKey: KeyObject,
  validity: Validities,
): Promise<string> {
  const spki = publicSpki(caKey);
  const name = distinguishedName(commonName);
  return issue(caKey, {
    ...validity,
    issuer: name,
    subject: name,
    spki,
    extensions: {
      // Only certificates of servers come from it, so no CA may stand below it (section 4.2.1.9).
      basicConstraints: { isAuthority: true, pathLength: 0 },
      keyUsage: ['keyCertSign', 'cRLSign'],
      extendedKeyUsage: serverAuth,
      subjectKeyId: keyIdentifier(spki),
    },
  });
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
  return issue(caKey, {
    ...validity,
    issuer: distinguishedName(caCommonName),
    subject: distinguishedName(subject),
    spki,
    extensions: {
      basicConstraints: { isAuthority: false },
      keyUsage: ['digitalSignature'],
      extendedKeyUsage: serverAuth,
      subjectAltNames: generalNames(names),
      subjectKeyId: keyIdentifier(spki),
      authorityKeyId: keyIdentifier(publicSpki(caKey)),
    },
  });
}

/** The names as a certificate holds them. */
export function generalNames(names: CertificateNames): readonly GeneralName[] {
  return [
    ...names.dns.map((value) => ({ kind: 'dns', value }) as const),
    ...names.ip.map((value) => ({ kind: 'ip', value }) as const),
  ];
}

async function issue(
  caKey: KeyObject,
  fields: Omit<CertificateFields, 'serial' | 'scheme'>,
): Promise<string> {
  const tbs = encodeTbsCertificate({ ...fields, serial: newSerial(), scheme });
  return certificatePem(assembleSigned(tbs, scheme, await signAsync('sha256', tbs, caKey)));
}

function publicSpki(key: KeyObject): Buffer {
  const publicKey = key.type === 'public' ? key : createPublicKey(key);
  return publicKey.export({ type: 'spki', format: 'der' });
}

function distinguishedName(commonName: string): Buffer {
  return encodeName([[{ type: subjectAttributes.CN, value: commonName }]]);
}
