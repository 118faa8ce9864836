import type { KeyView } from '../../api/routes/keys.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { formatTime } from '../base/clock.ts';
import { KeyreeveError } from '../base/errors.ts';
import type { Call } from '../base/handler.ts';
import type { Commands } from '../commands/commands.ts';
import { runOnKey } from './key-command.ts';
import { type KeyRecord, keystoresOf } from './key-record.ts';
import type { Keys } from './key-ring.ts';
import { viewOf } from './key-view.ts';
import { systemFolder } from './make-key.ts';

/** Backups that the entry of a destruction names, the newest: an entry has its limits. */
const namedBackupsMax = 100;

interface BackupFacts {
  id: string;
  label: string;
  createdAt: string;
}

/** Sets the date of destruction: until then all use is refused, and it can be taken back. */
export async function requestDestruction(
  keys: Keys,
  commands: Commands,
  call: Call<'key.destroy'>,
): Promise<{ key: KeyView; backups: BackupFacts[] }> {
  return runOnKey(keys, commands, call, {
    action: 'key.destroy',
    input: { ...call.body },
    act: async (key, now) => {
      requireDestructible(key);
      await keys.requireReviewed(keystoresOf(key));
      const waitSeconds = call.body.afterSeconds ?? key.policy.destroyAfterSeconds;
      if (waitSeconds < key.policy.destroyAfterSeconds) {
        throw new KeyreeveError(
          'invalid-policy',
          `The policy of ${key.name} makes a destruction wait ${key.policy.destroyAfterSeconds} seconds at least.`,
        );
      }
      const destroyAt = now + waitSeconds * 1000;
      const backups = await backupsHolding(keys, key);
      const changed = { ...key, destroyAt, revision: key.revision + 1 };
      return {
        result: { key: viewOf(changed, now), backups },
        steps: [...keys.destructionGuards(key, now), keys.store.updateKey(key, changed, now)],
        about: {
          detail: canonicalJson({
            destroyAt: formatTime(destroyAt),
            backups: backups.slice(-namedBackupsMax).map((backup) => backup.id),
            backupCount: backups.length,
          }),
        },
      };
    },
  });
}

/** Takes a destruction back while it waits. */
export async function cancelDestruction(
  keys: Keys,
  commands: Commands,
  call: Call<'key.cancel-destroy'>,
): Promise<KeyView> {
  return runOnKey(keys, commands, call, {
    action: 'key.cancel-destroy',
    input: {},
    act: async (key, now) => {
      if (key.destroyAt === null) {
        throw new KeyreeveError('state-not-allowed', `${key.name} does not wait to be destroyed.`);
      }
      if (key.destroyAt <= now) {
        throw new KeyreeveError('key-destroyed', `The waiting time of ${key.name} is over.`);
      }
      const changed = { ...key, destroyAt: null, revision: key.revision + 1 };
      return {
        result: viewOf(changed, now),
        steps: [keys.store.updateKey(key, changed, now)],
      };
    },
  });
}

function requireDestructible(key: KeyRecord): void {
  if (key.folder === systemFolder) {
    throw new KeyreeveError('forbidden', `${key.name} belongs to the service.`);
  }
  if (key.versions.every((version) => version.state === 'destroyed')) {
    throw new KeyreeveError('key-destroyed', `The key ${key.name} is destroyed already.`);
  }
  if (key.destroyAt !== null) {
    throw new KeyreeveError(
      'key-pending-destruction',
      `${key.name} waits to be destroyed on ${formatTime(key.destroyAt)} already.`,
      { hint: `To keep it: keyreeve key cancel-destroy ${key.name}` },
    );
  }
}

/** The backups made since the key was: they hold it until they are destroyed themselves. */
async function backupsHolding(keys: Keys, key: KeyRecord): Promise<BackupFacts[]> {
  if (key.policy.recovery === 'none') return [];
  const rows = await keys.storage.db
    .selectFrom('backup')
    .select(['id', 'label', 'created_at'])
    .where('created_at', '>=', key.createdAt)
    .orderBy('created_at')
    .execute();
  return rows.map((row) => ({
    id: row.id,
    label: row.label,
    createdAt: formatTime(row.created_at),
  }));
}
