import { builtInProfiles, type Profile, profile as profileSchema } from '../../../api/profiles.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Step, Storage } from '../../storage/storage.ts';

/** Profiles of the operators' own, at most: all of them are kept in memory. */
export const customProfilesMax = 500;

/** A profile of the operators' own. */
export interface CustomProfile {
  readonly profile: Profile;
  readonly revision: number;
}

const builtIn: ReadonlyMap<string, Profile> = new Map(
  builtInProfiles.map((profile) => [profile.name, profile]),
);

export function isBuiltIn(name: string): boolean {
  return builtIn.has(name);
}

/** Profiles by name: those built in, and those in the database, read once for each epoch. */
export class ProfileStore {
  readonly #storage: Storage;
  #custom: Promise<ReadonlyMap<string, CustomProfile>> | undefined;

  constructor(storage: Storage) {
    this.#storage = storage;
    storage.onEpoch(() => {
      this.#custom = undefined;
    });
  }

  /** Error: `unknown-profile`, naming those there are. */
  async named(name: string): Promise<Profile> {
    const known = builtIn.get(name) ?? (await this.custom()).get(name)?.profile;
    if (known !== undefined) return known;
    const names = (await this.all()).map((profile) => profile.name);
    throw new KeyreeveError('unknown-profile', `There is no profile "${name}".`, {
      hint: `There are: ${names.join(', ')}.`,
    });
  }

  /** First those built in, then the others by name. */
  async all(): Promise<readonly Profile[]> {
    const custom = [...(await this.custom()).values()];
    return [...builtInProfiles, ...custom.map(({ profile }) => profile)];
  }

  /** Those of the operators, in the order of their names. */
  custom(): Promise<ReadonlyMap<string, CustomProfile>> {
    const known = this.#custom;
    if (known !== undefined) return known;
    const reading = this.fresh();
    this.#custom = reading;
    // A database that was away is asked again.
    reading.catch(() => {
      if (this.#custom === reading) this.#custom = undefined;
    });
    return reading;
  }

  /** The same, straight from the database. */
  async fresh(): Promise<ReadonlyMap<string, CustomProfile>> {
    const rows = await this.#storage.db
      .selectFrom('certificate_profile')
      .select(['name', 'body_json', 'revision'])
      .orderBy('name')
      .execute();
    return new Map(
      rows.map((row) => {
        const profile = profileSchema.parse(JSON.parse(row.body_json));
        return [row.name, { profile, revision: row.revision }];
      }),
    );
  }

  /** Writes a profile, where it is still as it was read: `before` is undefined for a new one. */
  put(
    profile: Profile,
    before: CustomProfile | undefined,
    by: { readonly principalId: string; readonly now: number },
  ): Step {
    const { db } = this.#storage;
    const expect = {
      rows: 1,
      code: 'conflict',
      message: `The profile ${profile.name} was changed meanwhile.`,
      hint: 'Look at it again, then repeat the command.',
    } as const;
    const body_json = canonicalJson({ ...profile });
    if (before === undefined) {
      const row = { name: profile.name, body_json, revision: 1 };
      const query = db
        .insertInto('certificate_profile')
        .values({ ...row, created_at: by.now, created_by: by.principalId })
        .compile();
      return { query, expect };
    }
    const query = db
      .updateTable('certificate_profile')
      .set({ body_json, revision: before.revision + 1 })
      .where('name', '=', profile.name)
      .where('revision', '=', before.revision)
      .compile();
    return { query, expect };
  }

  /** Forgets a profile. */
  remove(name: string): Step {
    return {
      query: this.#storage.db.deleteFrom('certificate_profile').where('name', '=', name).compile(),
      expect: { rows: 1, code: 'not-found', message: `There is no profile "${name}" of your own.` },
    };
  }
}
