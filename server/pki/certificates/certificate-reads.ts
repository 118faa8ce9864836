import type { Action } from '../../../api/actions.ts';
import type { QueryOf } from '../../../api/route.ts';
import type { Routes } from '../../../api/routes.ts';
import type { Caller } from '../../base/caller.ts';
import type { Handlers } from '../../base/handler.ts';
import { resourceOf } from '../../keys/keys.ts';
import { certificateColumns, normalSerial } from '../certificate-record.ts';
import { type CertificateRow, type ListedRow, pemOf, Views } from './certificate-view.ts';
import type { Context } from './context.ts';
import { allowedAuthorities } from './rights.ts';
import { type Search, searchIds } from './search.ts';
import { termsOf } from './search-names.ts';
import { derOf, findCertificate } from './serials.ts';

type Asked = Omit<QueryOf<Routes['certificate.list']>, 'limit' | 'after'>;
const digest = /^[0-9a-f]{64}$/i;

/** The routes that show certificates. */
export function createCertificateReads(
  context: Context,
): Handlers<'certificate.list' | 'certificate.show'> {
  const { storage, keys, clock } = context;
  return {
    'certificate.list': async ({ caller, query: { limit, after, ...asked } }) => {
      const search = await resolveSearch(context, caller, asked, 'certificate.show');
      const found = await searchIds(storage, search, { after, limit }, clock.now());
      const views = new Views(keys, caller);
      const items = [];
      for (const row of await rowsOf(context, found.ids)) items.push(await views.of(row));
      return { items, next: found.next ?? null };
    },
    'certificate.show': async ({ caller, params, query }) => {
      const reference = { serial: params.serial, ca: query.ca };
      const { row } = await findCertificate(context, caller, reference, 'certificate.show');
      const view = await new Views(keys, caller).of(row);
      return { ...view, certificate: pemOf(await derOf(context, row.id)) };
    },
  };
}

/**
 * What is searched for, with names resolved to ids, and limited to the CAs on whose certificates
 * the caller may do this. Errors: `forbidden`, `not-found` (a CA or a key), `invalid-request`.
 */
export async function resolveSearch(
  context: Pick<Context, 'keys' | 'authorities'>,
  caller: Caller,
  asked: Asked,
  action: Action,
): Promise<Search> {
  const { keys, authorities } = context;
  let ca: string | undefined;
  if (asked.ca !== undefined) {
    const { key } = await authorities.lookup(caller, asked.ca, action);
    keys.authorise(caller, action, resourceOf(key));
    ca = key.id;
  }
  const { allowed, isAll } = await allowedAuthorities(context, caller, action);
  return {
    owners: ca === undefined ? allowed.map(({ id }) => id) : [ca],
    isEveryOwner: ca !== undefined || isAll,
    ca,
    subject: asked.subject,
    terms: asked.name === undefined ? undefined : termsOf(asked.name),
    serial: asked.serial === undefined ? undefined : normalSerial(asked.serial),
    keys: asked.key === undefined ? undefined : await keyDigests(context, caller, asked.key),
    profile: asked.profile,
    state: asked.state,
    expiresBefore: timeOf(asked.expiresBefore),
    expiresAfter: timeOf(asked.expiresAfter),
  };
}

/** The rows of these ids, in their order. */
async function rowsOf(
  { storage }: Pick<Context, 'storage'>,
  ids: readonly string[],
): Promise<ListedRow[]> {
  if (ids.length === 0) return [];
  return storage.db
    .selectFrom('certificate')
    .select(certificateColumns)
    .where('id', 'in', ids)
    .orderBy('id', 'desc')
    .execute();
}

/** The same with the certificates themselves. */
export async function wholeRowsOf(
  { storage }: Pick<Context, 'storage'>,
  ids: readonly string[],
): Promise<CertificateRow[]> {
  if (ids.length === 0) return [];
  return storage.db
    .selectFrom('certificate')
    .select([...certificateColumns, 'der'])
    .where('id', 'in', ids)
    .orderBy('id', 'desc')
    .execute();
}

/** SHA-256 of the public keys that are meant: of all versions of a key of ours, or the one given. */
async function keyDigests(
  { keys }: Pick<Context, 'keys'>,
  caller: Caller,
  reference: string,
): Promise<readonly string[]> {
  if (digest.test(reference)) return [reference.toLowerCase()];
  const key = await keys.lookup(caller, reference, 'key.show');
  keys.authorise(caller, 'key.show', resourceOf(key));
  return key.versions.map(({ fingerprint }) => fingerprint);
}

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Date.parse(text);
}
