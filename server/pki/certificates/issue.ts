import { type ErrorCode, errorCodes } from '../../../api/error-codes.ts';
import type { Profile } from '../../../api/profiles.ts';
import type { CertificateIssueBody } from '../../../api/routes/certificates.ts';
import type { Caller } from '../../base/caller.ts';
import { canonicalJson, type Json } from '../../base/canonical-json.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import type { Call, Handlers } from '../../base/handler.ts';
import type { Command } from '../../commands/commands.ts';
import { mapBatch } from '../../crypto/crypto.ts';
import { resourceOf } from '../../keys/keys.ts';
import type { Step } from '../../storage/storage.ts';
import { certifying, type SignedCertificate } from '../authorities/authorities.ts';
import type { Authority } from '../authority.ts';
import { insertCertificates } from '../certificate-record.ts';
import { pemOf, Views } from './certificate-view.ts';
import type { Context } from './context.ts';
import {
  type Applicant,
  digestOfProfile,
  IssuePlanner,
  type Issuer,
  type Prepared,
  requireOwnSignature,
} from './issue-plan.ts';
import type { SignRequest } from './sign-job.ts';
import { unchangedStep } from './signing-checks.ts';

const action = 'certificate.issue';
/** Of the entry of a batch: a field of an entry has its limit, 64 KB. */
const recordedBytesMax = 60_000;

/** One item of a batch: what it asks for, or why it is refused before it is planned. */
interface Asked {
  readonly body: CertificateIssueBody;
  readonly authority: Authority | undefined;
  readonly applicant?: Applicant;
  readonly profile?: Profile;
  readonly error?: Error;
}

interface Planned {
  readonly issuer: Issuer;
  readonly request: SignRequest;
}

/** The routes that issue certificates. */
export function createIssuing(
  context: Context,
): Handlers<'certificate.issue' | 'certificate.issue.batch'> {
  const issuing = new Issuing(context);
  return {
    'certificate.issue': (call) => issuing.one(call),
    'certificate.issue.batch': (call) => issuing.many(call),
  };
}

class Issuing {
  readonly #context: Context;
  readonly #planner: IssuePlanner;

  constructor(context: Context) {
    this.#context = context;
    this.#planner = new IssuePlanner(context);
  }

  async one({ caller, body, idempotencyKey }: Call<'certificate.issue'>) {
    const context = this.#context;
    const { commands, signer, keys } = context;
    const { authority, applicant, profile } = await commands.prepare(caller, action, async () => ({
      authority: await this.#authority(caller, body.ca),
      applicant: await this.#planner.applicant(caller, body),
      profile: await this.#planner.profile(body),
    }));
    const { key } = authority;
    const made: SignedCertificate[] = [];
    return signer.exclusively([applicant.keyFingerprint], () =>
      commands.run(caller, {
        action,
        ...{ resource: resourceOf(key), also: deedsOf(authority, profile) },
        binds: bindsOf([{ applicant, profile }]),
        about: { keyId: key.id, keyName: key.name },
        input: { ...body },
        idempotencyKey,
        raisesEpoch: false,
        act: async (intend) => {
          // 1. to 3. Check the request, plan the certificate.
          const prepared = await this.#planner.prepare(caller, authority, applicant, body, profile);
          await requireOwnSignature(prepared);
          const { issuer } = prepared;
          const request = this.#planner.plan(prepared);
          // 4. to 6. Lint, intend, sign, check.
          const signed = await signer.sign(request, intend);
          made.push(signed);
          // 7. Certificate, search terms and entry in one commit.
          const { row } = signed.record;
          return {
            result: await this.#answer(new Views(keys, caller), issuer, signed),
            steps: [...unchangedSteps(context, [request], [signed]), ...signed.steps],
            about: {
              keyVersion: String(row.ca_version),
              resource: `certificate ${row.serial}`,
              detail: canonicalJson(recorded(signed)),
            },
          };
        },
        undo: () => signer.undo(...made),
      }),
    );
  }

