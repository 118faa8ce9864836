import { sql } from 'kysely';
import type { Step, Storage } from '../../storage/storage.ts';
import type { Crl, VersionOfCa } from './crl-store.ts';

/** The newest CRLs of a version that are kept. */
const crlsKept = 5;

const unclaimed = { crl_claimed_by: null, crl_claimed_until: null } as const;

/** What is written of CRLs: steps for whoever commits. */
export class CrlSteps {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  /**
   * Marks a version as being published here, where no other node does that: due again at `until`
   * unless the CRL is stored before. A revocation that comes meanwhile makes it due earlier, which
   * `publish` notices.
   */
  claim(
    { caId, version }: VersionOfCa,
    { number, now, until }: { number: number; now: number; until: number },
  ): Step {
    const { db, nodeId } = this.#storage;
    return {
      query: db
        .updateTable('ca_version')
        .set({ crl_due_at: until, crl_claimed_by: nodeId, crl_claimed_until: until })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where('crl_number', '=', number)
        .where((expression) =>
          expression.or([
            expression('crl_claimed_until', 'is', null),
            expression('crl_claimed_until', '<=', now),
            // What this node could not take back: it makes one of a version at a time.
            expression('crl_claimed_by', '=', nodeId),
          ]),
        )
        .compile(),
      expect: {
        rows: 1,
        code: 'conflict',
        message: 'Another CRL is being published meanwhile.',
        hint: 'Ask for it in a moment.',
      },
    };
  }

  /** Takes a claim back. */
  unclaim({ caId, version }: VersionOfCa, until: number, dueAt: number): Step {
    const { db, nodeId } = this.#storage;
    return {
      query: db
        .updateTable('ca_version')
        .set({ crl_due_at: dueUnlessEarlier(until, dueAt), ...unclaimed })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where('crl_claimed_by', '=', nodeId)
        .where('crl_claimed_until', '=', until)
        .compile(),
    };
  }

  /** Takes the claim of a node that is gone back: the version is due at once. */
  unclaimOf(nodeId: string, { caId, version }: VersionOfCa, now: number): Step {
    return {
      query: this.#storage.db
        .updateTable('ca_version')
        .set({
          crl_due_at: sql<number | null>`CASE WHEN "crl_due_at" > ${now}
            THEN CAST(${now} AS BIGINT) ELSE "crl_due_at" END`,
          ...unclaimed,
        })
        .where('key_id', '=', caId)
        .where('version', '=', version)
        .where('crl_claimed_by', '=', nodeId)
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
        .set({ crl_due_at: null, ...unclaimed })
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
    const { db, nodeId } = this.#storage;
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
            ...unclaimed,
          })
          .where('key_id', '=', caId)
          .where('version', '=', version)
          .where('crl_number', '=', number - 1)
          .where('crl_claimed_by', '=', nodeId)
          .where('crl_claimed_until', '=', times.claimedUntil)
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

/** A revocation meanwhile has made it due earlier than the claim: that stays. */
function dueUnlessEarlier(until: number, dueAt: number) {
  return sql<number | null>`CASE WHEN "crl_due_at" = ${until}
    THEN CAST(${dueAt} AS BIGINT) ELSE "crl_due_at" END`;
}
