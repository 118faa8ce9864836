import type { RevocationReason } from '../../../api/revocation-reasons.ts';
import type { Caller } from '../../base/caller.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Call, Handlers } from '../../base/handler.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { parseCertificate } from '../../x509/x509.ts';
import { crlDueStep, revocationDueAt } from '../crl-due.ts';
import { blockStep } from './blocked-keys.ts';
import { type ListedRow, stateOf, timeOrNull, Views } from './certificate-view.ts';
import type { Context } from './context.ts';
import { ownerResource } from './rights.ts';
import { derOf, type Found, findCertificate } from './serials.ts';

const action = 'certificate.revoke';
/** Reasons after which nobody may be given a certificate for the key again. */
const compromises: readonly RevocationReason[] = ['keyCompromise', 'cACompromise'];

interface Change {
  readonly call: {
    readonly caller: Caller;
    readonly params: { readonly serial: string };
    readonly body: { readonly ca?: string | undefined };
    readonly idempotencyKey: string | undefined;
  };
  /** What is written, from what there is; throws where it may not be. */
  readonly change: (found: Issued, now: number) => Revocation;
  readonly isRelease?: true;
  readonly detail: Record<string, string>;
  /** What an idempotency key stands for. */
  readonly input: Record<string, string | undefined>;
}

interface Issued extends Found {
  readonly row: ListedRow & { readonly ca_id: string; readonly ca_version: number };
}

type Revocation = Pick<ListedRow, 'revoked_at' | 'reason' | 'invalid_from'> & {
  readonly steps?: readonly Step[];
};

/** The routes that revoke certificates and take them off hold. */
export function createRevocation(
  context: Context,
): Handlers<'certificate.revoke' | 'certificate.release'> {
  return {
    'certificate.revoke': (call) =>
      change(context, {
        call,
        change: (found, now) => revoked(context, call, found, now),
        detail: {
          reason: call.body.reason,
          ...(call.body.invalidFrom === undefined ? {} : { invalidFrom: call.body.invalidFrom }),
        },
        input: { reason: call.body.reason, invalidFrom: call.body.invalidFrom },
      }),
    'certificate.release': (call) =>
      change(context, {
        call,
        change: ({ row }, now) => released(row, now),
        isRelease: true,
        detail: { released: 'true' },
        input: { released: 'true' },
      }),
  };
}

async function change(context: Context, { call, ...rest }: Change) {
  const { storage, commands, keys, clock, onRevoked } = context;
  const { caller } = call;
  const reference = { serial: call.params.serial, ca: call.body.ca };
  const known = await commands.prepare(caller, action, () =>
    findCertificate(context, caller, reference, action),
  );
  const { row } = known;
  const answer = await commands.run(caller, {
    action,
    resource: ownerResource(known.owner),
    // To revoke the certificate of a CA stops harm; to release it vouches for it again.
    also:
      rest.isRelease === true && (await isOfAuthority(context, row.id))
        ? [{ action: 'ca.certify', resource: ownerResource(known.owner) }]
        : [],
    about: aboutOf(known),
    input: { id: row.id, ...rest.input },
    idempotencyKey: call.idempotencyKey,
    act: async () => {
      const now = clock.now();
      await requireCertifier(context, caller, known);
      const found = requireOurs({ ...known, row: await fresh(storage, row) });
      const by = { caId: found.row.ca_id, version: found.row.ca_version };
      await refuseSelfSigned(storage, found);
      const { steps = [], ...columns } = rest.change(found, now);
      const due = await crlDue(storage, by, now);
      const view = await new Views(keys, caller).of({ ...found.row, ...columns });
      return {
        result: { ...view, crlDueAt: timeOrNull(due) },
        steps: [updateStep(storage, found.row, columns), crlDueStep(storage, by, now), ...steps],
        about: { detail: canonicalJson({ subject: row.subject, ...rest.detail }) },
      };
    },
  });
  onRevoked(row.ca_id!, row.ca_version!);
  return answer;
}

/** With the certificate of a CA, all below it falls: that takes the right to certify one. */
async function requireCertifier(
  context: Context,
  caller: Caller,
  { row, owner }: Found,
): Promise<void> {
  if (!(await isOfAuthority(context, row.id))) return;
  context.keys.authorise(caller, 'ca.certify', ownerResource(owner));
}

async function isOfAuthority(context: Context, id: string): Promise<boolean> {
  const der = await derOf(context, id);
  if (der === null) return false;
  return parseCertificate(Buffer.from(der)).extensions.basicConstraints?.isAuthority === true;
}

function aboutOf({ row, owner }: Found) {
  return {
    ...(owner === undefined ? {} : { keyId: owner.id, keyName: owner.name }),
    ...(row.ca_version === null ? {} : { keyVersion: String(row.ca_version) }),
    resource: `certificate ${row.serial}`,
  };
}

