import { createHash } from 'node:crypto';
import type { Action } from '../../api/actions.ts';
import { keyOwnership, systemFolder } from '../../api/roles.ts';
import type { KeystoreAccess } from '../../api/routes/keystores.ts';
import type { Resource } from '../base/caller.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import type { ReviewFacts } from '../keystores/keystores.ts';
import type { Storage } from '../storage/storage.ts';

/** What access tells of rights: `Access` has these. */
export interface Rights {
  holders(questions: readonly Question[]): Promise<{
    readonly holders: readonly {
      readonly id: string;
      readonly name: string;
      readonly kind: string;
      readonly roles: readonly string[];
      /** The places of the questions in the list. */
      readonly allowed: readonly number[];
    }[];
    readonly isComplete: boolean;
  }>;
  /** Keys that the rules name by their id: each is asked about by itself. */
  namedKeys(): Promise<readonly string[]>;
  /** Folders that the rules name: somebody may make keys there who may not elsewhere. */
  namedFolders(): Promise<readonly string[]>;
}

interface Question {
  readonly action: Action;
  readonly resource: Resource;
}

/** Kinds of keys that are asked about, at most: keys of one folder, purpose, owner and labels. */
export const keyKindsMax = 300;
/** Folders of the rules that are asked about, at most. */
const namedFoldersMax = 100;

/** What is asked of each kind of keys: what makes, changes and uses its private half. */
const keyActions = [
  'key.rotate',
  'key.update',
  'key.state',
  'key.destroy',
  'key.cancel-destroy',
  'key.sign',
  'key.decrypt',
  'key.mac',
  'key.unwrap',
  'key.agree',
  'key.decapsulate',
] as const satisfies readonly Action[];

/** The same of the keys of CAs. */
const authorityActions = [
  'ca.rekey',
  'ca.renew',
  'ca.certify',
  'certificate.issue',
  'certificate.revoke',
  'key.state',
  'key.destroy',
  'key.cancel-destroy',
] as const satisfies readonly Action[];

/** What is asked of each folder. */
const makingActions = ['key.create', 'key.import', 'key.adopt', 'ca.create', 'ca.import'] as const;

/** What is no matter of folders: the keystores themselves, and who gives rights to whom. */
const systemActions = [
  'keystore.add',
  'keystore.update',
  'keystore.review',
  'keystore.remove',
  'backup.create',
  'principal.create',
  'principal.update',
  'access.apply',
] as const satisfies readonly Action[];

/** Lists who may do what with the keys of a keystore, under whatever name its token is known. */
export async function listAccess(
  storage: Storage,
  rights: Rights,
  keystore: string,
  reviews: ReadonlyMap<string, ReviewFacts>,
): Promise<KeystoreAccess> {
  const places = placesOf(keystore, reviews);
  const kinds = await keyKinds(storage, places, await rights.namedKeys());
  const asked = kinds.slice(0, keyKindsMax);
  const named = (await rights.namedFolders()).filter((folder) => folder !== systemFolder);
  const folders = foldersOf(asked, named.slice(0, namedFoldersMax));
  const questions: Question[] = [
    ...asked.flatMap(({ resource }) =>
      (resource.purpose === 'ca' ? authorityActions : keyActions).map((action) => ({
        ...{ action, resource },
      })),
    ),
    ...folders.flatMap((folder) =>
      makingActions.map((action) => ({ action, resource: { type: 'folder', folder } as const })),
    ),
    ...systemActions.map((action) => ({ action, resource: { type: 'system' } as const })),
  ];
  const { holders, isComplete } = await rights.holders(questions);
  const list = {
    keystore,
    keys: kinds.reduce((sum, { count }) => sum + count, 0),
    folders,
    principals: holders.map(({ allowed, roles, ...who }) => ({
      ...who,
      roles: [...roles],
      rights: rightsOf(allowed.map((place) => questions[place]!)),
    })),
    isComplete: isComplete && kinds.length <= keyKindsMax && named.length <= namedFoldersMax,
  };
  // How many keys there are is no matter of who has access: a busy keystore can be reviewed too.
  const { keys: _, ...vouchedFor } = list;
  const digest = createHash('sha256').update(canonicalJson(vouchedFor)).digest('hex');
  return { ...list, digest };
}

