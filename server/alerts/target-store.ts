import type { Selectable } from 'kysely';
import { canonicalJson, type Json } from '../base/canonical-json.ts';
import type { Schema, Step, Storage } from '../storage/storage.ts';
import { alertTopic, queueOf } from './queue.ts';
import type { Target, TargetKind, TargetSettings } from './target.ts';

const columns = [
  'id',
  'name',
  'kind',
  'settings_json',
  'secret',
  'created_at',
  'created_by',
  'delivered_at',
  'failed_at',
  'reason',
  'revision',
] as const;

const changed = {
  code: 'conflict',
  message: 'The target was changed or removed meanwhile.',
  hint: 'Look at it again: keyreeve alert list',
} as const;

/** Every target, by name. */
export async function readTargets({ db }: Storage): Promise<Target[]> {
  const rows = await db.selectFrom('alert_target').select(columns).orderBy('name').execute();
  return rows.map(fromRow);
}

/** One target by name or id. */
export async function findTarget({ db }: Storage, reference: string): Promise<Target | undefined> {
  const row = await db
    .selectFrom('alert_target')
    .select(columns)
    .where((where) => where.or([where('name', '=', reference), where('id', '=', reference)]))
    .executeTakeFirst();
  return row === undefined ? undefined : fromRow(row);
}

export function insertTarget({ db }: Storage, target: Target): Step {
  const query = db
    .insertInto('alert_target')
    .values({
      ...{ id: target.id, name: target.name, kind: target.kind },
      settings_json: settingsJson(target.settings),
      ...{ secret: target.secret, created_at: target.createdAt, created_by: target.createdBy },
      ...{ delivered_at: null, failed_at: null, reason: null, revision: target.revision },
    })
    .compile();
  const message = `There is a target "${target.name}" already.`;
  const hint = 'Choose another name.';
  return { query, expect: { rows: 1, code: 'already-exists', message, hint } };
}

/** Writes settings and secret of what was read as `before`. */
export function updateTarget({ db }: Storage, before: Target, after: Target): Step {
  const query = db
    .updateTable('alert_target')
    .set({
      settings_json: settingsJson(after.settings),
      secret: after.secret,
      revision: after.revision,
    })
    .where('id', '=', before.id)
    .where('revision', '=', before.revision)
    .compile();
  return { query, expect: { rows: 1, ...changed } };
}

export function deleteTarget({ db }: Storage, target: Target): Step {
  const query = db
    .deleteFrom('alert_target')
    .where('id', '=', target.id)
    .where('revision', '=', target.revision)
    .compile();
  return { query, expect: { rows: 1, ...changed } };
}

/**
 * Fails the write unless these targets are all there, and keeps them there until it is done: no
 * alert is put into the queue of a target that is being removed.
 */
export function holdTargets({ db }: Storage, targets: readonly Target[]): Step {
  const ids = targets.map(({ id }) => id);
  const query = db
    .updateTable('alert_target')
    .set((expression) => ({ revision: expression.ref('revision') }))
    .where('id', 'in', ids)
    .compile();
  return { query, expect: { rows: ids.length, ...changed } };
}

/** It was reached; `reason` says what was not well all the same. */
export function deliveredStep({ db }: Storage, id: string, at: number, reason?: string): Step {
  const query = db
    .updateTable('alert_target')
    .set({ delivered_at: at, failed_at: null, reason: reason ?? null })
    .where('id', '=', id)
    .compile();
  return { query };
}

/** It was not reached, and perhaps has not been for longer. */
export function failedStep({ db }: Storage, id: string, at: number, reason: string): Step {
  const query = db
    .updateTable('alert_target')
    .set((expression) => ({
      failed_at: expression.fn.coalesce('failed_at', expression.val(at)),
      reason,
    }))
    .where('id', '=', id)
    .compile();
  return { query };
}

/** Every target, and whatever waits for one: for a restored copy that is to tell nobody. */
export function forgetAlertsSteps({ db }: Storage): Step[] {
  const waiting = db
    .deleteFrom('outbox')
    .where(({ or, eb }) =>
      or([eb('topic', '=', alertTopic), eb('topic', 'like', `${queueOf('')}%`)]),
    );
  return [{ query: waiting.compile() }, { query: db.deleteFrom('alert_target').compile() }];
}

/** What binds the secret to its place. */
export function secretLabel(id: string): string {
  return `alert target\n${id}`;
}

function settingsJson(settings: TargetSettings): string {
  return canonicalJson(settings as unknown as Json);
}

function fromRow(row: Pick<Selectable<Schema['alert_target']>, (typeof columns)[number]>): Target {
  return {
    ...{ id: row.id, name: row.name, kind: row.kind as TargetKind },
    settings: JSON.parse(row.settings_json) as TargetSettings,
    ...{ secret: row.secret, createdAt: row.created_at, createdBy: row.created_by },
    ...{ deliveredAt: row.delivered_at, failedAt: row.failed_at },
    ...{ reason: row.reason, revision: row.revision },
  };
}
