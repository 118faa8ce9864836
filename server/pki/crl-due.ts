import { sql } from 'kysely';
import type { Step, Storage } from '../storage/storage.ts';

/** A version of a CA publishes no oftener than this, however much is revoked. */
export const crlGapSeconds = 5;

/** When a version has published, and when it has to. */
export interface CrlTimes {
  readonly dueAt: number | null;
  readonly publishedAt: number | null;
}

/** Milliseconds until the next may be published; none where the clock went back behind the last. */
export function gapLeft({ publishedAt }: Pick<CrlTimes, 'publishedAt'>, now: number): number {
  if (publishedAt === null || publishedAt > now) return 0;
  return Math.max(0, publishedAt + crlGapSeconds * 1000 - now);
}

/** When the next CRL is due once something is revoked now. */
export function revocationDueAt(times: CrlTimes, now: number): number {
  const earliest = now + gapLeft(times, now);
  return times.dueAt === null ? earliest : Math.min(times.dueAt, earliest);
}

/**
 * Makes the next CRL due, now or as soon as the gap allows: that of the version which issued, and of
 * every other version of the CA that still publishes, since each lists what the whole CA has
 * revoked. As `revocationDueAt`, at the moment of the write.
 */
export function crlDueStep(
  { db }: Storage,
  by: { readonly caId: string; readonly version: number },
  now: number,
): Step {
  const gap = crlGapSeconds * 1000;
  const earliest = sql<number>`CASE
    WHEN "crl_published_at" <= ${now} AND "crl_published_at" + ${gap} > ${now}
    THEN "crl_published_at" + ${gap} ELSE ${now} END`;
  return {
    query: db
      .updateTable('ca_version')
      .set({ crl_due_at: earliest })
      .where('key_id', '=', by.caId)
      .where((expression) =>
        expression.or([
          expression.and([
            expression('crl_due_at', 'is', null),
            expression('version', '=', by.version),
          ]),
          expression('crl_due_at', '>', earliest),
        ]),
      )
      .compile(),
  };
}
