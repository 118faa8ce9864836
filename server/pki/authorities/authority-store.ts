import type { CaSettings } from '../../../api/routes/authorities.ts';
import { KeyreeveError } from '../../base/errors.ts';
import { LruMap } from '../../base/lru-map.ts';
import type { KeyRecord, Keys } from '../../keys/keys.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import { certificatePem, parseCertificate } from '../../x509/x509.ts';
import type { Authority, AuthorityVersion } from '../authority.ts';

/** CAs kept in memory, each with its certificates: some 10 KB. */
export const cachedAuthoritiesMax = 2000;

/**
 * A subject as names are compared: RFC 4518, section 2. What cannot be seen tells no names apart
 * either.
 */
export function foldedSubject(subject: string): string {
  return subject
    .normalize('NFKC')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .toLowerCase()
    .replace(/\s+/g, ' ')
    .trim();
}

/** SQL of CAs and their versions, and the cache in front of it. */
export class AuthorityStore {
  readonly #storage: Storage;
  readonly #keys: Keys;
  readonly #byId = new LruMap<string, Authority>(cachedAuthoritiesMax);

  constructor(storage: Storage, keys: Keys) {
    this.#storage = storage;
    this.#keys = keys;
    // Revocation beats caches: whatever changed, nothing older is used again.
    storage.onEpoch(() => this.#byId.clear());
  }

  /** By id or name; undefined where there is no such CA. No read while the epoch stands still. */
  async find(reference: string): Promise<Authority | undefined> {
    const epoch = this.#storage.epoch;
    const cached = this.#keys.store.cached(reference);
    const known = cached === undefined ? undefined : this.#byId.get(cached.id);
    if (known !== undefined) return known;
    const key = cached ?? (await this.#keys.store.find(reference));
    if (key === undefined || key.purpose !== 'ca') return undefined;
    const authority = await this.#read(key);
    // A change that came between the reads makes this copy old: it is not kept.
    if (authority !== undefined && epoch === this.#storage.epoch) this.#byId.set(key.id, authority);
    return authority;
  }

  /** Straight from the database, for commands. Error: `not-found`. */
  async fresh(id: string): Promise<Authority> {
    const authority = await this.#read(await this.#keys.store.fresh(id));
    if (authority === undefined) throw new KeyreeveError('not-found', 'There is no such CA.');
    return authority;
  }

  /** The ids of all CAs, in the order of their names. */
  async ids(): Promise<string[]> {
    const rows = await this.#storage.db
      .selectFrom('ca')
      // A left join, and sorted here: else SQLite goes through all keys to find those few.
      .leftJoin('key', 'key.id', 'ca.key_id')
      .select(['ca.key_id', 'key.name'])
      .execute();
    rows.sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
    return rows.map((row) => row.key_id);
  }

  /** The subject of every CA. */
  async subjects(): Promise<string[]> {
    const rows = await this.#storage.db.selectFrom('ca').select('subject_text').execute();
    return rows.map((row) => row.subject_text);
  }

  async #read(key: KeyRecord): Promise<Authority | undefined> {
    const { db } = this.#storage;
    const row = await db
      .selectFrom('ca')
      .select([
        'subject',
        'subject_text',
        'parent_id',
        'state',
        'settings_json',
        'created_at',
        'revision',
      ])
      .where('key_id', '=', key.id)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const versions = await db
      .selectFrom('ca_version')
      .innerJoin('certificate', 'certificate.id', 'ca_version.certificate_id')
      .select([
        'version',
        'certificate_id',
        'crl_number',
        'crl_due_at',
        'crl_published_at',
        'der',
        'ca_id',
        'ca_version',
        'revoked_at',
      ])
      .where('ca_version.key_id', '=', key.id)
      .orderBy('version')
      .execute();
    return {
      key,
      state: row.state === 'importing' ? 'importing' : 'active',
      subject: Buffer.from(row.subject),
      subjectText: row.subject_text,
      parentId: row.parent_id,
      settings: JSON.parse(row.settings_json),
      createdAt: row.created_at,
      revision: row.revision,
      versions: versions.map(versionFromRow),
    };
  }

  /** The row of a new CA; the row of its key comes first. */
  insertAuthority(authority: Authority): Step {
    return {
      query: this.#storage.db
        .insertInto('ca')
        .values({
          key_id: authority.key.id,
          subject: authority.subject,
          subject_text: authority.subjectText,
          subject_folded: foldedSubject(authority.subjectText),
          parent_id: authority.parentId,
          state: authority.state,
          settings_json: JSON.stringify(authority.settings),
          created_at: authority.createdAt,
          revision: authority.revision,
        })
        .compile(),
      expect: {
        rows: 1,
        code: 'already-exists',
        message: 'There is a CA of this subject already.',
      },
    };
  }

  /** Refuses a CA of the same name, byte for byte, that was made meanwhile. */
  noOtherOf(subject: Buffer): Step {
    return {
      query: this.#storage.db
        .selectFrom('ca')
        .select('key_id')
        .where('subject', '=', subject)
        .compile(),
      expect: {
        rows: 0,
        code: 'already-exists',
        message: 'There is a CA of this subject already.',
      },
    };
  }

  /** What a new version has; the row of its certificate comes first. */
  insertVersion(keyId: string, version: AuthorityVersion): Step {
    return {
      query: this.#storage.db
        .insertInto('ca_version')
        .values({
          key_id: keyId,
          version: version.version,
          certificate_id: version.certificateId,
          crl_number: version.crlNumber,
          crl_due_at: version.crlDueAt,
          crl_published_at: version.crlPublishedAt,
        })
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'This version was made meanwhile.' },
    };
  }

  /** Puts another certificate of a version into its chains. */
  moveCertificate(keyId: string, version: AuthorityVersion, certificateId: string): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ certificate_id: certificateId })
        .where('key_id', '=', keyId)
        .where('version', '=', version.version)
        .where('certificate_id', '=', version.certificateId)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'The CA was renewed meanwhile.' },
    };
  }

  /** Has the next CRL of a version out by then, or sooner. */
  crlDueBy(keyId: string, version: number, due: number): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ crl_due_at: due })
        .where('key_id', '=', keyId)
        .where('version', '=', version)
        .where('crl_due_at', '>', due)
        .compile(),
    };
  }

  /** Changes a CA, if it is still at the revision that was looked at. */
  updateAuthority(before: Authority, settings: CaSettings = before.settings): Step {
    return {
      query: this.#storage.db
        .updateTable('ca')
        .set({ settings_json: JSON.stringify(settings), revision: before.revision + 1 })
        .where('key_id', '=', before.key.id)
        .where('revision', '=', before.revision)
        .compile(),
      expect: changedMeanwhile(before.key.name),
    };
  }

  /** Steps that fail where the CA or its key was changed since it was read. They come first. */
  unchanged(authority: Authority): Step[] {
    const { db } = this.#storage;
    const { key } = authority;
    const expect = changedMeanwhile(key.name);
    return [
      {
        query: db
          .selectFrom('key')
          .select('id')
          .where('id', '=', key.id)
          .where('revision', '=', key.revision)
          .compile(),
        expect,
      },
      {
        query: db
          .selectFrom('ca')
          .select('key_id')
          .where('key_id', '=', key.id)
          .where('revision', '=', authority.revision)
          .compile(),
        expect,
      },
    ];
  }
}

function changedMeanwhile(name: string) {
  return {
    rows: 1,
    code: 'conflict',
    message: `${name} was changed meanwhile.`,
    hint: 'Look at it again, then repeat the command.',
  } as const;
}

interface VersionRow {
  version: number;
  certificate_id: string;
  crl_number: number;
  crl_due_at: number | null;
  crl_published_at: number | null;
  der: Uint8Array | null;
  ca_id: string | null;
  ca_version: number | null;
  revoked_at: number | null;
}

function versionFromRow(row: VersionRow): AuthorityVersion {
  if (row.der === null) {
    throw new KeyreeveError('integrity-failed', 'The certificate of a CA is missing its bytes.');
  }
  const der = Buffer.from(row.der);
  return {
    version: row.version,
    certificateId: row.certificate_id,
    certificate: parseCertificate(der),
    pem: certificatePem(der),
    issuedBy:
      row.ca_id === null || row.ca_version === null
        ? null
        : { id: row.ca_id, version: row.ca_version },
    revokedAt: row.revoked_at,
    crlNumber: row.crl_number,
    crlDueAt: row.crl_due_at,
    crlPublishedAt: row.crl_published_at,
  };
}