  async many({ caller, body: { items }, idempotencyKey }: Call<'certificate.issue.batch'>) {
    const { commands, signer, storage } = this.#context;
    const asked = await this.#prepareBatch(caller, items);
    const first = asked.find((one) => one.authority !== undefined)!.authority!;
    const made: SignedCertificate[] = [];
    return signer.exclusively(digestsOf(asked), () =>
      commands.run(caller, {
        action,
        ...{ resource: resourceOf(first.key), also: deedsOfAll(asked) },
        binds: bindsOf(asked),
        about: { ...sharedKey(asked), count: String(items.length) },
        input: { items: items.map((item) => ({ ...item })) },
        idempotencyKey,
        raisesEpoch: false,
        act: async (intend) => {
          // 1. to 3. Each request for itself.
          const plans = await this.#planAll(caller, asked);
          const good = plans.filter((plan): plan is Planned => !(plan instanceof Error));
          const requests = good.map(({ request }) => request);
          // 4. to 6. One intent for all.
          const signed = await signer.signMany(requests, intend);
          const outcomes = inPlace(plans, signed);
          made.push(...signed.filter((one): one is SignedCertificate => !(one instanceof Error)));
          // 7. One commit for all that are good.
          const records = made.map(({ record }) => record);
          return {
            result: { items: await this.#answers(caller, plans, outcomes) },
            steps: [
              ...unchangedSteps(this.#context, requests, made),
              ...insertCertificates(storage, records),
            ],
            about: { detail: batchDetail(outcomes) },
          };
        },
        undo: () => signer.undo(...made),
      }),
    );
  }

  /** A CA for whom the caller may have certificates issued. */
  async #authority(caller: Caller, reference: string): Promise<Authority> {
    const { authorities, keys } = this.#context;
    const authority = await authorities.lookup(caller, reference, action);
    keys.authorise(caller, action, resourceOf(authority.key));
    return authority;
  }

  /** Who asks for what; where no CA may be asked at all, the batch is refused as a whole. */
  async #prepareBatch(
    caller: Caller,
    items: readonly CertificateIssueBody[],
  ): Promise<readonly Asked[]> {
    return this.#context.commands.prepare(caller, action, async () => {
      const asked = await mapBatch(items, (item) => this.#asked(caller, item));
      const [first] = asked;
      if (asked.every((one) => one.authority === undefined)) throw first!.error;
      return asked;
    });
  }

  async #asked(caller: Caller, body: CertificateIssueBody): Promise<Asked> {
    let authority: Authority | undefined;
    try {
      authority = await this.#authority(caller, body.ca);
      const applicant = await this.#planner.applicant(caller, body);
      return { body, authority, applicant, profile: await this.#planner.profile(body) };
    } catch (error) {
      return { body, authority, error: asError(error) };
    }
  }

  /**
   * Each kind of work for all items before the next kind: signatures that are checked one after
   * the other keep the thread pool busy. With planning in between its threads go to sleep and are
   * woken again for each of them.
   */
  async #planAll(caller: Caller, asked: readonly Asked[]): Promise<(Planned | Error)[]> {
    const prepared = await mapBatch(asked, (one) => this.#prepared(caller, one));
    const checked = await mapBatch(prepared, async (one) =>
      one instanceof Error ? one : requireOwnSignature(one).then(() => one, asError),
    );
    return checked.map((one) => (one instanceof Error ? one : this.#planned(one)));
  }

  async #prepared(caller: Caller, asked: Asked): Promise<Prepared | Error> {
    const { body, authority, applicant, profile, error } = asked;
    if (authority === undefined || applicant === undefined || profile === undefined) return error!;
    return this.#planner.prepare(caller, authority, applicant, body, profile).catch(asError);
  }

  #planned(prepared: Prepared): Planned | Error {
    try {
      return { issuer: prepared.issuer, request: this.#planner.plan(prepared) };
    } catch (error) {
      return asError(error);
    }
  }

  async #answers(
    caller: Caller,
    plans: readonly (Planned | Error)[],
    outcomes: readonly (SignedCertificate | Error)[],
  ) {
    const views = new Views(this.#context.keys, caller);
    const answers = [];
    for (const [index, outcome] of outcomes.entries()) {
      const plan = plans[index]!;
      if (outcome instanceof Error || plan instanceof Error) {
        answers.push({ error: errorOf(outcome as Error) });
      } else {
        answers.push({ certificate: await this.#answer(views, plan.issuer, outcome) });
      }
    }
    return answers;
  }

  async #answer(views: Views, { chainPem }: Issuer, { record }: SignedCertificate) {
    const { der, ...row } = record.row;
    return {
      ...(await views.of(row)),
      certificate: pemOf(der),
      chain: chainPem,
      notes: [...this.#context.notes()],
    };
  }
}

type Deeds = NonNullable<Command<unknown>['also']>;

/** What approval rules look at beside the issuing itself: whether it makes a CA. */
function deedsOf(authority: Authority, profile: Profile): Deeds {
  return profile.isAuthority ? [certifying(authority)] : [];
}

/** Each CA of a batch, and whether it certifies another one. */
function deedsOfAll(asked: readonly Asked[]): Deeds {
  const deeds: Deeds[number][] = [];
  const known = new Set<string>();
  for (const { authority, profile } of asked) {
    // What is wrong with an item is said in its place.
    if (authority === undefined) continue;
    const { key } = authority;
    const combination = `${key.id} ${profile?.name}`;
    if (known.has(combination)) continue;
    known.add(combination);
    deeds.push({ action, resource: resourceOf(key) });
    if (profile !== undefined) deeds.push(...deedsOf(authority, profile));
  }
  return deeds;
}

/** What changes without the CA: the profiles as they are now, and the versions of keys of ours. */
function bindsOf(asked: readonly Pick<Asked, 'applicant' | 'profile'>[]): Json {
  const profiles: Record<string, string> = {};
  const publicKeys = new Set<string>();
  for (const { applicant, profile } of asked) {
    if (profile !== undefined) profiles[profile.name] = digestOfProfile(profile);
    if (applicant?.own !== undefined) publicKeys.add(applicant.keyFingerprint);
  }
  return { profiles, publicKeys: [...publicKeys] };
}

/** The CAs that have signed something are as they were read, and its keys are not blocked. */
function unchangedSteps(
  { storage, clock }: Context,
  requests: readonly SignRequest[],
  made: readonly SignedCertificate[],
): Step[] {
  if (made.length === 0) return [];
  const signers = new Set(made.map(({ record }) => record.row.ca_id));
  const issuers = requests
    .map(({ authority }) => authority.key)
    .filter(({ id }) => signers.has(id));
  const distinct = new Map(issuers.map((key) => [key.id, key]));
  const exclusive = new Set(
    requests.filter(({ profile }) => profile.exclusiveKey).map(({ profile }) => profile.name),
  );
  const keys = made.map(({ record: { row } }) => ({
    fingerprint: row.key_fingerprint!,
    subject: row.subject,
    exclusive: exclusive.has(row.profile),
  }));
  return [unchangedStep(storage, [...distinct.values()], keys, clock.now())];
}

/** The outcome of each item of a list of which only the planned ones were signed. */
function inPlace(
  plans: readonly (Planned | Error)[],
  signed: readonly (SignedCertificate | Error)[],
): readonly (SignedCertificate | Error)[] {
  let next = 0;
  return plans.map((plan) => (plan instanceof Error ? plan : signed[next++]!));
}

function digestsOf(asked: readonly Asked[]): string[] {
  return asked.flatMap(({ applicant }) =>
    applicant === undefined ? [] : [applicant.keyFingerprint],
  );
}

/** The CA of the entry, where it is the same for all. */
function sharedKey(asked: readonly Asked[]): { keyId: string; keyName: string } | object {
  const keys = new Map(
    asked.flatMap(({ authority }) => (authority ? [[authority.key.id, authority.key]] : [])),
  );
  const [key] = keys.values();
  return key === undefined || keys.size > 1 ? {} : { keyId: key.id, keyName: key.name };
}

/** What was issued, and how many were refused for what. Subjects are left out where they are long. */
function batchDetail(outcomes: readonly (SignedCertificate | Error)[]): string {
  const made = outcomes.filter((one): one is SignedCertificate => !(one instanceof Error));
  const refused: Record<string, number> = {};
  for (const outcome of outcomes) {
    if (!(outcome instanceof Error)) continue;
    const { code } = errorOf(outcome);
    refused[code] = (refused[code] ?? 0) + 1;
  }
  const certificates = made.map((one) => ({
    ca: one.record.row.ca_id,
    version: one.record.row.ca_version,
    serial: one.record.row.serial,
    ...recorded(one),
  }));
  const whole = JSON.stringify({ certificates, refused });
  if (Buffer.byteLength(whole) <= recordedBytesMax) return whole;
  const short = certificates.map(({ subject: _, ...rest }) => rest);
  return JSON.stringify({ certificates: short, refused });
}

/** What the record says of a certificate. */
function recorded({ record: { row } }: SignedCertificate) {
  return { fingerprint: row.fingerprint, profile: row.profile, subject: row.subject };
}

function errorOf(error: Error): { code: ErrorCode; message: string } {
  return isKeyreeveError(error)
    ? { code: error.code, message: error.message }
    : { code: 'internal', message: errorCodes.internal.title };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
