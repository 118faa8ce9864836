import { sql } from 'kysely';
import type { RevocationReason } from '../../../api/revocation-reasons.ts';
import type { Storage } from '../../storage/storage.ts';
import type { RevokedEntry } from '../../x509/x509.ts';
import type { CrlTimes } from '../crl-due.ts';

/** Versions looked at in one round. */
const dueVersionsMax = 10_000;
/** Rows that are read and encoded at a time: between two pages others have their turn. */
const entriesPerPage = 2000;

/** A CRL as it was published. `der` is shared by all who send it. */
export interface Crl {
  readonly caId: string;
  readonly version: number;
  readonly number: number;
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  readonly entries: number;
  readonly der: Buffer;
}

/** What `ca_version` says of the CRLs of a version. */
export interface CrlState extends CrlTimes {
  readonly number: number;
  /** The next one is being made: what is stored does not say what it lacks. */
  readonly isClaimed: boolean;
  /** Another node makes it. */
  readonly isClaimedElsewhere: boolean;
}

export interface VersionOfCa {
  readonly caId: string;
  readonly version: number;
}

/** What a map or a mutex knows a version by. */
export function slotOf({ caId, version }: VersionOfCa): string {
  return `${caId}@${version}`;
}

export interface PublicVersion extends VersionOfCa {
  /** The row of its certificate. */
  readonly certificateId: string;
  /** SHA-256 of its public key. */
  readonly keyFingerprint: string;
  /** It has published its last CRL. */
  readonly isEnded: boolean;
}

/** SQL of CRLs. */
export class CrlStore {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /** Undefined where there is no such version. */
  async state({ caId, version }: VersionOfCa, now: number): Promise<CrlState | undefined> {
    const row = await this.#storage.db
      .selectFrom('ca_version')
      .select([
        ...(['crl_number', 'crl_due_at', 'crl_published_at', 'crl_claimed_by'] as const),
        'crl_claimed_until',
      ])
      .where('key_id', '=', caId)
      .where('version', '=', version)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const isElsewhere = row.crl_claimed_by !== this.#storage.nodeId;
    return {
      number: row.crl_number,
      dueAt: row.crl_due_at,
      publishedAt: row.crl_published_at,
      isClaimed: row.crl_claimed_by !== null,
      isClaimedElsewhere: isElsewhere && (row.crl_claimed_until ?? 0) > now,
    };
  }

