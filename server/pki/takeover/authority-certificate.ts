import {
  type AlgorithmName,
  defaultSchemes,
  type SchemeName,
  schemes,
  schemesFor,
} from '../../../api/algorithms.ts';
import { builtInProfiles } from '../../../api/profiles.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  type Certificate,
  decodePem,
  formatName,
  parseCertificate,
  spkiAlgorithm,
  verifySigned,
} from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import { sha256 } from '../certificate-record.ts';
import { checkPublicKey } from '../rules/rules.ts';

const authorityProfile = builtInProfiles.find(({ name }) => name === 'root')!;
/** Certificates of one file: the CA's own and those above it. */
export const chainCertificatesMax = 10;

/** The certificate of a CA that comes in, and what was found out about it. */
export interface AuthorityCertificate {
  readonly certificate: Certificate;
  readonly algorithm: AlgorithmName;
  /** How the CA signs from now on. */
  readonly scheme: SchemeName;
  readonly isRoot: boolean;
  /** Those above it that came along, next one first. */
  readonly upper: readonly Certificate[];
  /** The version of the CA of this installation that signed it. */
  readonly signer: AuthorityVersion | undefined;
}

/** Reads the PEM file: the CA's certificate, then those above it. */
export function readAuthorityFile(pem: string): readonly [Certificate, ...Certificate[]] {
  const found = decodePem(pem, 'CERTIFICATE').map((der) => parseCertificate(der));
  const [own, ...upper] = found;
  if (own === undefined) {
    throw new KeyreeveError('certificate-malformed', 'There is no certificate in it.', {
      hint: 'Send the certificate of the CA as PEM, then those above it.',
    });
  }
  if (found.length > chainCertificatesMax) {
    throw new KeyreeveError(
      'too-large',
      `There are more than ${chainCertificatesMax} certificates in it.`,
      {
        hint: 'Send the certificate of the CA and those above it; what it issued comes afterwards.',
      },
    );
  }
  if (new Set(found.map(({ der }) => sha256(der))).size < found.length) {
    throw new KeyreeveError('invalid-request', 'A certificate stands in the file twice.', {
      hint: 'Send each once: the CA first, then each certificate that signed the one before.',
    });
  }
  return [own, ...upper];
}

/**
 * Holds the certificate of a CA to what makes it one (RFC 5280, sections 4.2.1.3, 4.2.1.9 and 6.1.4):
 * it may sign certificates and CRLs, has not ended, and is signed by its own key, by `parent`, or by
 * the next certificate of the file. Errors: `invalid-request`, `validity-not-allowed`,
 * `unknown-scheme`, `public-key-refused`.
 */
export async function checkAuthorityCertificate(
  [certificate, ...upper]: readonly [Certificate, ...Certificate[]],
  parent: Authority | undefined,
  askedScheme: string | undefined,
  now: number,
): Promise<AuthorityCertificate> {
  requireAuthority(certificate, 'The certificate');
  if (certificate.notAfter <= now) {
    throw new KeyreeveError(
      'validity-not-allowed',
      `The certificate of the CA ended on ${formatTime(certificate.notAfter)}.`,
      { hint: 'Give its key a new certificate first, by itself or by the CA above it.' },
    );
  }
  checkPublicKey(certificate.spki, authorityProfile);
  // What passed the check is of an algorithm of ours.
  const algorithm = spkiAlgorithm(certificate.spki).algorithm!;
  const scheme = schemeOf(certificate, algorithm, askedScheme);
  requireKnownScheme(certificate, 'The certificate of the CA');
  if (await isSelfSigned(certificate)) {
    if (parent !== undefined || upper.length > 0) {
      throw new KeyreeveError('invalid-request', 'The certificate is signed by its own key.', {
        hint: 'Leave the parent and further certificates out: nothing is above a root.',
      });
    }
    return { certificate, algorithm, scheme, isRoot: true, upper, signer: undefined };
  }
  // It would pass for a root, and for one that is certified by another CA (RFC 5280, section 3.2).
  if (certificate.issuer.equals(certificate.subject)) {
    throw new KeyreeveError(
      'invalid-request',
      'The certificate was signed by another key of the same CA.',
      { hint: 'Send the one that the key of the CA has signed itself.' },
    );
  }
  const signer = parent === undefined ? undefined : await signerAmong(parent, certificate);
  if (signer === undefined) await requireLinked([certificate, ...upper]);
  return { certificate, algorithm, scheme, isRoot: false, upper: signer ? [] : upper, signer };
}

