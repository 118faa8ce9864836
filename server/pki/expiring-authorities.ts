import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime } from '../base/clock.ts';
import { isKeyreeveError } from '../base/errors.ts';
import { serviceEntry } from '../commands/commands.ts';
import type { Step, Storage } from '../storage/storage.ts';

/** The certificate of a CA is told of when a third of its time is left, or this if that is less. */
export const expiryWarningSeconds = 90 * 24 * 60 * 60;
const leftShare = 1 / 3;

/**
 * Tells of the certificates of CAs that end soon: an event `certificate.expiring` for each, once. A
 * CA is told of by the certificate of its newest version: what came before it has been replaced.
 * Returns how many were told of.
 */
export async function tellExpiring(options: {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly fence: readonly Step[];
}): Promise<number> {
  const { storage, clock, fence } = options;
  let told = 0;
  for (const row of await endingSoon(storage, clock.now())) {
    const mark = storage.db
      .updateTable('ca_version')
      .set({ expiry_told: row.not_after })
      .where('key_id', '=', row.key_id)
      .where('version', '=', row.version)
      .where('certificate_id', '=', row.certificate_id)
      .where(({ or, eb }) =>
        or([eb('expiry_told', 'is', null), eb('expiry_told', '!=', row.not_after)]),
      )
      .compile();
    const detail = canonicalJson({
      certificate: row.certificate_id,
      subject: row.subject,
      notAfter: formatTime(row.not_after),
    });
    const entry = serviceEntry(clock, 'certificate.expiring', 'ok', {
      ...{ keyId: row.key_id, keyName: row.name, keyVersion: String(row.version), detail },
      resource: row.serial,
    });
    const expect = { rows: 1, code: 'conflict', message: 'It was told of meanwhile.' } as const;
    try {
      await storage.commit({ steps: [...fence, { query: mark, expect }], entries: [entry] });
      told += 1;
    } catch (error) {
      // Renewed meanwhile, or told of by another node.
      if (!isKeyreeveError(error, 'conflict')) throw error;
    }
  }
  return told;
}

async function endingSoon(storage: Storage, now: number) {
  const rows = await storage.db
    .selectFrom('ca_version')
    .innerJoin('ca', 'ca.key_id', 'ca_version.key_id')
    .innerJoin('key', 'key.id', 'ca_version.key_id')
    .innerJoin('certificate', 'certificate.id', 'ca_version.certificate_id')
    .select([
      'ca_version.key_id',
      'ca_version.version',
      'ca_version.certificate_id',
      'ca_version.expiry_told',
      'certificate.serial',
      'certificate.subject',
      'certificate.not_before',
      'certificate.not_after',
      'key.name',
    ])
    .where('ca.state', '=', 'active')
    .where('key.destroy_at', 'is', null)
    .where('certificate.revoked_at', 'is', null)
    // A bound that the database can apply; the exact one depends on the time of each.
    .where('certificate.not_after', '<=', now + expiryWarningSeconds * 1000)
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('ca_version as newer')
            .select('newer.version')
            .whereRef('newer.key_id', '=', 'ca_version.key_id')
            .whereRef('newer.version', '>', 'ca_version.version'),
        ),
      ),
    )
    .orderBy('certificate.not_after')
    .execute();
  return rows.filter((row) => {
    const third = (row.not_after - row.not_before) * leftShare;
    const left = row.not_after - now;
    return row.expiry_told !== row.not_after && left <= third;
  });
}
