import type { Selectable } from 'kysely';
import type { BindingKind } from '../../api/routes/certificates.ts';
import { aboveTerm, type Schema, type Step, type Storage } from '../storage/storage.ts';
import { locked } from './access-store.ts';

const certificateColumns = [
  'certificate.id',
  'certificate.ca_id',
  'certificate.ca_version',
  'certificate.not_before',
  'certificate.not_after',
  'certificate.fingerprint',
  'certificate.key_fingerprint',
  'certificate.revoked_at',
  'certificate.reason',
  'certificate.der',
] as const;

export type CertificateRow = Pick<
  Selectable<Schema['certificate']>,
  | 'id'
  | 'ca_id'
  | 'ca_version'
  | 'not_before'
  | 'not_after'
  | 'fingerprint'
  | 'key_fingerprint'
  | 'revoked_at'
  | 'reason'
  | 'der'
>;

/** A CA with one version of its key, and the certificate that stands for it in chains. */
export interface AuthorityRow extends CertificateRow {
  readonly ca_state: string;
  readonly key_state: string;
}

/** A binding with what has to be known of its principal. */
export interface BindingWithPrincipal {
  readonly id: string;
  readonly kind: BindingKind;
  readonly value: string;
  readonly principal_id: string;
  readonly principal_name: string;
  readonly principal_state: string;
  readonly principal_roles_json: string;
  readonly principal_revision: number;
}

/** States of a CA's key version under which nobody logs in any more. */
export const endedKeyStates: readonly string[] = ['compromised', 'destroyed'];