/** The keystore, others of the same token, and the groups that one of them is a member of. */
function placesOf(keystore: string, reviews: ReadonlyMap<string, ReviewFacts>): string[] {
  const tokenId = reviews.get(keystore)?.tokenId ?? null;
  const isSameToken = (facts: ReviewFacts) => tokenId !== null && facts.tokenId === tokenId;
  const own = [...reviews].filter(([name, facts]) => name === keystore || isSameToken(facts));
  const names = own.map(([name]) => name);
  const groups = [...reviews].filter(([, { members }]) =>
    members.some((member) => names.includes(member)),
  );
  return [...names, ...groups.map(([name]) => name)];
}

type KeyResource = Extract<Resource, { readonly type: 'key' }>;

/** The living keys of these keystores, those together that no rule can tell from each other. */
async function keyKinds(
  storage: Storage,
  keystores: readonly string[],
  named: readonly string[],
): Promise<{ resource: KeyResource; count: number }[]> {
  const isNamed = named.length === 0 ? ['none'] : named;
  // Looks at every key: by a connection of its own, so that nobody's reading waits for it.
  const rows = await storage.snapshot((db) =>
    db
      .selectFrom('key')
      .select(({ fn }) => [
        'folder',
        'purpose',
        'owner_id',
        'labels_json',
        fn.min('id').as('id'),
        fn.countAll<number>().as('count'),
      ])
      .where('keystore', 'in', keystores)
      .where('folder', '!=', systemFolder)
      .where(({ exists, selectFrom }) =>
        exists(
          selectFrom('key_version')
            .select('key_version.version')
            .whereRef('key_version.key_id', '=', 'key.id')
            .where('key_version.state', '!=', 'destroyed'),
        ),
      )
      .groupBy(({ eb }) => [
        'folder',
        'purpose',
        'owner_id',
        'labels_json',
        eb.case().when('id', 'in', isNamed).then(eb.ref('id')).else('').end(),
      ])
      .orderBy('folder')
      .orderBy('id')
      .limit(keyKindsMax + 1)
      .execute(),
  );
  return rows.map((row) => ({
    count: Number(row.count),
    resource: {
      ...{ type: 'key', id: String(row.id), name: '', folder: row.folder, purpose: row.purpose },
      ...{ ownerId: row.owner_id, labels: JSON.parse(row.labels_json) },
    },
  }));
}

/** Folders with keys, those that the rules or the table of ownership name, and the top. */
function foldersOf(
  kinds: readonly { readonly resource: KeyResource }[],
  named: readonly string[],
): string[] {
  const folders = new Set(['', ...keyOwnership.map(({ folder }) => folder), ...named]);
  for (const { resource } of kinds) folders.add(resource.folder);
  return [...folders].sort();
}

/** Actions that are allowed in the same folders stand together. */
function rightsOf(allowed: readonly Question[]): { actions: string[]; folders: string[] }[] {
  const foldersByAction = new Map<string, Set<string>>();
  for (const { action, resource } of allowed) {
    const folders = foldersByAction.get(action) ?? new Set();
    if (resource.type === 'key' || resource.type === 'folder') folders.add(resource.folder);
    foldersByAction.set(action, folders);
  }
  const rights = new Map<string, { actions: string[]; folders: string[] }>();
  for (const [action, places] of foldersByAction) {
    const folders = [...places].sort();
    const right = rights.get(JSON.stringify(folders)) ?? { actions: [], folders };
    right.actions.push(action);
    rights.set(JSON.stringify(folders), right);
  }
  return [...rights.values()];
}
