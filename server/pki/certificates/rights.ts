import type { Action } from '../../../api/actions.ts';
import type { Caller, Resource } from '../../base/caller.ts';
import { type KeyRecord, type Keys, resourceOf } from '../../keys/keys.ts';
import { type CertificateRow, isAllowed } from './certificate-view.ts';
import type { Context } from './context.ts';

/**
 * Whose certificate it is, for the access rules: the CA's that issued it, or where that is none of
 * ours the key's that it certifies.
 */
export async function ownerOf(
  keys: Keys,
  row: Pick<CertificateRow, 'ca_id' | 'key_id'>,
): Promise<KeyRecord | undefined> {
  const id = row.ca_id ?? row.key_id;
  return id === null ? undefined : keys.store.find(id);
}

export function ownerResource(owner: KeyRecord | undefined): Resource {
  return owner === undefined ? { type: 'system' } : resourceOf(owner);
}

/** The CAs on whose certificates the caller may do this. */
export async function allowedAuthorities(
  { authorities, keys }: Pick<Context, 'authorities' | 'keys'>,
  caller: Caller,
  action: Action,
): Promise<{ readonly allowed: readonly KeyRecord[]; readonly isAll: boolean }> {
  const all = await authorities.list();
  const allowed = all
    .map(({ key }) => key)
    .filter((key) => isAllowed(() => keys.authorise(caller, action, resourceOf(key))));
  return { allowed, isAll: allowed.length === all.length };
}

/**
 * What a command that concerns several CAs is asked of: the first of those that the caller may do
 * it on. Where there is none it is asked of the installation, and refused.
 */
export async function commandResource(
  { keys }: Pick<Context, 'keys'>,
  owners: readonly string[],
): Promise<Resource> {
  const [first] = owners;
  return ownerResource(first === undefined ? undefined : await keys.store.find(first));
}
