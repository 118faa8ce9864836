import { sql } from 'kysely';
import type { Step, Storage } from '../../storage/storage.ts';
import type { Crl, VersionOfCa } from './crl-store.ts';

/** The newest CRLs of a version that are kept. */
const crlsKept = 5;

/** What is written of CRLs: steps for whoever commits. */
export class CrlSteps {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * Marks a version as being published: due again at `until` unless the CRL is stored before. A
   * revocation that comes meanwhile makes it due earlier, which `publish` notices.
   */
  claim({ caId, version }: VersionOfCa, number: number, until: number): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ crl_due_at: until })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where('crl_number', '=', number)
        .compile(),
      expect: { rows: 1, code: 'conflict', message: 'Another CRL was published meanwhile.' },
    };
  }

  /** Takes a claim back. */
  unclaim({ caId, version }: VersionOfCa, until: number, dueAt: number): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ crl_due_at: dueAt })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where('crl_due_at', '=', until)
        .compile(),
    };
  }

  /** Makes a version due no later than this. */
  makeDue({ caId, version }: VersionOfCa, at: number): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ crl_due_at: at })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where((expression) =>
          expression.or([expression('crl_due_at', 'is', null), expression('crl_due_at', '>', at)]),
        )
        .compile(),
    };
  }

  /** No CRL any more: the key is destroyed. */
  end({ caId, version }: VersionOfCa): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({ crl_due_at: null })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .compile(),
    };
  }

  /**
   * Stores a CRL, whose number is one more than the stored one, and counts it, all or nothing. What
   * was revoked since the claim makes the version due again `soon`.
   */
  publish(
    crl: Crl,
    times: { publishedAt: number; dueAt: number | null; claimedUntil: number; soon: number },
  ): Step[] {
    const { db } = this.#storage;
    const { caId, version, number } = crl;
    return [
      {
        query: db
          .updateTable('ca_version')
          .set({
            crl_number: number,
            crl_published_at: times.publishedAt,
            crl_due_at: sql<number | null>`CASE
              WHEN "crl_due_at" = ${times.claimedUntil} THEN CAST(${times.dueAt} AS BIGINT)
              WHEN "crl_due_at" < ${times.soon} THEN CAST(${times.soon} AS BIGINT)
              ELSE "crl_due_at" END`,
          })
          .where('key_id', '=', caId)
          .where('version', '=', version)
          .where('crl_number', '=', number - 1)
          .compile(),
        expect: { rows: 1, code: 'conflict', message: 'Another CRL was published meanwhile.' },
      },
      {
        query: db
          .insertInto('crl')
          .values({
            key_id: caId,
            version,
            number,
            this_update: crl.thisUpdate,
            next_update: crl.nextUpdate,
            entries: crl.entries,
            der: crl.der,
          })
          .compile(),
        expect: { rows: 1, code: 'conflict', message: 'Another CRL has this number.' },
      },
      {
        query: db
          .deleteFrom('crl')
          .where('key_id', '=', caId)
          .where('version', '=', version)
          .where('number', '<=', number - crlsKept)
          .compile(),
      },
    ];
  }
}
