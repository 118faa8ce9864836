import type { Profile } from '../../../api/profiles.ts';
import type { CertificateIssueBody } from '../../../api/routes/certificates.ts';
import type { Caller } from '../../base/caller.ts';
import { canonicalJson, type Json } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import {
  currentVersion,
  type KeyRecord,
  requireStorage,
  requireUsable,
  resourceOf,
  type VersionRecord,
} from '../../keys/keys.ts';
import {
  type CertificateRequest,
  certificatePem,
  parseConstraint,
  parseGeneralName,
  parseName,
  requestFromText,
  verifySigned,
} from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';
import { sha256 } from '../certificate-record.ts';
import {
  checkPublicKey,
  type IssuerFacts,
  newSerial,
  planCertificate,
  publicKeyFacts,
  type Wanted,
} from '../rules/rules.ts';
import type { Context } from './context.ts';
import type { SignRequest } from './sign-job.ts';

/** Profiles by which a CA makes its own certificates. */
const ownProfiles: readonly string[] = ['root', 'cross'];

/** What is to be certified: a request's key, or one of ours. */
export interface Applicant {
  readonly spki: Buffer;
  /** SHA-256 of it. */
  readonly keyFingerprint: string;
  readonly request?: CertificateRequest;
  readonly key?: { readonly id: string; readonly version: number };
  /** That key, for the rules of where it may live. */
  readonly own?: { readonly record: KeyRecord; readonly version: VersionRecord };
}

/** The issuer, and what of it goes into each answer. */
export interface Issuer {
  readonly authority: Authority;
  readonly version: AuthorityVersion;
  readonly facts: IssuerFacts;
  /** The certificates up to but without the root. */
  readonly chainPem: string;
}

/** A request whose profile and public key are good. */
export interface Prepared {
  readonly caller: Caller;
  readonly issuer: Issuer;
  readonly profile: Profile;
  readonly applicant: Applicant;
  readonly body: CertificateIssueBody;
}

/** Plans certificates, and keeps what it knows of an issuer for as long as that does not change. */
export class IssuePlanner {
  readonly #context: Context;
  readonly #issuers = new WeakMap<AuthorityVersion, Promise<Issuer>>();

  constructor(context: Context) {
    this.#context = context;
  }

  /** 1. Who is to be certified: the request is read, or the key looked up. */
  async applicant(caller: Caller, body: CertificateIssueBody): Promise<Applicant> {
    const { csr, key: reference } = body;
    if ((csr === undefined) === (reference === undefined)) {
      throw new KeyreeveError(
        'invalid-request',
        'A certificate is issued for `csr` or for `key`.',
        {
          hint: 'Give one of them, not both.',
        },
      );
    }
    if (csr !== undefined) {
      const request = requestFromText(csr);
      return { spki: request.spki, keyFingerprint: sha256(request.spki), request };
    }
    return this.#ownKey(caller, reference!);
  }

