import type { Clock } from '../../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../../base/errors.ts';
import { Mutexes } from '../../base/mutex.ts';
import type { Intend } from '../../commands/commands.ts';
import { mapBatch, verify } from '../../crypto/crypto.ts';
import { findVersion, type KeyRecord, type Keys } from '../../keys/keys.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import {
  assembleSigned,
  type Certificate,
  decodeName,
  encodeTbsCertificate,
  parseCertificate,
} from '../../x509/x509.ts';
import type { SignedCertificate, Signing } from '../authorities/authorities.ts';
import {
  type CertificateRecord,
  insertCertificate,
  recordOf,
  sha256,
} from '../certificate-record.ts';
import { lintCertificate } from '../rules/rules.ts';
import { hasRow, signIntent, storeRevoked } from './lost-certificates.ts';
import {
  aboutIntent,
  announcedOf,
  authorityJob,
  checkedOf,
  type Drafted,
  type Job,
  requireSigner,
  type SelfSignRequest,
  type SignRequest,
} from './sign-job.ts';
import { type Checked, checkStep, findFault, findRefusals, refusal } from './signing-checks.ts';

export interface CertificateSignerOptions {
  readonly storage: Storage;
  readonly keys: Keys;
  readonly clock: Clock;
  /** Called once a CRL is due. */
  readonly onRevoked?: (caId: string, version: number) => void;
}

/**
 * Signs certificates: lints what is about to be signed, announces it with its serial number,
 * signs, checks the signature, and makes the rows. What calls it writes them, or calls `undo`.
 */
export class CertificateSigner implements Signing {
  readonly #storage: Storage;
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #onRevoked: (caId: string, version: number) => void;
  readonly #publicKeys = new Mutexes();
  /** Digests of CA certificates, for as long as those are kept. */
  readonly #fingerprints = new WeakMap<Certificate, string>();

  constructor(options: CertificateSignerOptions) {
    this.#storage = options.storage;
    this.#keys = options.keys;
    this.#clock = options.clock;
    this.#onRevoked = options.onRevoked ?? (() => undefined);
  }

  /**
   * Work on these public keys (SHA-256 each), one after the other: between the look at who holds a
   * key and the commit nobody else is given a certificate for it.
   */
  exclusively<Result>(
    keyFingerprints: readonly string[],
    work: () => Promise<Result>,
  ): Promise<Result> {
    // In one order for all, so that nobody waits for somebody who waits for him.
    return [...new Set(keyFingerprints)]
      .sort()
      .reduceRight<() => Promise<Result>>(
        (inner, fingerprint) => () => this.#publicKeys.run(fingerprint, inner),
        work,
      )();
  }

  /** Errors: `lint-failed`, `public-key-refused`, `state-not-allowed`, `conflict` and the keystore's. */
  async sign(request: SignRequest, intend: Intend): Promise<SignedCertificate> {
    return only(await this.#run([authorityJob(request)], intend));
  }

  /** As `sign`, by the key that is certified. */
  async signSelf(request: SelfSignRequest, intend: Intend): Promise<SignedCertificate> {
    const { key, version, ...rest } = request;
    return only(
      await this.#run(
        [
          {
            ...rest,
            issuerKey: key,
            issuerVersion: findVersion(key, version),
            issuer: undefined,
            chain: [],
            key: { id: key.id, version },
          },
        ],
        intend,
      ),
    );
  }

  /** Many at once, with one intent; each has its own outcome, in the order of the list. */
  signMany(
    requests: readonly SignRequest[],
    intend: Intend,
  ): Promise<(SignedCertificate | Error)[]> {
    return this.#run(requests.map(authorityJob), intend);
  }