function revoked(
  { storage }: Context,
  { caller, body }: Call<'certificate.revoke'>,
  { row, owner }: Issued,
  now: number,
): Revocation {
  const { reason } = body;
  const state = stateOf(row, now);
  if (state === 'revoked' || (state === 'on-hold' && reason === 'certificateHold')) {
    throw new KeyreeveError(
      'already-revoked',
      `The certificate ${row.serial} is revoked since ${formatTime(row.revoked_at!)} (${row.reason}).`,
    );
  }
  if (state === 'expired') throw expired(row);
  const blocks = compromises.includes(reason) && row.key_fingerprint !== null;
  return {
    // What was on hold has not been valid since then.
    revoked_at: row.revoked_at ?? now,
    reason,
    invalid_from: invalidFrom(body.invalidFrom, now),
    steps: blocks
      ? [
          blockStep(storage, {
            fingerprint: row.key_fingerprint!,
            reason: `${reason}: certificate ${row.serial} of ${owner?.name ?? 'another CA'}`,
            created_at: now,
            created_by: caller.principalId,
          }),
        ]
      : [],
  };
}

function released(row: ListedRow, now: number): Revocation {
  const state = stateOf(row, now);
  if (state === 'expired') throw expired(row);
  if (state !== 'on-hold') {
    throw new KeyreeveError(
      state === 'revoked' ? 'already-revoked' : 'state-not-allowed',
      state === 'revoked'
        ? `The certificate ${row.serial} is revoked for good (${row.reason}).`
        : `The certificate ${row.serial} is not on hold.`,
      { hint: 'Only a certificate that is on hold can be released.' },
    );
  }
  return { revoked_at: null, reason: null, invalid_from: null };
}

// It fails every check of its dates, and CRLs leave it out (RFC 5280, section 5).
function expired(row: ListedRow): KeyreeveError {
  return new KeyreeveError(
    'state-not-allowed',
    `The certificate ${row.serial} has expired on ${formatTime(row.not_after)}: no CRL would list it.`,
    { hint: 'To refuse its key from now on: keyreeve cert block-key' },
  );
}

/** Whole seconds, as it stands in a CRL. Error: `invalid-request` for a time to come. */
function invalidFrom(text: string | undefined, now: number): number | null {
  if (text === undefined) return null;
  const time = Math.floor(Date.parse(text) / 1000) * 1000;
  if (time <= now) return time;
  throw new KeyreeveError('invalid-request', 'The time since when it is invalid lies ahead.', {
    hint: 'Give the time since when the key may have been in other hands.',
  });
}

function requireOurs(found: Found): Issued {
  const { row } = found;
  if (row.ca_id !== null && row.ca_version !== null) return found as Issued;
  throw new KeyreeveError(
    'invalid-request',
    `No CA of this installation has issued the certificate ${row.serial}.`,
    { hint: 'Ask its issuer to revoke it.' },
  );
}

/** A root stands on being trusted: a CRL of its own would say of itself that it must not be. */
async function refuseSelfSigned({ db }: Storage, { row, owner }: Issued): Promise<void> {
  if (row.key_fingerprint === null) return;
  const signer = await db
    .selectFrom('key_version')
    .select('fingerprint')
    .where('key_id', '=', row.ca_id)
    .where('version', '=', row.ca_version)
    .executeTakeFirst();
  if (signer?.fingerprint !== row.key_fingerprint) return;
  throw new KeyreeveError(
    'state-not-allowed',
    'A self-signed certificate cannot be revoked: its own CRL proves nothing about it.',
    {
      hint: `Have it removed where it is trusted, and mark its key: keyreeve key state ${owner?.name ?? ''} --state compromised`,
    },
  );
}

/** Refused where it was changed since it was looked at. */
function updateStep(
  { db }: Storage,
  before: ListedRow,
  columns: Pick<ListedRow, 'revoked_at' | 'reason' | 'invalid_from'>,
): Step {
  return {
    query: db
      .updateTable('certificate')
      .set(columns)
      .where('id', '=', before.id)
      .where('reason', before.reason === null ? 'is' : '=', before.reason)
      .compile(),
    expect: {
      rows: 1,
      code: 'conflict',
      message: `The certificate ${before.serial} was revoked or released meanwhile.`,
      hint: 'Look at it again.',
    },
  };
}

async function crlDue(
  { db }: Storage,
  by: { readonly caId: string; readonly version: number },
  now: number,
): Promise<number | null> {
  const row = await db
    .selectFrom('ca_version')
    .select(['crl_due_at', 'crl_published_at'])
    .where('key_id', '=', by.caId)
    .where('version', '=', by.version)
    .executeTakeFirst();
  if (row === undefined) return null;
  return revocationDueAt({ dueAt: row.crl_due_at, publishedAt: row.crl_published_at }, now);
}

async function fresh({ db }: Storage, row: ListedRow): Promise<ListedRow> {
  const now = await db
    .selectFrom('certificate')
    .select(['revoked_at', 'reason', 'invalid_from'])
    .where('id', '=', row.id)
    .executeTakeFirst();
  if (now !== undefined) return { ...row, ...now };
  throw new KeyreeveError('not-found', `The certificate ${row.serial} was purged meanwhile.`);
}
