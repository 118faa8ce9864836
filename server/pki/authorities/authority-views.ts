import { sql } from 'kysely';
import type { z } from 'zod';
import type { CaView, caVersionView } from '../../../api/routes/authorities.ts';
import { type Clock, formatTime } from '../../base/clock.ts';
import { currentVersion, effectiveState, findVersion } from '../../keys/keys.ts';
import type { Storage } from '../../storage/storage.ts';
import { formatGeneralName } from '../../x509/x509.ts';
import { type Authority, type AuthorityVersion, authorityVersion } from '../authority.ts';
import { serialText, sha256 } from '../certificate-record.ts';
import type { Addresses } from '../rules/rules.ts';
import { isRoot } from './authority-rules.ts';
import type { AuthorityStore } from './authority-store.ts';

type VersionView = z.output<typeof caVersionView>;
type Counts = CaView['counts'];

/** Certificates that a write under way adds to those that a CA issued. */
export type AddedCounts = Partial<Counts>;

const none: Counts = { valid: 0, revoked: 0, expired: 0 };

export interface ViewOptions {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Where relying parties find what belongs to a CA key (SHA-256 of its SPKI, hexadecimal). */
  readonly addresses: (keyFingerprint: string) => Addresses;
  /** What a person should know now. */
  readonly notes: () => readonly string[];
}

/** CAs as the API shows them. */
export class AuthorityViews {
  readonly #options: ViewOptions;
  readonly #store: AuthorityStore;

  constructor(options: ViewOptions, store: AuthorityStore) {
    this.#options = options;
    this.#store = store;
  }

  async of(authorities: readonly Authority[], added: AddedCounts = none): Promise<CaView[]> {
    const now = this.#options.clock.now();
    const ids = authorities.map(({ key }) => key.id);
    const [counts, crls] = await Promise.all([this.#counts(ids, now), this.#crls(ids)]);
    return Promise.all(
      authorities.map(async (authority) => {
        const issued = counts.get(authority.key.id) ?? none;
        return {
          ...(await this.#view(authority, crls, now)),
          counts: {
            valid: issued.valid + (added.valid ?? 0),
            revoked: issued.revoked + (added.revoked ?? 0),
            expired: issued.expired + (added.expired ?? 0),
          },
        };
      }),
    );
  }

  async #view(
    authority: Authority,
    crls: ReadonlyMap<string, CrlRow>,
    now: number,
  ): Promise<Omit<CaView, 'counts'>> {
    const { key, parentId } = authority;
    const current = currentVersion(key, now);
    const shown =
      (current && authorityVersion(authority, current.version)) ?? authority.versions.at(-1)!;
    const { basicConstraints, nameConstraints } = shown.certificate.extensions;
    const parent = parentId === null ? undefined : await this.#store.find(parentId);
    return {
      id: key.id,
      name: key.name,
      subject: authority.subjectText,
      parent: parent?.key.name ?? null,
      isRoot: isRoot(authority),
      state: authority.state,
      algorithm: key.algorithm,
      scheme: key.schemes[0]!,
      keystore: key.keystore,
      pathLength: basicConstraints?.pathLength ?? null,
      nameConstraints: {
        permitted: (nameConstraints?.permitted ?? []).map(formatGeneralName),
        excluded: (nameConstraints?.excluded ?? []).map(formatGeneralName),
      },
      settings: authority.settings,
      currentVersion: current?.version ?? null,
      createdAt: formatTime(authority.createdAt),
      revision: authority.revision,
      versions: authority.versions.map((version) =>
        this.#versionView(authority, version, crls, now),
      ),
      notes: [...this.#options.notes()],
    };
  }

  #versionView(
    authority: Authority,
    version: AuthorityVersion,
    crls: ReadonlyMap<string, CrlRow>,
    now: number,
  ): VersionView {
    const key = findVersion(authority.key, version.version);
    const { certificate } = version;
    // Publishing changes these without a sign to those who keep CAs in memory.
    const crl = crls.get(`${key.keyId}@${key.version}`);
    return {
      version: version.version,
      state: effectiveState(key, now),
      algorithm: key.algorithm,
      keyFingerprint: key.fingerprint,
      fingerprint: sha256(certificate.der),
      serial: serialText(certificate.serial),
      notBefore: formatTime(certificate.notBefore),
      notAfter: formatTime(certificate.notAfter),
      certificate: version.pem,
      crlNumber: crl?.crl_number ?? version.crlNumber,
      crlPublishedAt: timeOrNull(crl === undefined ? version.crlPublishedAt : crl.crl_published_at),
      crlDueAt: timeOrNull(crl === undefined ? version.crlDueAt : crl.crl_due_at),
      crlUrl: this.#options.addresses(key.fingerprint).crl ?? null,
    };
  }

  async #crls(ids: readonly string[]): Promise<Map<string, CrlRow>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#options.storage.db
      .selectFrom('ca_version')
      .select(['key_id', 'version', 'crl_number', 'crl_due_at', 'crl_published_at'])
      .where('key_id', 'in', ids)
      .execute();
    return new Map(rows.map((row) => [`${row.key_id}@${row.version}`, row]));
  }

  /** Counted over indexes alone, for all CAs of a page at once. Revoked beats expired. */
  async #counts(ids: readonly string[], now: number): Promise<Map<string, Counts>> {
    if (ids.length === 0) return new Map();
    const [living, ended, revoked] = await Promise.all([
      this.#issued(ids, '>', now),
      this.#issued(ids, '<=', now),
      this.#revoked(ids, now),
    ]);
    return new Map(
      ids.map((id) => {
        const dead = revoked.get(id) ?? { living: 0, ended: 0 };
        const counts = {
          valid: (living.get(id) ?? 0) - dead.living,
          revoked: dead.living + dead.ended,
          expired: (ended.get(id) ?? 0) - dead.ended,
        };
        return [id, counts];
      }),
    );
  }

  async #issued(ids: readonly string[], end: '>' | '<=', now: number) {
    const rows = await this.#options.storage.db
      .selectFrom('certificate')
      .select((expression) => ['ca_id', expression.fn.countAll<number>().as('count')])
      .where('ca_id', 'in', ids)
      .where('not_after', end, now)
      .groupBy('ca_id')
      .execute();
    return new Map(rows.map((row) => [row.ca_id!, Number(row.count)]));
  }

  /** Without a range of times, which would lead away from the index of what is revoked. */
  async #revoked(ids: readonly string[], now: number) {
    const ended = sql<number>`COUNT(CASE WHEN "not_after" <= ${now} THEN 1 END)`;
    const rows = await this.#options.storage.db
      .selectFrom('certificate')
      .select((expression) => [
        'ca_id',
        expression.fn.countAll<number>().as('all'),
        ended.as('ended'),
      ])
      .where('ca_id', 'in', ids)
      .where('revoked_at', 'is not', null)
      .groupBy('ca_id')
      .execute();
    return new Map(
      rows.map(({ ca_id, all, ended }) => [
        ca_id!,
        { living: Number(all) - Number(ended), ended: Number(ended) },
      ]),
    );
  }
}

interface CrlRow {
  readonly crl_number: number;
  readonly crl_due_at: number | null;
  readonly crl_published_at: number | null;
}

function timeOrNull(milliseconds: number | null): string | null {
  return milliseconds === null ? null : formatTime(milliseconds);
}
