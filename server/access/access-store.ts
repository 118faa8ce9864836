import { type Kysely, type Selectable, sql } from 'kysely';
import { isId } from '../base/ids.ts';
import { compiledOnce, type Schema, type Step, type Storage } from '../storage/storage.ts';

export type PrincipalRow = Selectable<Schema['principal']>;
export type TokenRow = Omit<Selectable<Schema['token']>, 'hash'>;

/** A token with what has to be known of its principal. */
export interface TokenWithPrincipal extends TokenRow {
  readonly principal_name: string;
  readonly principal_kind: string;
  readonly principal_state: string;
  readonly principal_roles_json: string;
  readonly principal_revision: number;
}

export interface Page {
  readonly limit: number;
  readonly after?: string | undefined;
}

const principalColumns = [
  'id',
  'name',
  'kind',
  'state',
  'roles_json',
  'created_at',
  'created_by',
  'revision',
] as const;

const tokenColumns = [
  'token.id',
  'token.principal_id',
  'token.label',
  'token.scope_json',
  'token.created_at',
  'token.created_by',
  'token.parent_id',
  'token.expires_at',
  'token.revoked_at',
  'principal.name as principal_name',
  'principal.kind as principal_kind',
  'principal.state as principal_state',
  'principal.roles_json as principal_roles_json',
  'principal.revision as principal_revision',
] as const;