  async #ownKey(caller: Caller, reference: string): Promise<Applicant> {
    const { keys, clock } = this.#context;
    const key = await keys.lookup(caller, reference, 'key.show');
    keys.authorise(caller, 'key.show', resourceOf(key));
    if (key.purpose !== 'sign') {
      throw new KeyreeveError(
        'purpose-not-allowed',
        `The key ${key.name} is for "${key.purpose}": only keys that sign are certified.`,
        { hint: 'Make a key of purpose "sign", or send a request made with the key.' },
      );
    }
    requireUsable(key, 'sign');
    const version = currentVersion(key, clock.now());
    if (version === undefined) {
      throw new KeyreeveError('state-not-allowed', `No version of ${key.name} is active.`, {
        hint: `Look at: keyreeve key show ${key.name}, and rotate it or change its state.`,
      });
    }
    return {
      spki: Buffer.from(version.publicKey!),
      keyFingerprint: version.fingerprint,
      key: { id: key.id, version: version.version },
      own: { record: key, version },
    };
  }

  /** What the certificate lets the key do has to suit the keystore that holds it. */
  #requireStorage({ own }: Applicant, profile: Profile): void {
    if (own === undefined) return;
    const { keys } = this.#context;
    const { policy, purpose } = own.record;
    const keystore = keys.keystores.holding(own.version.keystore);
    const { extendedKeyUsage } = profile;
    requireStorage(keys.storageTable, { policy, purpose, extendedKeyUsage }, keystore);
  }

  /** The version that issues now. Errors: those of `Authorities.current`. */
  issuer(authority: Authority): Promise<Issuer> {
    const { authorities, clock } = this.#context;
    const version = authorities.current(authority, clock.now());
    let issuer = this.#issuers.get(version);
    if (issuer === undefined) {
      issuer = this.#readIssuer(authority, version);
      this.#issuers.set(version, issuer);
      issuer.catch(() => this.#issuers.delete(version));
    }
    return issuer;
  }

  async #readIssuer(authority: Authority, version: AuthorityVersion): Promise<Issuer> {
    const facts = await this.#context.authorities.issuerFacts(authority, version);
    const chainPem = facts.chain
      .filter((certificate) => !certificate.subject.equals(certificate.issuer))
      .map((certificate) => certificatePem(certificate.der))
      .join('');
    return { authority, version, facts, chainPem };
  }

  /** What can be said before the signature of a request is checked; that check comes next. */
  async prepare(
    caller: Caller,
    authority: Authority,
    applicant: Applicant,
    body: CertificateIssueBody,
    seen: Profile,
  ): Promise<Prepared> {
    const issuer = await this.issuer(authority);
    const profile = await this.profile(body);
    requireAsSeen(seen, profile);
    if (profile.isAuthority) {
      // To make a CA is more than to issue: its holder issues in the name of this one.
      this.#context.keys.authorise(caller, 'ca.certify', resourceOf(authority.key));
    }
    this.#requireStorage(applicant, profile);
    // 3. What can be said of the public key by itself; a weak one is not asked to verify anything.
    checkPublicKey(applicant.spki, profile);
    return { caller, issuer, profile, applicant, body };
  }

  /** 2. What the certificate will say. */
  plan({ caller, issuer, profile, applicant, body }: Prepared): SignRequest {
    const { authority, version, facts } = issuer;
    const now = this.#context.clock.now();
    const fields = planCertificate(profile, facts, wantedOf(body, applicant), {
      now,
      serial: newSerial(now),
    });
    return {
      authority,
      version,
      profile,
      fields,
      chain: facts.chain,
      createdBy: caller.principalId,
      ...(applicant.key === undefined ? {} : { key: applicant.key }),
    };
  }

  /** What the certificate may say. Errors: `unknown-profile`, `profile-not-allowed`. */
  async profile({ profile: name }: CertificateIssueBody): Promise<Profile> {
    if (!ownProfiles.includes(name)) return this.#context.authorities.profile(name);
    throw new KeyreeveError(
      'profile-not-allowed',
      `The profile "${name}" is for certificates that a CA makes for itself.`,
      { hint: 'To make a CA: keyreeve ca create. To give it a new key: keyreeve ca rekey' },
    );
  }
}

/** What approval rules and approvers looked at is what is issued by. Error: `conflict`. */
function requireAsSeen(seen: Profile, now: Profile): void {
  if (seen === now || digestOfProfile(seen) === digestOfProfile(now)) return;
  throw new KeyreeveError('conflict', `The profile ${now.name} was changed meanwhile.`, {
    hint: 'Repeat the request.',
  });
}

/** Profiles are few and stay in memory: each is hashed once. */
const profileDigests = new WeakMap<Profile, string>();

/** SHA-256 of all that a profile says, hexadecimal. */
export function digestOfProfile(profile: Profile): string {
  let digest = profileDigests.get(profile);
  if (digest === undefined) {
    digest = sha256(Buffer.from(canonicalJson(profile as unknown as Json), 'utf8'));
    profileDigests.set(profile, digest);
  }
  return digest;
}

/** 1. The request is signed by the key that it names: its sender holds it (RFC 2986, section 3). */
export async function requireOwnSignature({ applicant: { request } }: Prepared): Promise<void> {
  if (request === undefined) return;
  // The key was parsed by the checks before: that costs as much as a part of the verification.
  if (await verifySigned(request, publicKeyFacts(request.spki))) return;
  throw new KeyreeveError(
    'request-signature-invalid',
    'The certificate request is not signed by the key that it names.',
    { hint: 'Make the request anew, with the private key that belongs to it.' },
  );
}

function wantedOf(body: CertificateIssueBody, { spki, request }: Applicant): Wanted {
  const { nameConstraints } = body;
  return {
    spki,
    subject: body.subject === undefined ? (request?.subjectName ?? []) : parseName(body.subject),
    names:
      body.names === undefined
        ? (request?.extensions.subjectAltNames ?? [])
        : body.names.map(parseGeneralName),
    validitySeconds: body.validitySeconds,
    notAfter: body.notAfter === undefined ? undefined : Date.parse(body.notAfter),
    pathLength: body.pathLength,
    nameConstraints:
      nameConstraints === undefined
        ? undefined
        : {
            permitted: nameConstraints.permitted.map(parseConstraint),
            excluded: nameConstraints.excluded.map(parseConstraint),
          },
    extensions: request?.extensions,
    rawExtensions: request?.rawExtensions,
  };
}
