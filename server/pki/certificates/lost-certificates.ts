import { z } from 'zod';
import { canonicalJson } from '../../base/canonical-json.ts';
import type { Clock } from '../../base/clock.ts';
import { isKeyreeveError } from '../../base/errors.ts';
import {
  everyNodeIsGone,
  type Intent,
  type IsOrphan,
  orphanedIntents,
  serviceEntry,
  settleStep,
  takeIntent,
} from '../../commands/commands.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { type CertificateBody, parseTbsCertificate } from '../../x509/x509.ts';
import { type CertificateRecord, insertCertificate, recordOf } from '../certificate-record.ts';
import { crlDueStep } from '../crl-due.ts';

const signIntentKind = 'certificate.sign';

const announced = z.object({
  caId: z.string(),
  caVersion: z.number(),
  /** Hexadecimal. */
  serial: z.string(),
  /** What is signed, base64. */
  tbs: z.string(),
  profile: z.string(),
  key: z.object({ id: z.string(), version: z.number() }).optional(),
  createdBy: z.string(),
});
const payload = z.object({ certificates: z.array(announced) });

/** A certificate that is about to be signed, as its intent says it. */
export type Announced = z.output<typeof announced>;

/** The intent that is on disk before the signatures are made. */
export function signIntent(certificates: readonly Announced[]): Intent {
  const list = certificates.map(({ key, ...rest }) =>
    key === undefined ? rest : { ...rest, key },
  );
  return { kind: signIntentKind, payload: { certificates: list } };
}

export interface LostOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Called once a CRL is due. */
  readonly onRevoked: (caId: string, version: number) => void;
}

/** What was signed, or may have been, and has no row. */
export interface Lost {
  /** Without the certificate itself where the signature is not known. */
  readonly certificate: CertificateBody & { readonly der: Buffer | null };
  readonly by: Omit<Announced, 'serial' | 'tbs'>;
}

/**
 * Settles what a crash left: each certificate that may have been signed and has no row gets one,
 * revoked, and is on the next CRL. Returns how many intents were settled.
 */
export async function settleCertificates(
  options: LostOptions,
  isOrphan: IsOrphan = everyNodeIsGone,
): Promise<number> {
  const { storage, clock } = options;
  let settled = 0;
  for (const intent of await orphanedIntents(storage, signIntentKind, isOrphan)) {
    // From here on its node cannot store them any more: what has no row by now gets none from it.
    if (!(await takeIntent(storage, intent))) continue;
    const { certificates } = payload.parse(intent.payload);
    const lost: Lost[] = [];
    for (const item of certificates) {
      const { caId, serial } = item;
      if (!(await hasRow(storage, caId, serial))) lost.push(lostFrom(item));
    }
    const writing = storeRevoked(options, lost, {
      steps: [settleStep(storage, intent)],
      entries: [
        serviceEntry(clock, 'intent.settled', lost.length === 0 ? 'ok' : 'conflict', {
          intentId: intent.id,
          count: String(certificates.length),
        }),
      ],
    });
    const revoked = await writing.catch((error: unknown) => {
      // Another node was at it too, and was first.
      if (isKeyreeveError(error, 'conflict')) return undefined;
      throw error;
    });
    if (revoked === undefined) continue;
    revoked();
    settled++;
  }
  return settled;
}

/**
 * Stores certificates as revoked that nobody was given, with an entry for each, in one write with
 * what else is asked. Those of CAs that are not there (their making failed) are nothing to anybody
 * and are left out. Answers what tells the publisher.
 */
export async function storeRevoked(
  options: LostOptions,
  lost: readonly Lost[],
  more: {
    readonly steps: readonly Step[];
    readonly entries: readonly ReturnType<typeof serviceEntry>[];
  },
): Promise<() => void> {
  const { storage, clock, onRevoked } = options;
  const now = clock.now();
  const known = await knownKeys(storage, lost);
  const mine = lost.filter(({ by }) => known.has(by.caId));
  if (mine.length === 0 && more.steps.length === 0) return () => undefined;
  const records = mine.map((one) => revokedRecord(one, known, now));
  const versions = new Map(mine.map(({ by }) => [`${by.caId}@${by.caVersion}`, by]));
  await storage.commit({
    steps: [
      ...records.flatMap((record) => insertCertificate(storage, record)),
      ...[...versions.values()].map((by) =>
        crlDueStep(storage, { caId: by.caId, version: by.caVersion }, now),
      ),
      ...more.steps,
    ],
    entries: [
      ...records.map(({ row }) =>
        serviceEntry(clock, 'certificate.revoke', 'ok', {
          keyId: row.ca_id!,
          keyName: known.get(row.ca_id!)!,
          keyVersion: String(row.ca_version),
          resource: `certificate ${row.serial}`,
          detail: canonicalJson({
            reason: row.reason,
            subject: row.subject,
            cause: 'signed and not stored',
          }),
        }),
      ),
      ...more.entries,
    ],
    raisesEpoch: records.length > 0,
  });
  return () => {
    for (const by of versions.values()) onRevoked(by.caId, by.caVersion);
  };
}

/** The names of the keys that are named, by id: those of CAs and of what they certify. */
async function knownKeys(
  { db }: Storage,
  lost: readonly Lost[],
): Promise<ReadonlyMap<string, string>> {
  const ids = new Set(lost.flatMap(({ by }) => [by.caId, ...(by.key ? [by.key.id] : [])]));
  if (ids.size === 0) return new Map();
  const rows = await db
    .selectFrom('key')
    .select(['id', 'name'])
    .where('id', 'in', [...ids])
    .execute();
  return new Map(rows.map(({ id, name }) => [id, name]));
}

function revokedRecord(
  { certificate, by }: Lost,
  known: ReadonlyMap<string, string>,
  now: number,
): CertificateRecord {
  const record = recordOf(certificate, {
    ca: { id: by.caId, version: by.caVersion },
    profile: by.profile,
    createdAt: now,
    createdBy: by.createdBy,
    // The key may have been on its way into the database by the write that was refused.
    key: by.key !== undefined && known.has(by.key.id) ? by.key : undefined,
  });
  return { ...record, row: { ...record.row, revoked_at: now, reason: 'unspecified' } };
}

/** Whether a CA has a certificate of that serial number. */
export async function hasRow({ db }: Storage, caId: string, serial: string): Promise<boolean> {
  const row = await db
    .selectFrom('certificate')
    .select('id')
    .where('serial', '=', serial)
    .where('ca_id', '=', caId)
    .executeTakeFirst();
  return row !== undefined;
}

function lostFrom(item: Announced): Lost {
  const body = parseTbsCertificate(Buffer.from(item.tbs, 'base64'));
  return { certificate: { ...body, der: null }, by: item };
}
