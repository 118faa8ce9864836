import type { Storage } from '../storage/storage.ts';

/** What tells whether the keys of a keystore lie in another one, too. */
export interface KeystoreFacts {
  readonly name: string;
  /** The token itself, where it has said which one it is. */
  readonly tokenId: string | undefined;
  /** Of a group: the keystores that it is made of. */
  readonly members: readonly string[];
}

/** The keystores that were added by command, as `hardware` stores them. */
export async function readKeystoreFacts({ db }: Storage): Promise<readonly KeystoreFacts[]> {
  const rows = await db.selectFrom('keystore').select(['name', 'settings_json']).execute();
  return rows.map(({ name, settings_json }) => {
    const settings = JSON.parse(settings_json) as {
      tokenId?: string;
      primary?: string;
      secondary?: string;
    };
    const { tokenId, primary, secondary } = settings;
    return { name, tokenId, members: [primary, secondary].filter((one) => one !== undefined) };
  });
}

/**
 * These keystores, other keystores of the same tokens, and the groups that any of them is in: a key
 * in one of those lies in a keystore that is named.
 */
export function withAlike(names: readonly string[], known: readonly KeystoreFacts[]): string[] {
  const all = new Set(names);
  const tokens = new Set(known.filter(({ name }) => all.has(name)).map(({ tokenId }) => tokenId));
  for (const { name, tokenId } of known) {
    if (tokenId !== undefined && tokens.has(tokenId)) all.add(name);
  }
  for (const { name, members } of known) {
    if (members.some((one) => all.has(one))) all.add(name);
  }
  return [...all];
}
