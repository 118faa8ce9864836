import { assuranceLevels, meetsAssurance } from '../../api/assurance.ts';
import type { PolicyRequest } from '../../api/fields.ts';
import { anyExtendedKeyUsage, extendedKeyUsages } from '../../api/profiles.ts';
import type { Purpose } from '../../api/purposes.ts';
import {
  type StorageClass,
  type StorageClassName,
  type StorageTable,
  storageClasses,
} from '../../api/storage-classes.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Keystore, KeystoreDescription } from '../keystores/keystores.ts';

/** What the storage table asks of a key: what is known of it at the door that asks. */
export interface StorageFacts {
  readonly policy: { readonly storage?: StorageClassName | undefined };
  readonly purpose: Purpose;
  /** A CA that no CA of this installation or of another certifies. */
  readonly isRoot?: boolean;
  /**
   * Object identifiers or names of what a certificate is about to let the key do: everything where
   * it names none (RFC 5280, section 4.2.1.12).
   */
  readonly extendedKeyUsage?: readonly string[];
}

/**
 * The classes of the storage table that a key is held to. By default only the one its policy
 * names; where the table is enforced, also those that follow from what the key is made or
 * certified for.
 */
export function storageClassesFor(
  table: StorageTable,
  facts: StorageFacts,
): readonly StorageClassName[] {
  const found = new Set<StorageClassName>();
  if (facts.policy.storage !== undefined) found.add(facts.policy.storage);
  if (table === 'enforced') {
    if (facts.purpose === 'ca' && facts.isRoot === true) found.add('root-ca');
    if (hasUsage(facts, 'clientAuth')) found.add('tls-client');
    if (hasUsage(facts, 'serverAuth')) found.add('tls-server');
  }
  return [...found];
}

/**
 * Refuses a keystore that may not hold such a key: the rule of the storage table, asked whenever a
 * key is made, taken in, adopted, rotated or certified. Error: `storage-not-allowed`.
 */
export function requireStorage(
  table: StorageTable,
  facts: StorageFacts,
  keystore: Pick<Keystore, 'name' | 'kind'>,
): void {
  for (const name of storageClassesFor(table, facts)) {
    const row: StorageClass = storageClasses[name];
    if (!row.keystores.includes(keystore.kind)) {
      const where =
        row.keystores.length === 0 ? 'no keystore of a service' : row.keystores.join(', ');
      throw new KeyreeveError(
        'storage-not-allowed',
        `The keystore "${keystore.name}" may not hold a key of the class "${name}" (${row.key}: ${row.storage}); allowed: ${where}.`,
        { hint: row.instead },
      );
    }
    if (row.purpose !== facts.purpose) {
      throw new KeyreeveError(
        'storage-not-allowed',
        `A key of the class "${name}" is for "${row.purpose}" alone (${row.access}), not for "${facts.purpose}".`,
        { hint: `Give it the purpose "${row.purpose}", or leave the class out.` },
      );
    }
  }
}

/** How the word of a keystore on its level came about, for people. */
const assuranceSources = {
  kind: 'as its kind cannot have another',
  token: 'as its token says',
  operator: 'as declared for it',
  nobody: 'nobody has declared one for it',
} as const satisfies Record<KeystoreDescription['assuranceFrom'], string>;

/**
 * Refuses a keystore below the assurance level that the policy demands: asked whenever a private
 * key comes to lie in one. Errors: `storage-not-allowed`, `keystore-unavailable`.
 */
export async function requireAssurance(
  policy: Pick<PolicyRequest, 'assurance'>,
  keystore: Pick<Keystore, 'name' | 'describe'>,
): Promise<void> {
  const demanded = policy.assurance;
  if (demanded === undefined) return;
  const { assurance, assuranceFrom } = await keystore.describe();
  if (meetsAssurance(assurance, demanded)) return;
  throw new KeyreeveError(
    'storage-not-allowed',
    `The policy demands ${assuranceLevels[demanded].title}; the keystore "${keystore.name}" has ${assuranceLevels[assurance].title} (${assuranceSources[assuranceFrom]}).`,
    { hint: 'Choose a keystore of that level: keyreeve keystore list' },
  );
}

/** The policy of a new CA: where the table is enforced, a root gets its class, fixed from then on. */
export function withStorageClass(
  table: StorageTable,
  policy: PolicyRequest,
  isRoot: boolean,
): PolicyRequest {
  if (table !== 'enforced' || !isRoot || policy.storage !== undefined) return policy;
  return { ...policy, storage: 'root-ca' };
}

function hasUsage(
  { purpose, extendedKeyUsage: usages }: StorageFacts,
  usage: keyof typeof extendedKeyUsages,
): boolean {
  // The keys of CAs certify; they speak no TLS.
  if (usages === undefined || purpose === 'ca') return false;
  const named = [usage, extendedKeyUsages[usage], anyExtendedKeyUsage];
  return usages.length === 0 || usages.some((one) => named.includes(one));
}
