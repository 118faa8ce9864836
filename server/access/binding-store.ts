import type { Selectable } from 'kysely';
import type { Resource } from '../base/caller.ts';
import { isId } from '../base/ids.ts';
import type { Schema, Step, Storage } from '../storage/storage.ts';

export type BindingRow = Selectable<Schema['certificate_binding']>;

/** A binding with the names that people know its ends by. */
export interface NamedBinding extends BindingRow {
  readonly principal_name: string;
  readonly ca_name: string;
}

/** A CA, as far as the access rules look at it. */
export type AuthorityFacts = Extract<Resource, { type: 'key' }>;

/** The SQL of bindings. */
export class BindingStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  get #db() {
    return this.#storage.db;
  }

  /** A CA by id or name. */
  async authority(reference: string): Promise<AuthorityFacts | undefined> {
    const row = await this.#db
      .selectFrom('ca')
      .innerJoin('key', 'key.id', 'ca.key_id')
      .select([
        'key.id',
        'key.name',
        'key.folder',
        'key.purpose',
        'key.owner_id',
        'key.labels_json',
      ])
      .where(isId(reference, 'key') ? 'key.id' : 'key.name', '=', reference)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      type: 'key',
      id: row.id,
      name: row.name,
      folder: row.folder,
      purpose: row.purpose,
      ownerId: row.owner_id,
      labels: JSON.parse(row.labels_json),
    };
  }

  byId(id: string): Promise<NamedBinding | undefined> {
    return this.#named().where('certificate_binding.id', '=', id).executeTakeFirst();
  }

  /** Oldest first. */
  ofPrincipal(principalId: string): Promise<NamedBinding[]> {
    return this.#named()
      .where('certificate_binding.principal_id', '=', principalId)
      .orderBy('certificate_binding.created_at')
      .orderBy('certificate_binding.id')
      .execute();
  }

  insert(row: BindingRow): Step {
    return {
      query: this.#db.insertInto('certificate_binding').values(row).compile(),
      expect: {
        rows: 1,
        code: 'already-exists',
        message: `This CA has a binding for ${row.kind} ${row.value} already.`,
        hint: 'End that one first: keyreeve principal unbind ID',
      },
    };
  }

  remove(row: BindingRow): Step {
    return {
      query: this.#db.deleteFrom('certificate_binding').where('id', '=', row.id).compile(),
      expect: { rows: 1, code: 'not-found', message: 'The binding was ended meanwhile.' },
    };
  }

  #named() {
    return this.#db
      .selectFrom('certificate_binding')
      .innerJoin('principal', 'principal.id', 'certificate_binding.principal_id')
      .innerJoin('key', 'key.id', 'certificate_binding.ca_id')
      .selectAll('certificate_binding')
      .select(['principal.name as principal_name', 'key.name as ca_name']);
  }
}
