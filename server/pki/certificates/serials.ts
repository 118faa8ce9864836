import type { Action } from '../../../api/actions.ts';
import type { Caller } from '../../base/caller.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { type KeyRecord, resourceOf } from '../../keys/keys.ts';
import { certificateColumns, normalSerial } from '../certificate-record.ts';
import { type CertificateRow, isAllowed, type ListedRow } from './certificate-view.ts';
import type { Context } from './context.ts';
import { ownerOf, ownerResource } from './rights.ts';

/** A certificate that was named by its serial number, and whose it is for the access rules. */
export interface Found<Row extends ListedRow = ListedRow> {
  readonly row: Row;
  readonly owner: KeyRecord | undefined;
}

export interface Reference {
  readonly serial: string;
  /** The CA, where several have issued the number. */
  readonly ca: string | undefined;
}

/**
 * The certificate of a serial number, among those that the caller may see or act on: of any other
 * he does not learn that it exists. Errors: `not-found`, `serial-ambiguous`, `forbidden`.
 */
export async function findCertificate(
  context: Pick<Context, 'storage' | 'keys' | 'authorities'>,
  caller: Caller,
  { serial, ca }: Reference,
  action: Action,
): Promise<Found> {
  const { storage, keys, authorities } = context;
  let query = storage.db
    .selectFrom('certificate')
    .select(certificateColumns)
    .where('serial', '=', normalSerial(serial));
  if (ca !== undefined) {
    const { key } = await authorities.lookup(caller, ca, action);
    if (!mayAny(context, caller, action, key)) keys.authorise(caller, action, resourceOf(key));
    query = query.where('ca_id', '=', key.id);
  }
  const found: Found[] = [];
  for (const row of await query.execute()) {
    const owner = await ownerOf(keys, row);
    if (mayAny(context, caller, action, owner)) found.push({ row, owner });
  }
  const [first] = found;
  if (first === undefined) {
    await requireSight(context, caller, action);
    throw notFound(serial, ca);
  }
  if (found.length > 1) throw ambiguous(serial, found);
  return first;
}

/** The certificate itself; null where it is not known. */
export async function derOf(
  { storage }: Pick<Context, 'storage'>,
  id: string,
): Promise<CertificateRow['der']> {
  const row = await storage.db
    .selectFrom('certificate')
    .select('der')
    .where('id', '=', id)
    .executeTakeFirst();
  return row?.der ?? null;
}

/** Who may see the certificates of no CA is not told which numbers there are none of. */
async function requireSight(
  context: Pick<Context, 'keys' | 'authorities'>,
  caller: Caller,
  action: Action,
): Promise<void> {
  const all = await context.authorities.list();
  if (all.some(({ key }) => mayAny(context, caller, action, key))) return;
  context.keys.authorise(caller, action, { type: 'folder', folder: '' });
}

function mayAny(
  { keys }: Pick<Context, 'keys'>,
  caller: Caller,
  action: Action,
  owner: KeyRecord | undefined,
): boolean {
  const resource = ownerResource(owner);
  return [action, 'certificate.show' as const].some((wanted) =>
    isAllowed(() => keys.authorise(caller, wanted, resource)),
  );
}

function notFound(serial: string, ca: string | undefined): KeyreeveError {
  const text = normalSerial(serial);
  return new KeyreeveError(
    'not-found',
    ca === undefined
      ? `There is no certificate with the serial number ${text}.`
      : `${ca} has issued no certificate with the serial number ${text}.`,
    { hint: 'List the certificates you may see: keyreeve cert list' },
  );
}

function ambiguous(serial: string, found: readonly Found[]): KeyreeveError {
  const names = found.map(({ owner }) => owner?.name ?? 'a CA outside of this installation');
  return new KeyreeveError(
    'serial-ambiguous',
    `Several CAs have issued the serial number ${normalSerial(serial)}: ${names.join(', ')}.`,
    { hint: 'Name the CA: --ca NAME' },
  );
}