/** Whether the certificate names itself as its issuer and is signed by the key in it. */
async function isSelfSigned(certificate: Certificate): Promise<boolean> {
  return (
    certificate.issuer.equals(certificate.subject) && isSignedBy(certificate, certificate.spki)
  );
}

/** Whether the signature is that of the key. False where it is by no scheme of ours. */
export async function isSignedBy(certificate: Certificate, spki: Buffer): Promise<boolean> {
  const { tbs, scheme, signature } = certificate;
  return scheme !== undefined && (await verifySigned({ tbs, scheme, signature }, spki));
}

async function signerAmong(parent: Authority, certificate: Certificate): Promise<AuthorityVersion> {
  if (certificate.issuer.equals(parent.subject)) {
    for (const version of parent.versions) {
      if (await isSignedBy(certificate, version.certificate.spki)) return version;
    }
  }
  throw new KeyreeveError(
    'invalid-request',
    `The certificate was not issued by ${parent.key.name}.`,
    {
      hint: 'Leave the parent out, and send the certificate of the CA above it in the same file.',
    },
  );
}

/** Each is signed by the next; of the last, the trust is whoever's takes it for a root. */
async function requireLinked(chain: readonly Certificate[]): Promise<void> {
  for (const [index, certificate] of chain.entries()) {
    const above = chain[index + 1];
    if (above === undefined) break;
    requireAuthority(above, `Certificate ${index + 2} of the file`);
    requireKnownScheme(certificate, `Certificate ${index + 1} of the file`);
    const isLinked =
      certificate.issuer.equals(above.subject) && (await isSignedBy(certificate, above.spki));
    if (!isLinked) {
      throw new KeyreeveError(
        'invalid-request',
        `Certificate ${index + 1} of the file is not signed by the one after it.`,
        { hint: 'Order them: the CA first, then each certificate that signed the one before.' },
      );
    }
  }
  if (chain.length === 1) {
    throw new KeyreeveError(
      'invalid-request',
      `The certificate is signed by another CA (${formatName(chain[0]!.issuerName)}).`,
      {
        hint: 'Name it as the parent if it is in this installation, or add its certificate to the file.',
      },
    );
  }
}

function requireAuthority(certificate: Certificate, what: string): void {
  const { basicConstraints, keyUsage } = certificate.extensions;
  if (basicConstraints?.isAuthority !== true) {
    throw new KeyreeveError('invalid-request', `${what} is not that of a CA.`, {
      hint: 'It needs basicConstraints with CA:TRUE.',
    });
  }
  for (const usage of ['keyCertSign', 'cRLSign'] as const) {
    if (keyUsage === undefined || keyUsage.includes(usage)) continue;
    throw new KeyreeveError('invalid-request', `${what} does not allow ${usage}.`, {
      hint: 'Give the key of the CA a certificate with keyCertSign and cRLSign first.',
    });
  }
}

// What cannot be checked is not believed: of SHA-1 a forger makes pairs.
function requireKnownScheme(certificate: Certificate, what: string): void {
  if (certificate.scheme !== undefined) return;
  throw new KeyreeveError(
    'unknown-scheme',
    `${what} is signed in a way that is not known or not safe any more, such as with SHA-1.`,
    {
      hint: 'Sign it again with SHA-256 under the same name and key (a root: openssl x509 -in old.pem -key ca.key -sha256): what it issued stays as it is.',
    },
  );
}

/**
 * The scheme that was asked for, or the one that the CA has used: relying parties are known to take
 * it. Of a CA that another one certified nothing is known: PKCS#1 v1.5 for RSA, as `openssl ca` signs.
 */
function schemeOf(
  certificate: Certificate,
  algorithm: AlgorithmName,
  asked: string | undefined,
): SchemeName {
  const allowed = schemesFor(algorithm, 'ca');
  const used = allowed.find((name) => name === (asked ?? certificate.scheme));
  if (used !== undefined) return used;
  if (asked !== undefined) {
    throw new KeyreeveError('unknown-scheme', `${algorithm} has no scheme "${asked}" for CAs.`, {
      hint: `It has: ${allowed.join(', ')}.`,
    });
  }
  const usual = allowed.find((name) => schemes[name].form === 'rsa-pkcs1');
  return usual ?? defaultSchemes(algorithm, 'ca')[0]!;
}
