import type { EntryDraft } from '../../../api/entry.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { type Clock, formatTime } from '../../base/clock.ts';
import { KeyreeveError } from '../../base/errors.ts';
import type { Handlers } from '../../base/handler.ts';
import { serviceEntry } from '../../commands/commands.ts';
import { type KeyRecord, resourceOf } from '../../keys/keys.ts';
import type { Step, Storage } from '../../storage/storage.ts';
import type { Authorities } from '../authorities/authorities.ts';
import type { Context } from './context.ts';

/** Certificates that one commit forgets: others' commits wait behind it. */
export const purgePortionRows = 2000;
/** Portions of one run for one CA: the schedule comes again. */
const scheduledPortionsMax = 50;
const action = 'certificate.purge';
export const purgeIntentKind = action;

interface Purge {
  readonly storage: Storage;
  readonly ca: Pick<KeyRecord, 'id' | 'name'>;
  /** Certificates that ended before this time. */
  readonly endedBefore: number;
  /** The entry of a portion. */
  readonly entry: (about: {
    keyId: string;
    keyName: string;
    count: string;
    detail: string;
  }) => EntryDraft;
}

/** The route that forgets certificates. */
export function createPurge(context: Context): Handlers<'certificate.purge'> {
  const { storage, authorities, clock, commands } = context;
  return {
    'certificate.purge': async ({ caller, body, idempotencyKey }) => {
      const { key } = await commands.prepare(caller, action, () =>
        authorities.lookup(caller, body.ca, action),
      );
      const about = { keyId: key.id, keyName: key.name };
      return commands.run(caller, {
        action,
        resource: resourceOf(key),
        about,
        input: { ca: key.id, expiredBefore: body.expiredBefore },
        idempotencyKey,
        raisesEpoch: false,
        act: async (intend) => {
          const endedBefore = Date.parse(body.expiredBefore);
          if (endedBefore > clock.now()) throw notYet();
          // It is done in many writes: what allows it, approvals too, is settled before the first.
          await intend({ kind: purgeIntentKind, payload: { id: key.id } });
          const purged = await purge(
            {
              storage,
              ca: key,
              endedBefore,
              entry: (facts) => commands.entry(caller, 'event', action, 'ok', facts),
            },
            Number.POSITIVE_INFINITY,
          );
          const detail = canonicalJson({ expiredBefore: body.expiredBefore });
          return { result: { purged }, steps: [], about: { count: String(purged), detail } };
        },
      });
    },
  };
}

/** Forgets what each CA keeps no longer (`purgeAfterSeconds`). Returns how many certificates. */
export async function purgeExpired(options: {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly authorities: Pick<Authorities, 'list'>;
}): Promise<number> {
  const { storage, clock, authorities } = options;
  let purged = 0;
  for (const { key, settings } of await authorities.list()) {
    if (settings.purgeAfterSeconds === undefined) continue;
    const endedBefore = clock.now() - settings.purgeAfterSeconds * 1000;
    const entry = (facts: object) => serviceEntry(clock, action, 'ok', facts);
    purged += await purge({ storage, ca: key, endedBefore, entry }, scheduledPortionsMax);
  }
  return purged;
}

async function purge(task: Purge, portionsMax: number): Promise<number> {
  let purged = 0;
  for (let portion = 0; portion < portionsMax; portion++) {
    const ids = await purgeable(task);
    if (ids.length === 0) break;
    await task.storage.commit({
      steps: forgetSteps(task.storage, ids),
      entries: [
        task.entry({
          keyId: task.ca.id,
          keyName: task.ca.name,
          count: String(ids.length),
          detail: canonicalJson({ endedBefore: formatTime(task.endedBefore) }),
        }),
      ],
    });
    purged += ids.length;
    if (ids.length < purgePortionRows) break;
  }
  return purged;
}

/**
 * What ended before the time, but for the certificates of CAs, by which chains and cross
 * certificates are found, and for revoked ones that have not been on a CRL after their end
 * (RFC 5280, section 3.3).
 */
async function purgeable({ storage, ca, endedBefore }: Purge): Promise<string[]> {
  const rows = await storage.db
    .selectFrom('certificate')
    .select('id')
    .where('ca_id', '=', ca.id)
    .where('not_after', '<', endedBefore)
    .where((expression) =>
      expression.or([
        expression('revoked_at', 'is', null),
        expression.exists(
          expression
            .selectFrom('crl')
            .select('number')
            .whereRef('crl.key_id', '=', 'certificate.ca_id')
            .whereRef('crl.version', '=', 'certificate.ca_version')
            // What counts is the time that it says: making it may have taken a while.
            .whereRef('crl.this_update', '>', 'certificate.not_after'),
        ),
      ]),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(selectFrom('ca').select('key_id').whereRef('ca.key_id', '=', 'certificate.key_id')),
      ),
    )
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom('ca_version')
            .select('version')
            .whereRef('ca_version.certificate_id', '=', 'certificate.id'),
        ),
      ),
    )
    .orderBy('not_after')
    .limit(purgePortionRows)
    .execute();
  return rows.map(({ id }) => id);
}

function forgetSteps({ db }: Storage, ids: readonly string[]): Step[] {
  return [
    { query: db.deleteFrom('certificate_name').where('certificate_id', 'in', ids).compile() },
    {
      query: db.deleteFrom('certificate').where('id', 'in', ids).compile(),
      expect: {
        rows: ids.length,
        code: 'conflict',
        message: 'Others forget certificates of this CA now.',
        hint: 'Repeat the command: what is forgotten counts as done.',
      },
    },
  ];
}

function notYet(): KeyreeveError {
  return new KeyreeveError('invalid-request', 'The time lies ahead: what lives is not forgotten.', {
    hint: 'Give a time in the past.',
  });
}
