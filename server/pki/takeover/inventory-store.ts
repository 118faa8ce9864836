import type { ExpressionBuilder } from 'kysely';
import type { Schema, Step, Storage } from '../../storage/storage.ts';
import { type Certificate, parseCertificate } from '../../x509/x509.ts';
import type { Authority } from '../authority.ts';
import { type CertificateRecord, certificateColumns } from '../certificate-record.ts';
import { isSignedBy } from './authority-certificate.ts';
import type { ChangedRow, MergedInventory, StoredRow } from './inventory-merge.ts';

/** Rows of one statement: SQLite takes 32,766 values, PostgreSQL 65,535. */
const rowsPerStatement = 100;
const valuesPerRead = 500;

/**
 * What is stored of these serial numbers: rows of the CA, and certificates that it has signed and
 * whose issuer was not known when they came (the CA's own, and those of CAs below it).
 */
export async function storedRows(
  storage: Storage,
  authority: Authority,
  own: Certificate,
  serials: readonly string[],
): Promise<StoredRow[]> {
  const found: StoredRow[] = [];
  for (let start = 0; start < serials.length; start += valuesPerRead) {
    const some = serials.slice(start, start + valuesPerRead);
    const rows = await storage.db
      .selectFrom('certificate')
      .select(certificateColumns)
      .where('serial', 'in', some)
      .where('ca_id', '=', authority.key.id)
      .execute();
    found.push(...rows.map((row) => ({ ...row, der: null })));
    const orphans = await storage.db
      .selectFrom('certificate')
      .select([...certificateColumns, 'der'])
      .where('serial', 'in', some)
      .where('ca_id', 'is', null)
      .execute();
    for (const orphan of orphans) if (await isIssuedBy(own, orphan.der)) found.push(orphan);
  }
  return found;
}

/** Certificates by the ids of their rows. */
export async function storedCertificates(
  storage: Storage,
  ids: readonly string[],
): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  for (let start = 0; start < ids.length; start += valuesPerRead) {
    const rows = await storage.db
      .selectFrom('certificate')
      .select(['id', 'der'])
      .where('id', 'in', ids.slice(start, start + valuesPerRead))
      .execute();
    for (const { id, der } of rows) if (der !== null) found.set(id, der);
  }
  return found;
}

/** Whether another key or CA here has one of these public keys (SHA-256 each). */
export async function isHeldElsewhere(
  { db }: Storage,
  { key }: Authority,
  fingerprints: readonly string[],
): Promise<boolean> {
  for (let start = 0; start < fingerprints.length; start += valuesPerRead) {
    const some = fingerprints.slice(start, start + valuesPerRead);
    const found = await db
      .selectFrom('certificate')
      .select('key_fingerprint as fingerprint')
      .where('key_fingerprint', 'in', some)
      .where((where) => where.or([where('ca_id', 'is', null), where('ca_id', '!=', key.id)]))
      .where('revoked_at', 'is', null)
      .union(
        db
          .selectFrom('key_version')
          .select('fingerprint')
          .where('fingerprint', 'in', some)
          .where('key_id', '!=', key.id),
      )
      .limit(1)
      .executeTakeFirst();
    if (found !== undefined) return true;
  }
  return false;
}

/** Writes what was merged, all of it or nothing, while the CA is still being taken over. */
export function mergeSteps(
  storage: Storage,
  authority: Authority,
  merged: MergedInventory,
  by: { readonly now: number; readonly createdBy: string },
): Step[] {
  return [
    stillImporting(storage, authority),
    ...insertSteps(storage, merged.added),
    ...merged.changed.flatMap((change) => changeSteps(storage, authority, change)),
    ...blockSteps(storage, merged.compromised, by),
  ];
}

/** Whoever counts to end the take-over notices that a portion came meanwhile, in whatever process. */
function stillImporting(storage: Storage, authority: Authority): Step {
  return {
    query: storage.db
      .updateTable('ca')
      .set((expression) => ({ revision: expression('revision', '+', 1) }))
      .where('key_id', '=', authority.key.id)
      .where('state', '=', 'importing')
      .where(isKept)
      .compile(),
    expect: {
      rows: 1,
      code: 'state-not-allowed',
      message: `${authority.key.name} is not being taken over any more.`,
    },
  };
}

/** Whether the key of the CA is not to be destroyed. */
export function isKept({ exists, selectFrom }: ExpressionBuilder<Schema, 'ca'>) {
  return exists(
    selectFrom('key')
      .select('key.id')
      .whereRef('key.id', '=', 'ca.key_id')
      .where('key.destroy_at', 'is', null),
  );
}

