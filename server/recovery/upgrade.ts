import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { withAlerts } from '../alerts/alerts.ts';
import { entryEncoder } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { type Clock, formatTime, systemClock } from '../base/clock.ts';
import { isKeyreeveError, KeyreeveError } from '../base/errors.ts';
import { ensurePrivateFolder, exists } from '../base/files.ts';
import { newId } from '../base/ids.ts';
import type { SecretBytes } from '../base/secret-bytes.ts';
import { version } from '../base/version.ts';
import { serviceEntry } from '../commands/commands.ts';
import {
  RootKeys,
  sealedFingerprint,
  sealLocation,
  whereRootKeyIs,
} from '../keystores/keystores.ts';
import { type Migration, migrations, openStorage, type Storage } from '../storage/storage.ts';
import { type BackupFile, writeBackupFile } from './backup-file.ts';
import { backupRowStep } from './backups.ts';
import { type HostWork, quietLog, requireRootKey, storagePlace } from './place.ts';
import { hasTables } from './postgres-target.ts';
import { fileExtensions, type Protection } from './protection.ts';
import { verifyBackup } from './verify-backup.ts';

export interface UpgradeOptions extends HostWork {
  /** What the backup is encrypted to: age recipients or a passphrase. */
  readonly recipients?: readonly string[];
  readonly passphrase?: SecretBytes;
  /** Where the backup goes; a file in `<data>.backups` where left out. */
  readonly file?: string;
  /** The schema's history; another one for tests. */
  readonly migrations?: readonly Migration[];
}

export interface Upgraded {
  /** The version of the schema before and after; the same where nothing was to be done. */
  readonly from: number;
  readonly to: number;
  /** The backup that was made before; undefined where nothing was to be done. */
  readonly backup: string | undefined;
}

/**
 * Brings the database to the schema of this program, the service being stopped: makes a backup
 * first and checks it, then runs all migrations in one transaction. Errors: `already-running`,
 * `schema-newer`, `not-found`, `root-key-missing`, `invalid-request` without recipients or
 * passphrase, and those of a backup; the database is then as it was.
 */
export async function upgrade(options: UpgradeOptions): Promise<Upgraded> {
  const history = options.migrations ?? migrations;
  const clock = options.clock ?? systemClock;
  await requireDatabase(options);
  const { storage, from } = await openAsItIs(options, history, clock);
  const to = history.length;
  if (from === to) {
    await storage.close();
    return { from, to, backup: undefined };
  }
  const file = await backUp(options, storage, from, clock).finally(() => storage.close());
  const upgraded = await open(options, history, clock, true);
  try {
    await withAlerts(upgraded, clock).commit({
      steps: [backupRowStep(upgraded, file)],
      entries: [
        serviceEntry(clock, 'system.upgraded', 'ok', {
          resource: file.manifest.id,
          detail: canonicalJson({ from, to, version: version(), backupSha256: file.sha256 }),
        }),
      ],
      raisesEpoch: true,
    });
  } finally {
    await upgraded.close();
  }
  return { from, to, backup: file.path };
}

async function requireDatabase({ config }: UpgradeOptions): Promise<void> {
  const { dataFolder, databaseUrl } = storagePlace(config);
  const found =
    databaseUrl === undefined
      ? exists(join(dataFolder, 'keyreeve.db'))
      : await hasTables(databaseUrl);
  if (found) return;
  throw new KeyreeveError('not-found', 'There is no database to upgrade.', {
    hint: 'Check KEYREEVE_DATA and KEYREEVE_DATABASE_URL.',
  });
}

/** Opens the database with as much of the history as it has. */
async function openAsItIs(
  options: UpgradeOptions,
  history: readonly Migration[],
  clock: Clock,
): Promise<{ storage: Storage; from: number }> {
  for (let from = history.length; ; from--) {
    try {
      return { storage: await open(options, history.slice(0, from), clock, false), from };
    } catch (error) {
      if (from <= 1 || !isKeyreeveError(error, 'schema-older')) throw error;
    }
  }
}

function open(
  options: UpgradeOptions,
  history: readonly Migration[],
  clock: Clock,
  migrate: boolean,
): Promise<Storage> {
  return openStorage({
    ...storagePlace(options.config),
    clock,
    log: options.log ?? quietLog,
    entryEncoder,
    migrate,
    migrations: history,
  });
}

async function backUp(
  options: UpgradeOptions,
  storage: Storage,
  from: number,
  clock: Clock,
): Promise<BackupFile> {
  const { config, passphrase } = options;
  const protection = protectionOf(options);
  const fingerprint = await sealedFingerprint(storage);
  const rootKey = await requireRootKey(
    sealLocation(config.seal),
    fingerprint ?? '(none yet)',
    await whereRootKeyIs(storage),
  );
  const path = options.file ?? defaultFile(config.data, clock.now(), from, protection);
  const file = await writeBackupFile(
    storage,
    {
      id: newId('bak'),
      label: `before the upgrade from schema ${from}`,
      createdBy: 'system',
      clock,
      productVersion: version(),
      installationId: await installationOf(storage),
      rootKeys: new RootKeys({ rootKey }),
      fileKeystoreFolder: config.fileKeystore?.folder,
    },
    protection,
    path,
  ).finally(() => rootKey.close());
  try {
    await verifyBackup({ file: path, passphrase, sha256: file.sha256 });
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
  return file;
}

function protectionOf({ recipients, passphrase }: UpgradeOptions): Protection {
  if (passphrase !== undefined) return { kind: 'openpgp', passphrase };
  if (recipients !== undefined) return { kind: 'age', recipients };
  throw new KeyreeveError('invalid-request', 'An upgrade makes a backup first.', {
    hint: 'Say who can open it: --passphrase-file FILE or --recipient AGE-RECIPIENT.',
  });
}

function defaultFile(data: string, now: number, from: number, protection: Protection): string {
  const time = formatTime(now).slice(0, 19).replaceAll(':', '');
  const name = `keyreeve-${time}Z-schema-${from}.tar.${fileExtensions[protection.kind]}`;
  const path = join(`${data}.backups`, name);
  ensurePrivateFolder(dirname(path));
  return path;
}

async function installationOf(storage: Storage): Promise<string> {
  const row = await storage.db
    .selectFrom('meta')
    .select('value')
    .where('name', '=', 'installation')
    .executeTakeFirst();
  return row?.value ?? '';
}
