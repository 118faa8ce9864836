import type { Caller } from '../../base/caller.ts';
import type { Intend } from '../../commands/commands.ts';
import type { KeyRecord, VersionRecord } from '../../keys/keys.ts';
import {
  type Certificate,
  type CertificateFields,
  type Extensions,
  keyIdentifier,
} from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import { type IssuerFacts, newSerial, planCertificate } from '../rules/rules.ts';
import type { Issuer } from './authority-command.ts';
import {
  crossProfile,
  intermediateProfile,
  rootProfile,
  successorProfile,
} from './authority-profiles.ts';
import { versionScheme } from './authority-rules.ts';
import type { Parts } from './parts.ts';
import type { SignedCertificate } from './signing.ts';

/** A version of a CA's key that is to be certified, after another certificate of the CA. */
export interface Successor {
  readonly caller: Caller;
  /** With the version, which may have no row yet. */
  readonly key: KeyRecord;
  readonly version: VersionRecord;
  /** The certificate whose name, path length and constraints stay. */
  readonly before: Certificate;
  /** The CA above; undefined for a root. */
  readonly issuer: Issuer | undefined;
  readonly validitySeconds: number | undefined;
  readonly now: number;
}

/** Certifies a version of a CA's key: by itself for a root, else by the CA above. */
export async function certifyAgain(
  { signer }: Pick<Parts, 'signer'>,
  successor: Successor,
  intend: Intend,
): Promise<SignedCertificate> {
  const { caller, key, version, before, issuer } = successor;
  const createdBy = caller.principalId;
  const wanted = { ...heritage(before), spki: spkiOf(version) };
  const asked = { ...wanted, validitySeconds: successor.validitySeconds };
  const context = { now: successor.now, serial: newSerial() };
  if (issuer === undefined) {
    const profile = successorProfile(rootProfile, before);
    const self = { self: true, scheme: versionScheme(key, version) } as const;
    const fields = sameName(planCertificate(profile, self, asked, context), before, true);
    return signer.signSelf({ key, version: version.version, profile, fields, createdBy }, intend);
  }
  const profile = successorProfile(intermediateProfile, before);
  const fields = sameName(planCertificate(profile, issuer.facts, asked, context), before, false);
  return signer.sign(
    {
      authority: issuer.authority,
      version: issuer.version,
      profile,
      fields,
      key: { id: key.id, version: version.version },
      createdBy,
      chain: issuer.facts.chain,
    },
    intend,
  );
}

/** One key of a root, as it vouches for another one. */
export interface Crossing {
  readonly caller: Caller;
  /** Signs. */
  readonly authority: Authority;
  readonly by: AuthorityVersion;
  /** Is certified. */
  readonly of: AuthorityVersion;
  readonly notBefore: number;
  readonly notAfter: number;
}

/**
 * Has one version of a root certify the key of another (RFC 4210, section 4.4). What that one says
 * of itself in its own certificate it says here too.
 */
export async function crossCertify(
  { authorities, signer }: Pick<Parts, 'authorities' | 'signer'>,
  { caller, authority, by, of, notBefore, notAfter }: Crossing,
  intend: Intend,
): Promise<SignedCertificate> {
  const facts = await authorities.issuerFacts(authority, by);
  const { subject, spki, extensions } = of.certificate;
  const fields: CertificateFields = {
    serial: newSerial(),
    scheme: facts.scheme,
    issuer: by.certificate.subject,
    subject,
    notBefore,
    notAfter,
    spki,
    extensions: { ...withoutIssuer(extensions), ...issuerExtensions(facts) },
  };
  const profile = crossProfile(of.certificate);
  const key = { id: authority.key.id, version: of.version };
  const request = { authority, version: by, profile, fields, key, chain: facts.chain };
  return signer.sign({ ...request, createdBy: caller.principalId }, intend);
}

/** What a certificate says of its subject alone. */
function withoutIssuer(extensions: Extensions): Extensions {
  const { authorityKeyId, crlDistributionPoints, authorityInfoAccess, ...own } = extensions;
  return own;
}

function issuerExtensions({ certificate, addresses }: IssuerFacts): Extensions {
  const { crl, caIssuers } = addresses;
  return {
    authorityKeyId: certificate.extensions.subjectKeyId ?? keyIdentifier(certificate.spki),
    ...(crl === undefined ? {} : { crlDistributionPoints: [crl] }),
    ...(caIssuers === undefined
      ? {}
      : { authorityInfoAccess: { ocsp: [], caIssuers: [caIssuers] } }),
  };
}

/** What every certificate of a CA says alike. */
function heritage({ subjectName, extensions }: Certificate) {
  return {
    subject: subjectName,
    names: [],
    pathLength: extensions.basicConstraints?.pathLength,
    nameConstraints: extensions.nameConstraints,
  };
}

/**
 * The name byte for byte as it was, and for the same key the same identifier: what was issued
 * before goes on to lead here, wherever the first certificate came from.
 */
function sameName(
  fields: CertificateFields,
  before: Certificate,
  isSelf: boolean,
): CertificateFields {
  const known = before.extensions.subjectKeyId;
  const isSameKey = fields.spki.equals(before.spki) && known !== undefined;
  const subjectKeyId = isSameKey ? known : fields.extensions.subjectKeyId;
  return {
    ...fields,
    subject: before.subject,
    issuer: isSelf ? before.subject : fields.issuer,
    extensions: {
      ...fields.extensions,
      ...(subjectKeyId === undefined ? {} : { subjectKeyId }),
      ...(isSelf && subjectKeyId !== undefined ? { authorityKeyId: subjectKeyId } : {}),
    },
  };
}

function spkiOf(version: VersionRecord): Buffer {
  return Buffer.from(version.publicKey!);
}