/** Many certificates at once: one statement for a hundred of them. */
function insertSteps(storage: Storage, records: readonly CertificateRecord[]): Step[] {
  const { db } = storage;
  const steps: Step[] = [];
  for (const rows of inPieces(records.map(({ row }) => row))) {
    steps.push({
      query: db.insertInto('certificate').values(rows).compile(),
      expect: { rows: rows.length, ...meanwhile },
    });
  }
  const names = records.flatMap(({ row, terms }) =>
    terms.map((term) => ({ term, certificate_id: row.id })),
  );
  return [...steps, ...insertAllNames(storage, names)];
}

/** What a certificate is searched by. */
export function insertNames(storage: Storage, id: string, terms: readonly string[]): Step[] {
  return insertAllNames(
    storage,
    terms.map((term) => ({ term, certificate_id: id })),
  );
}

function insertAllNames(
  { db }: Storage,
  names: readonly { readonly term: string; readonly certificate_id: string }[],
): Step[] {
  return inPieces(names).map((rows) => ({
    query: db.insertInto('certificate_name').values(rows).compile(),
  }));
}

const meanwhile = {
  code: 'conflict',
  message: 'Another portion changed the same certificates meanwhile.',
  hint: 'Send this one again: what is known already counts as done.',
} as const;

/** Sets what is new in the row, if it still says what was looked at. */
function changeSteps(
  storage: Storage,
  authority: Authority,
  { before, after, terms }: ChangedRow,
): Step[] {
  const { db } = storage;
  const isCompleted = before.fingerprint === null && after.fingerprint !== null;
  const isAdopted = before.ca_id === null;
  const update = db
    .updateTable('certificate')
    .set({
      revoked_at: after.revoked_at,
      reason: after.reason,
      invalid_from: after.invalid_from,
      ...(isAdopted ? { ca_id: after.ca_id, ca_version: after.ca_version } : {}),
      ...(isCompleted
        ? {
            subject: after.subject,
            not_before: after.not_before,
            fingerprint: after.fingerprint,
            key_fingerprint: after.key_fingerprint,
            key_id: after.key_id,
            key_version: after.key_version,
            names_json: after.names_json,
            der: after.der,
          }
        : {}),
    })
    .where('id', '=', before.id)
    .where('revoked_at', before.revoked_at === null ? 'is' : '=', before.revoked_at)
    .where('ca_id', before.ca_id === null ? 'is' : '=', before.ca_id)
    .where('fingerprint', before.fingerprint === null ? 'is' : '=', before.fingerprint);
  const steps: Step[] = [
    { query: update.compile(), expect: { rows: 1, ...meanwhile } },
    ...insertNames(storage, before.id, terms),
  ];
  const below = before.key_id;
  if (isAdopted && below !== null && below !== authority.key.id) {
    // A CA of ours whose parent was not here until now.
    steps.push({
      query: db
        .updateTable('ca')
        .set((expression) => ({
          parent_id: authority.key.id,
          revision: expression('revision', '+', 1),
        }))
        .where('key_id', '=', below)
        .where('parent_id', 'is', null)
        .compile(),
    });
  }
  return steps;
}

/** Keys that were given up are refused from now on, in whatever certificate. */
function blockSteps(
  storage: Storage,
  compromised: MergedInventory['compromised'],
  { now, createdBy }: { readonly now: number; readonly createdBy: string },
): Step[] {
  const once = new Map(compromised.map((key) => [key.fingerprint, key]));
  const rows = [...once.values()].map(({ fingerprint, reason }) => ({
    fingerprint,
    reason,
    created_at: now,
    created_by: createdBy,
  }));
  return inPieces(rows).map((some) => ({
    query: storage.db
      .insertInto('blocked_key')
      .values(some)
      .onConflict((conflict) => conflict.column('fingerprint').doNothing())
      .compile(),
  }));
}

async function isIssuedBy(own: Certificate, der: Uint8Array | null): Promise<boolean> {
  if (der === null) return false;
  const certificate = parseCertificate(Buffer.from(der));
  return certificate.issuer.equals(own.subject) && isSignedBy(certificate, own.spki);
}

function inPieces<Item>(items: readonly Item[]): Item[][] {
  const pieces: Item[][] = [];
  for (let start = 0; start < items.length; start += rowsPerStatement) {
    pieces.push(items.slice(start, start + rowsPerStatement));
  }
  return pieces;
}