/** The SQL of principals and tokens. */
export class AccessStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  get #db(): Kysely<Schema> {
    return this.#storage.db;
  }

  tokenByHash(hash: Uint8Array): Promise<TokenWithPrincipal | undefined> {
    return this.#tokens().where('token.hash', '=', hash).executeTakeFirst();
  }

  tokenById(id: string): Promise<TokenWithPrincipal | undefined> {
    return this.#tokens().where('token.id', '=', id).executeTakeFirst();
  }

  /** Newest first. `after` is `createdAt.id` of the last of the page before. */
  async tokens(principalId: string | undefined, page: Page): Promise<TokenWithPrincipal[]> {
    let query = this.#tokens()
      .orderBy('token.created_at', 'desc')
      .orderBy('token.id', 'desc')
      .limit(page.limit);
    if (principalId !== undefined) query = query.where('token.principal_id', '=', principalId);
    const [time, id] = page.after?.split('.') ?? [];
    if (time !== undefined && id !== undefined && /^\d{1,15}$/.test(time)) {
      query = query.where((where) =>
        where.or([
          where('token.created_at', '<', Number(time)),
          where.and([where('token.created_at', '=', Number(time)), where('token.id', '<', id)]),
        ]),
      );
    }
    return query.execute();
  }

  /** By id or name: no name has the form of an id. */
  principal(reference: string): Promise<PrincipalRow | undefined> {
    const column = isId(reference, 'prn') ? 'id' : 'name';
    return this.#db
      .selectFrom('principal')
      .select(principalColumns)
      .where(column, '=', reference)
      .executeTakeFirst();
  }

  /** By name; `after` is the last name of the page before. */
  principals(page: Page): Promise<PrincipalRow[]> {
    let query = this.#db
      .selectFrom('principal')
      .select(principalColumns)
      .orderBy('name')
      .limit(page.limit);
    if (page.after !== undefined) query = query.where('name', '>', page.after);
    return query.execute();
  }

  /** Active ones, administrators first. */
  activePrincipals(limit: number): Promise<PrincipalRow[]> {
    return this.#db
      .selectFrom('principal')
      .select(principalColumns)
      .where('state', '=', 'active')
      .orderBy(sql`case when roles_json like ${administratorRole} then 0 else 1 end`)
      .orderBy('created_at')
      .limit(limit)
      .execute();
  }

  insertPrincipal(row: PrincipalRow): Step {
    return {
      query: this.#db.insertInto('principal').values(row).compile(),
      expect: {
        rows: 1,
        code: 'already-exists',
        message: `There is a principal "${row.name}" already.`,
        hint: 'Choose another name.',
      },
    };
  }

  updatePrincipal(row: PrincipalRow, set: { roles_json: string; state: string }): Step {
    return {
      query: this.#db
        .updateTable('principal')
        .set({ ...set, revision: row.revision + 1 })
        .where('id', '=', row.id)
        .where('revision', '=', row.revision)
        .compile(),
      expect: {
        rows: 1,
        code: 'conflict',
        message: `"${row.name}" was changed meanwhile.`,
        hint: 'Look at it again and repeat the change.',
      },
    };
  }

  /** Fails a write unless the principal is active and as it was read. */
  principalUnchanged(id: string, revision: number): Step {
    return {
      // These three checks are a part of every write of every command.
      query: compiledOnce(this.#storage, 'principal unchanged', [id, revision, 'active'], () =>
        locked(
          this.#storage,
          this.#db
            .selectFrom('principal')
            .select('id')
            .where('id', '=', id)
            .where('revision', '=', revision)
            .where('state', '=', 'active'),
          'share',
        ),
      ),
      expect: {
        rows: 1,
        code: 'forbidden',
        message: 'The roles that allowed this were changed meanwhile.',
        hint: 'Repeat the request.',
      },
    };
  }

  /** Fails a write unless another active administrator is left. */
  anotherAdministrator(id: string): Step {
    return {
      query: locked(
        this.#storage,
        this.#db
          .selectFrom('principal')
          .select('id')
          .where('id', '!=', id)
          .where('state', '=', 'active')
          .where('roles_json', 'like', administratorRole)
          .limit(1),
        'update',
      ),
      expect: {
        rows: 1,
        code: 'conflict',
        message: 'This is the last active administrator.',
        hint: 'Give the role "administrator" to somebody else first.',
      },
    };
  }

  insertToken(row: Selectable<Schema['token']>): Step {
    return { query: this.#db.insertInto('token').values(row).compile() };
  }

  /** Fails a write unless the token may still be used. */
  tokenAlive(id: string, now: number): Step {
    return {
      query: compiledOnce(this.#storage, 'token alive', [id, now], () =>
        locked(
          this.#storage,
          this.#db
            .selectFrom('token')
            .select('id')
            .where('id', '=', id)
            .where('revoked_at', 'is', null)
            .where('expires_at', '>', now),
          'share',
        ),
      ),
      expect: {
        rows: 1,
        code: 'unauthenticated',
        message: 'The token was revoked or has expired meanwhile.',
        hint: 'Log in again.',
      },
    };
  }

  /** Revokes a token and everything that was made with it, however deep. */
  revoke(id: string, now: number): Step {
    return this.#revokeWhere('token.id', id, now);
  }

  /** Revokes all tokens of a principal and everything that was made with them. */
  revokeAllOf(principalId: string, now: number): Step {
    return this.#revokeWhere('token.principal_id', principalId, now);
  }

  /** Ends the login codes of a principal that were not used. */
  revokeEnrolments(principalId: string, scopePrefix: string, now: number): Step {
    return {
      query: this.#db
        .updateTable('token')
        .set({ revoked_at: now })
        .where('principal_id', '=', principalId)
        .where('revoked_at', 'is', null)
        .where('scope_json', 'like', `${scopePrefix}%`)
        .compile(),
    };
  }

  /** Uses a login code up: exactly one login can. */
  takeEnrolment(id: string, now: number): Step {
    return {
      query: this.#db
        .updateTable('token')
        .set({ revoked_at: now })
        .where('id', '=', id)
        .where('revoked_at', 'is', null)
        .where('expires_at', '>', now)
        .compile(),
      expect: { rows: 1, code: 'login-code-invalid', message: 'The login code was used already.' },
    };
  }

  /** Fails a write unless these rules are still the newest; 0 are the default ones, not stored. */
  rulesUnchanged(version: number): Step {
    return {
      query: compiledOnce(this.#storage, 'rules unchanged', [version], () =>
        this.#db
          .selectFrom('access_rules')
          .select('version')
          .where('version', '>=', version)
          .compile(),
      ),
      expect: {
        rows: version === 0 ? 0 : 1,
        code: 'forbidden',
        message: 'The access rules were changed meanwhile.',
        hint: 'Repeat the request.',
      },
    };
  }

  /** Forgets tokens that ended long ago; what is made with a token never outlives it. */
  tokensEndedBefore(time: number): Step {
    return { query: this.#db.deleteFrom('token').where('expires_at', '<', time).compile() };
  }

  #revokeWhere(column: 'token.id' | 'token.principal_id', value: string, now: number): Step {
    const query = this.#db
      .withRecursive('made', (db) =>
        db
          .selectFrom('token')
          .select('token.id as token_id')
          .where(column, '=', value)
          .union(
            db
              .selectFrom('token')
              .innerJoin('made', 'made.token_id', 'token.parent_id')
              .select('token.id as token_id'),
          ),
      )
      .updateTable('token')
      .set({ revoked_at: now })
      .where('revoked_at', 'is', null)
      .where('id', 'in', (where) => where.selectFrom('made').select('made.token_id'))
      .compile();
    return { query };
  }

  #tokens() {
    return this.#db
      .selectFrom('token')
      .innerJoin('principal', 'principal.id', 'token.principal_id')
      .select(tokenColumns);
  }
}

/** Several processes write on PostgreSQL: what was looked at must not change before the commit. */
export function locked(
  { dialect }: Pick<Storage, 'dialect'>,
  query: Lockable,
  how: 'share' | 'update',
): Step['query'] {
  if (dialect === 'sqlite') return query.compile();
  return how === 'share' ? query.forShare().compile() : query.forUpdate().compile();
}

// Roles are stored as canonical JSON and come from a closed set: the quotes make this exact.
const administratorRole = '%"administrator"%';

interface Lockable {
  compile(): Step['query'];
  forShare(): { compile(): Step['query'] };
  forUpdate(): { compile(): Step['query'] };
}
