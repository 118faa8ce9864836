import type { Selectable } from 'kysely';
import type { Caller } from '../base/caller.ts';
import { KeyreeveError } from '../base/errors.ts';
import { compiledOnce, type Schema, type Step, type Storage } from '../storage/storage.ts';
import type { Requirement } from './requirement.ts';

export type Person = Pick<
  Selectable<Schema['principal']>,
  'id' | 'name' | 'kind' | 'state' | 'roles_json' | 'created_by' | 'revision'
>;

const columns = ['id', 'name', 'kind', 'state', 'roles_json', 'created_by', 'revision'] as const;

/** Those who approve and those who ask, as they are stored: this folder changes none of them. */
export class People {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async byIds(ids: readonly string[]): Promise<ReadonlyMap<string, Person>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#storage.db
      .selectFrom('principal')
      .select(columns)
      .where('id', 'in', [...new Set(ids)])
      .execute();
    return new Map(rows.map((row) => [row.id, row]));
  }

  byId(id: string): Promise<Person | undefined> {
    return this.#storage.db
      .selectFrom('principal')
      .select(columns)
      .where('id', '=', id)
      .executeTakeFirst();
  }

  /**
   * Who stands behind a call: its principal, the makers of its token and, where no person calls,
   * those who made the caller and let it in. None of them is somebody else.
   */
  async behind(caller: Caller): Promise<readonly string[]> {
    const ids = new Set([caller.principalId]);
    for (const { id } of caller.standing?.principals ?? []) ids.add(id);
    const self = await this.byId(caller.principalId);
    if (self !== undefined && self.kind !== 'person') {
      if (self.created_by !== null) ids.add(self.created_by);
      const makers = await this.#storage.db
        .selectFrom('token')
        .select('created_by')
        .distinct()
        .where('principal_id', '=', self.id)
        .execute();
      const binders = await this.#storage.db
        .selectFrom('certificate_binding')
        .select('created_by')
        .distinct()
        .where('principal_id', '=', self.id)
        .execute();
      for (const { created_by } of [...makers, ...binders]) ids.add(created_by);
    }
    return [...ids];
  }

  /**
   * False for a certificate that is known by its name: another one of the same names would speak for
   * the person; only a pinned one does not.
   */
  async isPinned({ standing }: Caller): Promise<boolean> {
    if (standing?.certificate === undefined) return true;
    const binding = await this.#storage.db
      .selectFrom('certificate_binding')
      .select('kind')
      .where('id', '=', standing.certificate.bindingId)
      .executeTakeFirst();
    return binding?.kind === 'key' || binding?.kind === 'certificate';
  }

  /** People who could approve this, `without` left out: as many as are needed, or fewer. */
  async eligible(
    requirement: Pick<Requirement, 'approvals' | 'roles'>,
    without: readonly string[],
  ): Promise<readonly Person[]> {
    const { approvals, roles } = requirement;
    return this.#storage.db
      .selectFrom('principal')
      .select(columns)
      .where('state', '=', 'active')
      .where('kind', '=', 'person')
      .where('id', 'not in', [...without, ''])
      .where((where) =>
        // Roles are stored as canonical JSON and come from a closed set: the quotes make this exact.
        where.or(roles.map((role) => where('roles_json', 'like', `%"${role}"%`))),
      )
      .orderBy('id')
      .limit(approvals)
      .execute();
  }

  /**
   * Steps that keep a quorum possible until the commit. Error: `quorum-impossible` where there are
   * too few people, those left out not counted.
   */
  async requirePossible(
    requirement: Pick<Requirement, 'rule' | 'approvals' | 'roles'>,
    without: readonly string[],
  ): Promise<readonly Step[]> {
    const found = await this.eligible(requirement, without);
    const { approvals, roles, rule } = requirement;
    if (found.length < approvals) {
      throw new KeyreeveError(
        'quorum-impossible',
        `"${rule}" needs ${approvals} of ${roles.join(', ')}: there would be ${found.length} active people beside whoever asks.`,
        {
          hint: 'Give the role to more people first, or ask for fewer approvals.',
          data: { rule, approvals, eligible: found.length },
        },
      );
    }
    return found.map((person) => this.unchanged(person));
  }

  /** Fails a write unless this person is active and as it was read. */
  unchanged({ id, name, revision }: Person): Step {
    const { db, dialect } = this.#storage;
    const query = compiledOnce(this.#storage, 'person unchanged', [id, revision, 'active'], () => {
      const select = db
        .selectFrom('principal')
        .select('id')
        .where('id', '=', id)
        .where('revision', '=', revision)
        .where('state', '=', 'active');
      // Several processes write on PostgreSQL: what was looked at must not change meanwhile.
      return (dialect === 'sqlite' ? select : select.forShare()).compile();
    });
    return {
      query,
      expect: {
        rows: 1,
        code: 'conflict',
        message: `The roles or the state of "${name}" were changed meanwhile.`,
        hint: 'Repeat the request.',
      },
    };
  }
}

export function rolesOf(person: Pick<Person, 'roles_json'>): readonly string[] {
  return JSON.parse(person.roles_json) as string[];
}

/** Whether somebody counts as an approver at all, whatever the roles. */
export function isActivePerson(person: Person | undefined): person is Person {
  return person !== undefined && person.kind === 'person' && person.state === 'active';
}