  /** What was signed and could not be stored is stored as revoked. */
  async undo(...made: readonly SignedCertificate[]): Promise<void> {
    const lost = (await this.#unstored(made)).map(({ certificate, record: { row } }) => ({
      certificate,
      by: {
        caId: row.ca_id!,
        caVersion: row.ca_version!,
        profile: row.profile,
        createdBy: row.created_by,
        key: row.key_id === null ? undefined : { id: row.key_id, version: row.key_version! },
      },
    }));
    if (lost.length === 0) return;
    const revoked = await storeRevoked(
      { storage: this.#storage, clock: this.#clock, onRevoked: this.#onRevoked },
      lost,
      { steps: [], entries: [] },
    );
    revoked();
  }

  /** Those that another node has not stored as revoked, having taken this one for gone. */
  async #unstored(made: readonly SignedCertificate[]): Promise<SignedCertificate[]> {
    const unstored: SignedCertificate[] = [];
    for (const one of made) {
      const { ca_id, serial } = one.record.row;
      if (!(await hasRow(this.#storage, ca_id!, serial))) unstored.push(one);
    }
    return unstored;
  }

  async #run(jobs: readonly Job[], intend: Intend): Promise<(SignedCertificate | Error)[]> {
    const now = this.#clock.now();
    // 4. Lint what is about to be signed.
    const drafts = jobs.map((job) => attempt(() => this.#draft(job, now)));
    refuseShared(drafts);
    // 5. The intent is on disk before a signature is made, by a write that checks what it rests on.
    await this.#announce(drafts, intend, now);
    // 6. Sign, and check the signature before anybody sees it.
    return mapBatch(drafts, async (draft) =>
      draft instanceof Error ? draft : this.#signed(draft).catch(asError),
    );
  }

  #draft(job: Job, now: number): Drafted {
    const { issuerKey, issuerVersion, fields, profile } = job;
    requireSigner(issuerKey, issuerVersion, now);
    const tbs = encodeTbsCertificate(fields);
    lintCertificate(tbs, job.issuer, profile);
    const record = recordOf(
      { ...fields, subjectName: decodeName(fields.subject), der: null },
      {
        ca: { id: issuerKey.id, version: issuerVersion.version },
        profile: profile.name,
        createdAt: now,
        createdBy: job.createdBy,
        key: job.key,
      },
    );
    return { ...job, tbs, record };
  }

  async #signed(draft: Drafted): Promise<SignedCertificate> {
    const { issuerKey, issuerVersion, fields, tbs, record } = draft;
    const { scheme } = fields;
    const signature = await this.#keys.sign(issuerVersion, scheme, tbs);
    // A fault of a token or of memory must not leave the house: it can give the private key away.
    if (!(await verify(scheme, this.#keys.publicKey(issuerVersion), tbs, signature))) {
      throw new KeyreeveError(
        'integrity-failed',
        `The keystore of ${issuerKey.name} gave a signature that does not verify.`,
        { hint: 'Nothing was issued. Check the keystore before you repeat the request.' },
      );
    }
    const der = assembleSigned(tbs, scheme, signature);
    const row = { ...record.row, der, fingerprint: sha256(der) };
    return new Signed(this.#storage, { ...record, row }, der);
  }

  /**
   * Announces all that is good. Where the database refuses keys of a list, their items are refused
   * and the others announced anew: asking before each write would cost every list two readings.
   */
  async #announce(drafts: (Drafted | Error)[], intend: Intend, now: number): Promise<void> {
    for (;;) {
      const announced = drafts.filter((draft): draft is Drafted => !(draft instanceof Error));
      if (announced.length === 0) return;
      const checked = this.#checked(announced);
      try {
        const intent = signIntent(announced.map(announcedOf));
        await intend(intent, aboutIntent(announced), [checkStep(this.#storage, checked, now)]);
        return;
      } catch (error) {
        if (!isKeyreeveError(error, 'conflict')) throw error;
        if (drafts.length > 1 && (await this.#refuseKeys(drafts, checked, now))) continue;
        throw (await findFault(this.#storage, checked, now)) ?? error;
      }
    }
  }

  #checked(announced: readonly Drafted[]): Checked {
    const issuers = new Map<string, KeyRecord>();
    const chain = new Set<string>();
    for (const job of announced) {
      if (job.issuer === undefined) continue;
      issuers.set(job.issuerKey.id, job.issuerKey);
      for (const certificate of job.chain) chain.add(this.#fingerprintOf(certificate));
    }
    return {
      issuers: [...issuers.values()],
      chain: [...chain],
      keys: announced.map(checkedOf),
    };
  }

  /** Refuses the items of a list whose key is refused; false where there is none. */
  async #refuseKeys(drafts: (Drafted | Error)[], { keys }: Checked, now: number): Promise<boolean> {
    const refused = await findRefusals(this.#storage, keys, now);
    for (const [index, draft] of drafts.entries()) {
      if (draft instanceof Error) continue;
      drafts[index] = refused.get(draft.record.row.key_fingerprint!) ?? draft;
    }
    return refused.size > 0;
  }

  #fingerprintOf(certificate: Certificate): string {
    let fingerprint = this.#fingerprints.get(certificate);
    if (fingerprint === undefined) {
      fingerprint = sha256(certificate.der);
      this.#fingerprints.set(certificate, fingerprint);
    }
    return fingerprint;
  }
}

/** Refuses the items of a list that want a key for another subject than one before them. */
function refuseShared(drafts: (Drafted | Error)[]): void {
  const subjects = new Map<string, string>();
  for (const [index, draft] of drafts.entries()) {
    if (draft instanceof Error) continue;
    const { fingerprint, subject, exclusive } = checkedOf(draft);
    const other = subjects.get(fingerprint);
    if (exclusive && other !== undefined && other !== subject) drafts[index] = refusal('inUse');
    else subjects.set(fingerprint, subject);
  }
}

/** Parsed and written when asked for: most are only stored, and a batch stores all of its at once. */
class Signed implements SignedCertificate {
  readonly record: CertificateRecord;
  readonly #storage: Storage;
  readonly #der: Buffer;
  #certificate: Certificate | undefined;

  constructor(storage: Storage, record: CertificateRecord, der: Buffer) {
    this.#storage = storage;
    this.record = record;
    this.#der = der;
  }

  get certificate(): Certificate {
    this.#certificate ??= parseCertificate(this.#der);
    return this.#certificate;
  }

  get steps(): readonly Step[] {
    return insertCertificate(this.#storage, this.record);
  }
}

function only(results: readonly (SignedCertificate | Error)[]): SignedCertificate {
  const [result] = results;
  if (result === undefined || result instanceof Error) throw result;
  return result;
}

function attempt<Result>(work: () => Result): Result | Error {
  try {
    return work();
  } catch (error) {
    return asError(error);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