/** The SQL of logins by client certificate. */
export class CertificateStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  get #db() {
    return this.#storage.db;
  }

  byFingerprint(fingerprint: string): Promise<CertificateRow | undefined> {
    return this.#db
      .selectFrom('certificate')
      .select(certificateColumns)
      .where('fingerprint', '=', fingerprint)
      .executeTakeFirst();
  }

  byId(id: string): Promise<CertificateRow | undefined> {
    return this.#db
      .selectFrom('certificate')
      .select(certificateColumns)
      .where('id', '=', id)
      .executeTakeFirst();
  }

  authority(caId: string, version: number): Promise<AuthorityRow | undefined> {
    return this.#db
      .selectFrom('ca_version')
      .innerJoin('ca', 'ca.key_id', 'ca_version.key_id')
      .innerJoin('key_version', (join) =>
        join
          .onRef('key_version.key_id', '=', 'ca_version.key_id')
          .onRef('key_version.version', '=', 'ca_version.version'),
      )
      .innerJoin('certificate', 'certificate.id', 'ca_version.certificate_id')
      .select([...certificateColumns, 'ca.state as ca_state', 'key_version.state as key_state'])
      .where('ca_version.key_id', '=', caId)
      .where('ca_version.version', '=', version)
      .executeTakeFirst();
  }

  /**
   * What is here of the certificates above a CA that was certified outside: rows under whatever
   * issuer, since one of ours may have certified one of them.
   */
  certificatesAbove(caId: string): Promise<CertificateRow[]> {
    return this.#db
      .selectFrom('certificate')
      .select(certificateColumns)
      .where('fingerprint', 'in', (above) =>
        above
          .selectFrom('certificate_name')
          .innerJoin('certificate as named', 'named.id', 'certificate_name.certificate_id')
          .select('named.fingerprint')
          .where('term', '=', aboveTerm(caId)),
      )
      .execute();
  }

  /** Those of these public keys (SHA-256 each) that are blocked, or given up as compromised. */
  async lostKeys(fingerprints: readonly string[]): Promise<ReadonlySet<string>> {
    const rows = await this.#db
      .selectFrom('blocked_key')
      .select('fingerprint')
      .where('fingerprint', 'in', fingerprints)
      .union(
        this.#db
          .selectFrom('key_version')
          .select('fingerprint')
          .where('fingerprint', 'in', fingerprints)
          .where('state', '=', 'compromised'),
      )
      .execute();
    return new Set(rows.map((row) => row.fingerprint));
  }

  /** The bindings of a CA with one of these values, oldest first. */
  async bindings(caId: string, values: readonly string[]): Promise<BindingWithPrincipal[]> {
    if (values.length === 0) return [];
    const rows = await this.#db
      .selectFrom('certificate_binding')
      .innerJoin('principal', 'principal.id', 'certificate_binding.principal_id')
      .select([
        'certificate_binding.id',
        'certificate_binding.kind',
        'certificate_binding.value',
        'certificate_binding.principal_id',
        'principal.name as principal_name',
        'principal.state as principal_state',
        'principal.roles_json as principal_roles_json',
        'principal.revision as principal_revision',
      ])
      .where('certificate_binding.ca_id', '=', caId)
      .where('certificate_binding.value', 'in', values)
      .orderBy('certificate_binding.created_at')
      .orderBy('certificate_binding.id')
      .execute();
    return rows.map((row) => ({ ...row, kind: row.kind as BindingKind }));
  }

  /** Fails a write unless all these certificates are neither revoked nor over. */
  certificatesStand(ids: readonly string[], now: number): Step {
    return {
      query: locked(
        this.#storage,
        this.#db
          .selectFrom('certificate')
          .select('id')
          .where('id', 'in', ids)
          .where('revoked_at', 'is', null)
          .where('not_after', '>', now),
        'share',
      ),
      expect: {
        rows: ids.length,
        code: 'unauthenticated',
        message: 'The client certificate, or one above it, was revoked or has expired meanwhile.',
        hint: 'Call with another certificate or with a token.',
      },
    };
  }

  /** Fails a write where the public key of one of these certificates was blocked. */
  keysStand(ids: readonly string[]): Step {
    return {
      query: this.#db
        .selectFrom('certificate')
        .innerJoin('blocked_key', 'blocked_key.fingerprint', 'certificate.key_fingerprint')
        .select('certificate.id')
        .where('certificate.id', 'in', ids)
        .compile(),
      expect: {
        rows: 0,
        code: 'unauthenticated',
        message: 'The key of the client certificate, or of one above it, was blocked meanwhile.',
        hint: 'Call with another certificate or with a token.',
      },
    };
  }

  /** Fails a write unless the binding still leads to this principal. */
  bindingStands(id: string, principalId: string): Step {
    return {
      query: locked(
        this.#storage,
        this.#db
          .selectFrom('certificate_binding')
          .select('id')
          .where('id', '=', id)
          .where('principal_id', '=', principalId),
        'share',
      ),
      expect: {
        rows: 1,
        code: 'unauthenticated',
        message: 'The client certificate was unbound meanwhile.',
        hint: 'Call with another certificate or with a token.',
      },
    };
  }

  /** Fails a write unless these CAs may still be trusted. */
  authoritiesStand(authorities: readonly { caId: string; version: number }[]): Step {
    return {
      query: locked(
        this.#storage,
        this.#db
          .selectFrom('key_version')
          .innerJoin('ca', 'ca.key_id', 'key_version.key_id')
          .select('key_version.key_id')
          .where('ca.state', '=', 'active')
          .where('key_version.state', 'not in', endedKeyStates)
          .where((where) =>
            where.or(
              authorities.map(({ caId, version }) =>
                where.and([
                  where('key_version.key_id', '=', caId),
                  where('key_version.version', '=', version),
                ]),
              ),
            ),
          ),
        'share',
      ),
      expect: {
        rows: authorities.length,
        code: 'unauthenticated',
        message: 'A CA above the client certificate lost its standing meanwhile.',
        hint: 'Call with another certificate or with a token.',
      },
    };
  }

  /**
   * The newest certificate (DER) of each CA that has bindings, oldest binding first, at most so
   * many.
   */
  async boundAuthorities(limit: number): Promise<Uint8Array[]> {
    const rows = await this.#db
      .selectFrom('certificate_binding')
      .innerJoin('ca', 'ca.key_id', 'certificate_binding.ca_id')
      .innerJoin('ca_version', 'ca_version.key_id', 'ca.key_id')
      .innerJoin('certificate', 'certificate.id', 'ca_version.certificate_id')
      .select(['ca.key_id', 'certificate.der'])
      .select((select) => select.fn.min('certificate_binding.created_at').as('bound_at'))
      .where('ca.state', '=', 'active')
      .where('ca_version.version', '=', (newest) =>
        newest
          .selectFrom('ca_version as other')
          .select((select) => select.fn.max('other.version').as('version'))
          .whereRef('other.key_id', '=', 'ca.key_id'),
      )
      .groupBy(['ca.key_id', 'certificate.der'])
      .orderBy('bound_at')
      .orderBy('ca.key_id')
      .limit(limit)
      .execute();
    return rows.flatMap(({ der }) => (der === null ? [] : [der]));
  }
}