  /** Versions that have to publish, the longest overdue first. */
  async due(now: number): Promise<(VersionOfCa & CrlTimes)[]> {
    const rows = await this.#storage.db
      .selectFrom('ca_version')
      .innerJoin('ca', 'ca.key_id', 'ca_version.key_id')
      .select([
        'ca_version.key_id',
        'ca_version.version',
        'ca_version.crl_due_at',
        'ca_version.crl_published_at',
      ])
      .where('ca_version.crl_due_at', '<=', now)
      .where('ca.state', '=', 'active')
      .where((expression) =>
        expression.or([
          expression('crl_claimed_until', 'is', null),
          expression('crl_claimed_until', '<=', now),
          expression('crl_claimed_by', '=', this.#storage.nodeId),
        ]),
      )
      .orderBy('ca_version.crl_due_at')
      .limit(dueVersionsMax)
      .execute();
    return rows.map((row) => ({
      caId: row.key_id,
      version: row.version,
      dueAt: row.crl_due_at,
      publishedAt: row.crl_published_at,
    }));
  }

  /** The names of CAs by their ids. */
  async names(ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#storage.db
      .selectFrom('key')
      .select(['id', 'name'])
      .where('id', 'in', ids)
      .execute();
    return new Map(rows.map(({ id, name }) => [id, name]));
  }

  /** When the next one is due, and how many were due before a time. */
  async dueState(before: number): Promise<{ nextDueAt: number | null; overdue: number }> {
    const row = await this.#storage.db
      .selectFrom('ca_version')
      .innerJoin('ca', 'ca.key_id', 'ca_version.key_id')
      .select(({ fn }) => [
        fn.min('ca_version.crl_due_at').as('next'),
        sql<number>`SUM(CASE WHEN "ca_version"."crl_due_at" < ${before} THEN 1 ELSE 0 END)`.as(
          'overdue',
        ),
      ])
      .where('ca_version.crl_due_at', 'is not', null)
      .where('ca.state', '=', 'active')
      .executeTakeFirstOrThrow();
    return {
      nextDueAt: row.next === null ? null : Number(row.next),
      overdue: Number(row.overdue ?? 0),
    };
  }

  async newest({ caId, version }: VersionOfCa): Promise<Crl | undefined> {
    const row = await this.#storage.db
      .selectFrom('crl')
      .select(['number', 'this_update', 'next_update', 'entries', 'der'])
      .where('key_id', '=', caId)
      .where('version', '=', version)
      .orderBy('number', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const { der } = row;
    return {
      caId,
      version,
      number: row.number,
      thisUpdate: row.this_update,
      nextUpdate: row.next_update,
      entries: row.entries,
      der: Buffer.from(der.buffer, der.byteOffset, der.byteLength),
    };
  }

  /** The number of the newest CRL of each version that has one. */
  async newestNumbers(): Promise<(VersionOfCa & { readonly number: number })[]> {
    const rows = await this.#storage.db
      .selectFrom('crl')
      .select(({ fn }) => ['key_id', 'version', fn.max('number').as('newest')])
      .groupBy(['key_id', 'version'])
      .execute();
    return rows.map((row) => ({
      caId: row.key_id,
      version: row.version,
      number: Number(row.newest),
    }));
  }

  /** What is public of each version: which certificate stands for it, and its key. */
  async public(): Promise<PublicVersion[]> {
    const rows = await this.#storage.db
      .selectFrom('ca_version')
      .innerJoin('ca', 'ca.key_id', 'ca_version.key_id')
      .innerJoin('key_version', (join) =>
        join
          .onRef('key_version.key_id', '=', 'ca_version.key_id')
          .onRef('key_version.version', '=', 'ca_version.version'),
      )
      .select([
        'ca_version.key_id',
        'ca_version.version',
        'ca_version.certificate_id',
        'ca_version.crl_due_at',
        'key_version.fingerprint',
      ])
      .where('ca.state', '=', 'active')
      .execute();
    return rows.map((row) => ({
      caId: row.key_id,
      version: row.version,
      certificateId: row.certificate_id,
      keyFingerprint: row.fingerprint,
      isEnded: row.crl_due_at === null,
    }));
  }

  /** A certificate of a CA by the id of its row. */
  async certificate(
    id: string,
  ): Promise<{ der: Uint8Array; notBefore: number; notAfter: number } | undefined> {
    const row = await this.#storage.db
      .selectFrom('certificate')
      .select(['der', 'not_before', 'not_after'])
      .where('id', '=', id)
      .executeTakeFirst();
    if (row === undefined || row.der === null) return undefined;
    return { der: row.der, notBefore: row.not_before, notAfter: row.not_after };
  }

  /** The versions whose next CRL is being made, each with the node that makes it. */
  async claimed(): Promise<(VersionOfCa & { readonly nodeId: string })[]> {
    const rows = await this.#storage.db
      .selectFrom('ca_version')
      .select(['key_id', 'version', 'crl_claimed_by'])
      .where('crl_claimed_by', 'is not', null)
      .execute();
    return rows.map((row) => ({
      caId: row.key_id,
      version: row.version,
      nodeId: row.crl_claimed_by!,
    }));
  }

  /** Whether a version has issued something that is still valid, its own certificate apart. */
  async hasLiving({ caId, version }: VersionOfCa, now: number): Promise<boolean> {
    const row = await this.#storage.db
      .selectFrom('certificate')
      .select('id')
      .where('ca_id', '=', caId)
      .where('not_after', '>', now)
      .where('ca_version', '=', version)
      .where((expression) =>
        expression.or([
          expression('key_id', 'is', null),
          expression('key_id', '!=', caId),
          expression('key_version', '!=', version),
        ]),
      )
      .limit(1)
      .executeTakeFirst();
    return row !== undefined;
  }

  /**
   * What a CA has revoked, page by page, in the order of an index: by whichever of its keys, since
   * those who check find a CRL by the name of the issuer, which all of them share (RFC 5280, section
   * 6.3.3). An entry stays until a CRL was published after the certificate's end (section 3.3):
   * `endingAfter` is thisUpdate of the CRL before.
   */
  async *entries(caId: string, endingAfter: number): AsyncGenerator<readonly RevokedEntry[]> {
    let after = { notAfter: endingAfter, id: '\u{10ffff}' };
    for (;;) {
      const rows = await this.#storage.db
        .selectFrom('certificate')
        .select(['id', 'serial', 'not_after', 'revoked_at', 'reason', 'invalid_from'])
        .where('ca_id', '=', caId)
        .where('revoked_at', 'is not', null)
        .where(sql<boolean>`("not_after", "id") > (${after.notAfter}, ${after.id})`)
        .orderBy('not_after')
        .orderBy('id')
        .limit(entriesPerPage)
        .execute();
      if (rows.length > 0) {
        yield rows.map((row) => ({
          serial: Buffer.from(row.serial, 'hex'),
          revokedAt: wholeSeconds(row.revoked_at!),
          reason: (row.reason ?? 'unspecified') as RevocationReason,
          invalidFrom: row.invalid_from === null ? undefined : wholeSeconds(row.invalid_from),
        }));
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < entriesPerPage) return;
      after = { notAfter: last.not_after, id: last.id };
    }
  }
}

/** As certificates and CRLs have them (RFC 5280, section 4.1.2.5). */
function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}
